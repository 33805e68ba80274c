"""Inpainting a host that the user has: the host comes back bit for bit, whatever its cell and coordinates."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from workflow_rows import read_rows
from workflow_toys import TOY_SETTINGS, toy_registry

from chggen_kit.errors import InputError, RunDirectoryError
from chggen_kit.workflow import inpaint
from chggen_kit.workflow.config import InpaintConfig, build_config
from chggen_kit.workflow.pipeline import default_directory, run_inpaint
from chggen_kit.workflow.records import StructureData
from chggen_kit.workflow.result import RunResult

REGISTRY = toy_registry()
SETTINGS = {name: TOY_SETTINGS[name] for name in ("backend", "potential", "sampler", "max_steps")}


def host() -> Structure:
    """A left-handed, skewed cell in an odd orientation, atoms of one element apart, coordinates outside [0, 1)."""
    lattice = Lattice([[0.2, 5.3, 0.1], [6.1, 0.4, -0.7], [1 / 3, -1.9, 5.7]])
    assert np.linalg.det(lattice.matrix) < 0
    return Structure(lattice, ["Cl", "Na", "Cl"], [[-0.25, 1.5, 0.1], [1 / 3, -2.0, 0.6], [0.75, 0.2 + 0.1, 3.4]])


def run(out: Path, structure: Structure | None = None, **values: Any) -> RunResult:
    given = StructureData.of(structure or host())
    settings = {"host": given, "guest_counts": {"Li": 2}, "n": 3, **SETTINGS, **values}
    return run_inpaint(build_config(InpaintConfig, settings, REGISTRY), out, registry=REGISTRY)


@pytest.mark.parametrize("sampler", ["repaint", "replace", "clean-host", "random"])
def test_generated_structures_hold_the_host_bit_for_bit(tmp_path: Path, sampler: str) -> None:
    few = {"steps": 6}
    options = {"repaint": {**few, "jump_length": 2, "passes": 2}, "random": {}}.get(sampler, few)
    result = run(tmp_path / "o", sampler={"name": sampler, "options": options}, relax=False)
    given = host()
    assert len(result.records) == 3
    guests = set()
    for record in result.records:
        assert record.generated is not None
        structure = record.generated.structure()
        assert [site.specie.symbol for site in structure] == ["Cl", "Na", "Cl", "Li", "Li"]
        assert structure.lattice.matrix.tobytes() == given.lattice.matrix.tobytes()
        assert structure.frac_coords[:3].tobytes() == given.frac_coords.tobytes()
        guests.add(structure.frac_coords[3:].tobytes())
    assert len(guests) == 3


def test_relaxation_reports_how_far_the_host_drifts(tmp_path: Path) -> None:
    result = run(tmp_path / "o")
    relaxed = [record for record in result.records if record.relaxed is not None]
    assert relaxed
    for record in relaxed:
        assert record.host_drift_A is not None
        assert record.max_displacement_A is not None
        assert record.host_drift_A > 0
    rows = [row for row in read_rows(tmp_path / "o" / "results.db") if row["outcome"] == "ok"]
    assert all(row["host_drift"] > 0 and row["host_id"] == "host" for row in rows)


def test_a_fixed_host_stays_bit_for_bit(tmp_path: Path) -> None:
    result = run(tmp_path / "o", relax_policy="fixed-host")
    relaxed = [record for record in result.records if record.relaxed is not None]
    assert relaxed
    for record in relaxed:
        assert record.generated is not None
        assert record.relaxed is not None
        assert record.relaxed.lattice == record.generated.lattice
        assert record.relaxed.frac_coords[:3] == record.generated.frac_coords[:3]
        assert record.relaxed.frac_coords[3:] != record.generated.frac_coords[3:]
    rows = read_rows(tmp_path / "o" / "results.db")
    assert {row["relax_policy"] for row in rows} == {"fixed-host"}
    with pytest.raises(RunDirectoryError, match="relax_policy"):
        run(tmp_path / "o")


def test_the_policy_of_relaxations_has_settings_of_its_own(tmp_path: Path) -> None:
    policy = {"name": "keep-symmetry", "symprec_A": 0.05, "min_gain": 0.001}
    result = run(tmp_path / "o", relax_policy=policy)
    assert [record.relaxed is not None for record in result.records] == [True] * 3
    stored = json.loads((tmp_path / "o" / "run.json").read_text())["identity"]["config"]["relax_policy"]
    assert stored == {**policy, "angle_tolerance_deg": 10.0, "rattle_A": 0.03, "seed": 0}
    with pytest.raises(InputError, match="only keep-symmetry has the settings symprec_A"):
        run(tmp_path / "p", relax_policy={"symprec_A": 0.05})


def test_without_relaxation_there_are_no_energies_and_no_potential_is_loaded(tmp_path: Path) -> None:
    result = run(tmp_path / "o", relax=False, potential="not-installed")
    assert result.summary["inpainted"]["relaxed"] == 0
    assert result.summary["inpainted"]["symmetric_rates"]["among_relaxed"]["rate"] is None
    (row, *_) = read_rows(tmp_path / "o" / "results.db")
    assert "energy_per_atom" not in row
    assert "potential" not in row
    assert "spacegroup_number" in row


def test_more_copies_keep_the_first_ones(tmp_path: Path) -> None:
    few, many = run(tmp_path / "few", relax=False), run(tmp_path / "many", relax=False, n=5)
    for mine, theirs in zip(few.records, many.records[:3], strict=True):
        assert mine.generated is not None
        assert theirs.generated is not None
        np.testing.assert_allclose(mine.generated.frac_coords, theirs.generated.frac_coords, atol=1e-8)


def test_another_host_is_another_run(tmp_path: Path) -> None:
    run(tmp_path / "o", relax=False)
    moved = host()
    moved.translate_sites([0], [1e-12, 0, 0], to_unit_cell=False)
    with pytest.raises(RunDirectoryError, match=r"config\.host\.frac_coords"):
        run(tmp_path / "o", moved, relax=False)


def test_guests_of_a_kind_that_the_host_holds_already_are_added(tmp_path: Path) -> None:
    result = run(tmp_path / "o", guest_counts={"Na": 1}, relax=False, n=1)
    assert result.candidates[0].generated.composition["Na"] == 2
    assert result.records[0].host_atoms == 3


@pytest.mark.parametrize(
    ("structure", "counts", "message"),
    [
        (Structure(Lattice.cubic(4), ["Na", "Cl"], [[0, 0, 0], [0.99, 0, 1.0]]), {"Li": 1}, "Overlapping atoms"),
        (Structure(Lattice.cubic(0.4), ["Na"], [[0, 0, 0]]), {"Li": 1}, "Overlapping atoms"),
        (host(), {"Lj": 1}, "Unknown element 'Lj'"),
        (host(), {"Cm": 1}, "does not cover Cm"),
    ],
)
def test_hosts_and_guests_that_cannot_be_used(
    tmp_path: Path, structure: Structure, counts: dict[str, int], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        run(tmp_path / "o", structure, guest_counts=counts)
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("structure", "message"),
    [
        (
            Structure(Lattice.cubic(4), ["Na", "Cl"], [[0, 0, 0], [0.5, np.nan, 0.5]]),
            "no finite numbers in the host, of site 1",
        ),
        (Structure(Lattice.cubic(4), ["Na"], [[np.inf, 0, 0]]), "no finite numbers"),
        (Structure(Lattice(np.full((3, 3), np.nan)), ["Na"], [[0, 0, 0]]), "The cell of the host is no cell"),
        (Structure(Lattice(np.ones((3, 3))), ["Na"], [[0, 0, 0]]), "The cell of the host is no cell"),
        (Structure(Lattice.cubic(4), [{"Na": 0.5}], [[0, 0, 0]]), "the host has partially occupied sites of Na too"),
    ],
)
def test_hosts_with_numbers_that_are_none(tmp_path: Path, structure: Structure, message: str) -> None:
    with pytest.raises(InputError, match=message):
        inpaint(structure, {"Li": 1}, out=tmp_path / "o")
    assert not (tmp_path / "o").exists()


def test_runs_get_a_directory_of_their_own() -> None:
    settings = {"host": StructureData.of(host()), "guest_counts": {"Li": 2}, **SETTINGS}
    config = build_config(InpaintConfig, settings, REGISTRY)
    assert default_directory(config, None) == Path("runs/NaCl2-Li2-seed0")
