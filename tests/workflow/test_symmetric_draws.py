"""Draws that keep a symmetry or start from a structure: templates, reasons, and runs from end to end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Composition, Lattice, Structure
from workflow_toys import TOY_SETTINGS, toy_registry

from chggen_kit.errors import InputError
from chggen_kit.metrics.symmetry import SpaceGroup, space_group
from chggen_kit.workflow.config import GenerateConfig, InpaintConfig, build_config
from chggen_kit.workflow.pipeline import run_generate, run_inpaint
from chggen_kit.workflow.plan import Draw, plan_inpaintings
from chggen_kit.workflow.records import HostRecord, Record, StructureData
from chggen_kit.workflow.start_level import StartLevel
from chggen_kit.workflow.symmetric_plan import fills_from, symmetric_fills, wyckoff_starts

ROCKSALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
TITANIA = Structure.from_spacegroup(
    "P4_2/mnm", Lattice.tetragonal(4.6, 2.96), ["Ti", "O"], [[0, 0, 0], [0.305] * 2 + [0]]
)
SCREW = Structure.from_spacegroup(
    "P2_1", Lattice.monoclinic(6, 5, 7, 100), ["Si", "O"], [[0.1, 0, 0.1], [0.2, 0.3, 0.4]]
)


def _number(structure: Structure) -> int:
    found = space_group(structure, 0.01, 1.0)
    assert isinstance(found, SpaceGroup)
    return found.number


def _generate(out: Path, **changes: object) -> list[Record]:
    settings = {"formula": "TiO2", "n": 3, "micro_batch_atoms": 30, **TOY_SETTINGS, **changes}
    return run_generate(build_config(GenerateConfig, settings, toy_registry()), out, registry=toy_registry()).records


def test_start_levels_can_be_written() -> None:
    assert StartLevel.model_validate("0.5A") == StartLevel(sigma_A=0.5)
    assert StartLevel.model_validate(" .25 Å ") == StartLevel(sigma_A=0.25)
    assert StartLevel.model_validate("40%") == StartLevel(fraction=0.4)
    for wrong in ("0.5", "A", "-1A", "120%", "0A"):
        with pytest.raises(ValueError, match=r"0\.5A|greater than|less than"):
            StartLevel.model_validate(wrong)


def test_starts_have_the_groups_that_were_named() -> None:
    plan = wyckoff_starts(Composition("TiO2"), (1, 2), 4, 12.0, 0, "search", groups=(12, 15, 136))
    assert len(plan.draws) + len(plan.failed) == 8
    assert plan.draws
    for draw in plan.draws:
        assert draw.record.imposed_number in {12, 15, 136}
        assert draw.operations is not None
        assert draw.operations.residual_A(draw.template) < 1e-3
        assert draw.template.volume == pytest.approx(12.0 * len(draw.template))
        assert draw.template.composition == Composition("TiO2") * (draw.record.formula_units or 0)
    again = wyckoff_starts(Composition("TiO2"), (1,), 2, 12.0, 0, "search", groups=(12, 15, 136))
    assert [one.template for one in again.draws] == [one.template for one in plan.draws[: len(again.draws)]]
    with pytest.raises(InputError, match="of those named"):
        wyckoff_starts(Composition("TiO2"), (1,), 2, 12.0, 0, "search", groups=(230,))


def test_guests_lie_on_orbits_and_the_impossible_keeps_its_reason() -> None:
    good = HostRecord(id="h0000", start=0, host=StructureData.of(ROCKSALT), guest_counts={"Li": 8})
    bad = HostRecord(id="h0001", start=1, host=StructureData.of(SCREW), guest_counts={"Li": 1})
    plan = symmetric_fills([good, bad], 2, {0: 4, 1: 2}, seed=3)
    assert [one.record.id for one in plan.draws] == ["i0000-0", "i0000-1"]
    assert [(one.id, one.outcome) for one in plan.failed] == [("i0001-0", "no-orbits"), ("i0001-1", "no-orbits")]
    assert all("orbits of 2 points" in reason for reason in plan.reasons)
    for draw in plan.draws:
        assert draw.record.imposed_number is not None
        assert draw.record.imposed_number > 2
        assert draw.operations is not None


def test_whole_structures_within_wyckoff_positions(tmp_path: Path) -> None:
    records = _generate(tmp_path / "run", symmetry="wyckoff", symmetry_groups=[136, 141], formula_units=[2], guests=())
    drawn = [record for record in records if record.generated is not None and record.outcome != "no-room"]
    assert drawn
    for record in drawn:
        assert record.generated is not None
        assert record.imposed_number in {136, 141}
        # It may have more symmetry than was imposed: then the imposed group's operations are among its own.
        assert _number(record.generated.structure()) >= (record.imposed_number or 0)


def test_guests_within_the_symmetry_of_their_host(tmp_path: Path) -> None:
    settings = {"host": StructureData.of(TITANIA), "guest_counts": {"Li": 2}, "n": 3, **TOY_SETTINGS}
    settings = {name: value for name, value in settings.items() if name in InpaintConfig.model_fields}
    config = build_config(InpaintConfig, {**settings, "symmetry": "host", "relax": False}, toy_registry())
    records = run_inpaint(config, tmp_path / "run", registry=toy_registry()).records
    assert len(records) == 3
    for record in records:
        assert record.generated is not None
        structure = record.generated.structure()
        assert _number(structure) > 2
        assert np.allclose(structure.frac_coords[: len(TITANIA)], TITANIA.frac_coords, atol=1e-4)
    bent = TITANIA.copy()
    bent.perturb(0.1)
    without = {**settings, "host": StructureData.of(bent), "symmetry": "host"}
    with pytest.raises(InputError, match="Symmetrise it first"):
        run_inpaint(build_config(InpaintConfig, without, toy_registry()), tmp_path / "bent", registry=toy_registry())
    impossible = {**settings, "host": StructureData.of(SCREW), "guest_counts": {"Li": 1}, "symmetry": "host"}
    with pytest.raises(InputError, match="orbits of 2 points"):
        run_inpaint(build_config(InpaintConfig, impossible, toy_registry()), tmp_path / "no", registry=toy_registry())


def test_the_symmetry_and_the_neighbourhood_of_a_given_structure(tmp_path: Path) -> None:
    given = {"start_from": StructureData.of(TITANIA), "formula": "Ti2O4", "guests": ()}
    symmetric = _generate(tmp_path / "symmetric", symmetry="given", **given)
    near = _generate(tmp_path / "near", symmetry="given", start_level="0.02A", **given)
    free = _generate(tmp_path / "free", start_level={"fraction": 0.1}, **given)
    for record in [*symmetric, *near]:
        assert record.imposed_number == 136
        assert record.generated is not None
        structure = record.generated.structure()
        assert structure.lattice == TITANIA.lattice
        assert _number(structure) >= 136
        assert record.lattice_source == "given"
    assert len(free) == 3
    with pytest.raises(InputError, match="the run is for"):
        _generate(tmp_path / "other", symmetry="given", **{**given, "formula": "TiO2"})
    distorted = TITANIA.copy()
    distorted.perturb(0.4)
    with pytest.raises(InputError, match="has no symmetry within"):
        _generate(
            tmp_path / "none", symmetry="given", **{**given, "start_from": StructureData.of(distorted)}, symprec_A=0.01
        )


def test_guests_can_start_from_where_they_are(tmp_path: Path) -> None:
    """The file has its atoms in another order than the host, and slid by whole cells."""
    places = np.concatenate([TITANIA.frac_coords[::-1] + np.array([1, 0, -2]), [[0.5, 0, 0.5]]])
    filled = Structure(TITANIA.lattice, [*TITANIA.species[::-1], "Li"], places)
    settings = {"host": StructureData.of(TITANIA), "guest_counts": {"Li": 1}, "n": 2, **TOY_SETTINGS}
    settings = {name: value for name, value in settings.items() if name in InpaintConfig.model_fields}
    more = {"start_from": StructureData.of(filled), "start_level": "0.02A", "relax": False}
    config = build_config(InpaintConfig, {**settings, **more}, toy_registry())
    (given,) = {draw.template.frac_coords.tobytes() for draw in fills_from(_fills(), filled)}
    assert np.frombuffer(given).reshape(-1, 3)[-1] == pytest.approx([0.5, 0, 0.5])
    assert len(run_inpaint(config, tmp_path / "run", registry=toy_registry()).records) == 2
    other = Structure(TITANIA.lattice, [*TITANIA.species, "K"], [*TITANIA.frac_coords, [0.5, 0, 0.5]])
    with pytest.raises(InputError, match="the host with its guests is"):
        fills_from(_fills(), other)
    larger = Structure(Lattice(1.1 * filled.lattice.matrix), filled.species, filled.frac_coords)
    with pytest.raises(InputError, match="another cell"):
        fills_from(_fills(), larger)


def _fills() -> list[Draw]:
    host = HostRecord(id="host", start=0, host=StructureData.of(TITANIA), guest_counts={"Li": 1})
    return plan_inpaintings([host], 2, {})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start_level": "0.5A"}, "needs a structure"),
        ({"symmetry": "given"}, "there is none"),
        ({"start_from": StructureData.of(TITANIA)}, "neither a level"),
        ({"start_from": StructureData.of(TITANIA), "start_level": "1A", "symmetry": "wyckoff"}, "cannot be had"),
        ({"symmetry_groups": [12]}, "belong to the symmetry"),
        ({"formula": None, "chemical_system": "Ti-O", "symmetry": "wyckoff"}, "for a formula only"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_config(GenerateConfig, {"formula": "TiO2", **TOY_SETTINGS, **changes}, toy_registry())


def test_rates_of_imposed_symmetry_have_no_null_of_free_atoms(tmp_path: Path) -> None:
    settings = {"formula": "TiO2", "n": 3, "formula_units": [2], "micro_batch_atoms": 30, **TOY_SETTINGS}
    config = build_config(GenerateConfig, {**settings, "symmetry": "wyckoff", "guests": ()}, toy_registry())
    summary = run_generate(config, tmp_path / "run", registry=toy_registry()).summary
    assert set(summary["null_rates"]["rates_without_null"]) == {"unconditional", "hosts", "inpainted"}
    assert "null" not in summary["unconditional"]["symmetric_rates"]["among_started"]
    free = build_config(GenerateConfig, {**settings, "guests": ()}, toy_registry())
    summary = run_generate(free, tmp_path / "free", registry=toy_registry()).summary
    assert "null" in summary["unconditional"]["symmetric_rates"]["among_started"]
