"""The projection refiner: guests follow the formula, and the pipeline and the command line can use it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from pymatgen.core import Lattice, Structure

from chggen_kit.cli import main
from chggen_kit.errors import InputError
from chggen_kit.interfaces import HostRefiner
from chggen_kit.metrics.symmetry import SpaceGroup, space_group
from chggen_kit.plugins import get_registry
from chggen_kit.refiners.projection import ProjectionOptions, ProjectionRefiner, build

LAYERED = Structure.from_spacegroup(
    "R-3m", Lattice.hexagonal(2.82, 14.05), ["Li", "Co", "O"], [[0, 0, 0.5], [0, 0, 0], [0, 0, 0.26]]
)
PEROVSKITE = Structure.from_spacegroup(
    "Pm-3m", Lattice.cubic(3.905), ["Sr", "Ti", "O"], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]]
)
OLIVINE = Structure.from_spacegroup(
    "Pnma",
    Lattice.orthorhombic(10.33, 6.01, 4.69),
    ["Li", "Fe", "P", "O", "O", "O"],
    [[0, 0, 0], [0.282, 0.25, 0.975], [0.095, 0.25, 0.418], [0.097, 0.25, 0.743], [0.457, 0.25, 0.206],
     [0.166, 0.047, 0.285]],
)  # fmt: skip


def rattled(structure: Structure, seed: int) -> Structure:
    """0.1 Å a vector (root mean square) and one percent of strain."""
    rng = np.random.default_rng(seed)
    bend = rng.normal(0, 0.01, (3, 3))
    bend = np.eye(3) + (bend + bend.T) / 2
    coords = (structure.cart_coords + rng.normal(0, 0.1 / np.sqrt(3), (len(structure), 3))) @ bend
    return Structure(Lattice(structure.lattice.matrix @ bend), structure.species, coords, coords_are_cartesian=True)


@pytest.mark.parametrize(
    ("crystal", "guest", "group", "count", "atoms"),
    [(LAYERED, "Li", 166, 1, 3), (PEROVSKITE, "Sr", 221, 1, 4), (OLIVINE, "Li", 62, 4, 24)],
    ids=["layered", "perovskite", "olivine"],
)
def test_hosts_regain_their_group_and_guests_follow_the_cell(
    crystal: Structure, guest: str, group: int, count: int, atoms: int
) -> None:
    refiner = build(ProjectionOptions())
    assert isinstance(refiner, HostRefiner)
    before = rattled(crystal, 1)
    kept = before.copy()
    (found,) = refiner.refine(before, [guest])
    assert before == kept
    assert (found.spacegroup_number, found.guest_counts, len(found.host)) == (group, {guest: count}, atoms)
    assert (found.symprec_A, found.angle_tolerance_deg, found.cell) == (None, None, "primitive")
    assert guest not in found.host.symbol_set
    assert 0 < found.rms_displacement_A <= found.max_displacement_A < 0.4
    assert found.library.startswith("spglib")
    tight = space_group(found.host, 1e-4, 0.1)
    assert isinstance(tight, SpaceGroup)
    assert tight.number == group


def test_guests_that_do_not_come_out_whole_keep_the_own_cell() -> None:
    supercell = rattled(PEROVSKITE * [2, 1, 1], 1)
    supercell.remove_sites([next(i for i, site in enumerate(supercell) if site.specie.symbol == "Sr")])
    (found,) = ProjectionRefiner().refine(supercell, ["Sr"])
    assert (found.spacegroup_number, found.guest_counts, found.cell) == (221, {"Sr": 1}, "own")
    assert len(found.host) == 8
    (whole,) = ProjectionRefiner().refine(rattled(PEROVSKITE * [2, 1, 1], 1), ["Sr"])
    assert (whole.guest_counts, len(whole.host), whole.cell) == ({"Sr": 1}, 4, "primitive")


def test_whole_structures() -> None:
    (found,) = ProjectionRefiner().refine_structure(rattled(OLIVINE, 2))
    assert (found.spacegroup_number, found.guest_counts) == (62, {})
    assert found.host.composition == OLIVINE.composition


def test_several_hosts() -> None:
    found = ProjectionRefiner(ProjectionOptions(max_hosts=3)).refine(rattled(OLIVINE, 3), ["Li"])
    assert len({host.spacegroup_number for host in found}) == len(found) == 3
    assert found[0].spacegroup_number == 62


def test_inputs_that_cannot_be_used() -> None:
    with pytest.raises(InputError, match="nothing but the guests"):
        ProjectionRefiner().refine(PEROVSKITE, ["Sr", "Ti", "O"])
    with pytest.raises(InputError, match="not in"):
        ProjectionRefiner().refine(PEROVSKITE, ["Li"])
    disordered = Structure(Lattice.cubic(4), [{"Li": 0.5, "Na": 0.5}, "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    with pytest.raises(InputError, match="partial occupancies"):
        ProjectionRefiner().refine(disordered, ["Cl"])
    with pytest.raises(ValidationError):
        ProjectionOptions(excluded_groups=frozenset({231}))


def test_the_plugin_is_registered() -> None:
    refiner = get_registry().create_host_refiner("projection", {"max_hosts": 2, "order_by": "operations"})
    assert isinstance(refiner, ProjectionRefiner)
    assert refiner.options.max_hosts == 2
    assert json.loads(ProjectionOptions().model_dump_json())["min_evidence"] == ProjectionOptions().min_evidence


def test_the_command_line_lists_hosts_without_tolerances(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "olivine.cif"
    rattled(OLIVINE, 4).to(str(file))
    with pytest.raises(SystemExit) as ended:
        main(["refine", str(file), "--guests", "Li", "--refiner", "projection", "--out", str(tmp_path / "o")])
    assert ended.value.code == 0
    assert "Pnma" in capsys.readouterr().out
    assert Structure.from_file(tmp_path / "o" / "olivine_host1.cif").composition.reduced_formula == "FePO4"
