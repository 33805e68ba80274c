"""The batched relaxer with a real potential: within 1 meV/atom of ASE and of single runs."""

from __future__ import annotations

import pytest
from pymatgen.core import Structure

from chggen_chgnet.options import ChgnetOptions
from chggen_chgnet.potential import ChgnetPotential, load
from chggen_kit.io import to_structures
from chggen_kit.relaxers.ase_reference import AseFireRelaxer
from chggen_kit.relaxers.fire import FireOptions, FireRelaxer
from chggen_kit.state import CrystalBatch
from chggen_kit.testing.crystals import disturbed, textbook_crystals
from chggen_kit.testing.symmetric import check_symmetry_kept, symmetric_crystals

MEV_PER_ATOM = 1e-3


@pytest.fixture(scope="module")
def chgnet() -> ChgnetPotential:
    return load(ChgnetOptions())


def rattled(crystals: list[int], seed: int = 5) -> list[Structure]:
    """Textbook crystals rattled by 0.1 Å and strained by 3 %."""
    batch = CrystalBatch.concatenate([textbook_crystals().select([c]) for c in crystals])
    return to_structures(disturbed(batch, rattle_A=0.1, strain=0.03, seed=seed))


def assert_agreement_with_ase(structures: list[Structure], chgnet: ChgnetPotential) -> None:
    ours = FireRelaxer(chgnet).relax(structures, fmax=0.01)
    theirs = AseFireRelaxer(chgnet).relax(structures, fmax=0.01)
    assert [o.reason for o in ours] == [o.reason for o in theirs] == ["converged"] * len(structures)
    for mine, reference in zip(ours, theirs, strict=True):
        assert mine.energy_change_per_atom < 0
        assert abs(mine.energy - reference.energy) / len(mine.structure) < MEV_PER_ATOM


def test_three_textbook_crystals_agree_with_ase(chgnet: ChgnetPotential) -> None:
    assert_agreement_with_ase(rattled([6, 7, 8]), chgnet)


@pytest.mark.slow
def test_ten_textbook_crystals_agree_with_ase(chgnet: ChgnetPotential) -> None:
    assert_agreement_with_ase(rattled(list(range(10))), chgnet)


@pytest.mark.slow
def test_a_batch_of_16_equals_16_single_runs(chgnet: ChgnetPotential) -> None:
    structures = rattled([*range(10), 6, 7, 8, 9, 6, 7], seed=6)
    relaxer = FireRelaxer(chgnet, FireOptions(max_batch=16))
    together = relaxer.relax(structures, fmax=0.05)
    for structure, outcome in zip(structures, together, strict=True):
        (alone,) = relaxer.relax([structure], fmax=0.05)
        assert (outcome.reason, alone.reason) == ("converged", "converged")
        assert abs(outcome.energy - alone.energy) / len(structure) < MEV_PER_ATOM


@pytest.mark.parametrize(
    ("weights", "count"),
    [
        ("0.3.0", 4),
        pytest.param("0.3.0", 50, marks=pytest.mark.slow),
        pytest.param("r2scan", 50, marks=pytest.mark.slow),
    ],
)
def test_space_groups_are_kept(weights: str, count: int) -> None:
    relaxer = FireRelaxer(load(ChgnetOptions.model_validate({"weights": weights})))
    max_steps = 15 if count == 4 else 100
    check_symmetry_kept(relaxer, symmetric_crystals(count), max_steps=max_steps).raise_if_failed()


def test_an_exploding_structure_leaves_its_batch_alone(chgnet: ChgnetPotential) -> None:
    structures = rattled([7, 8, 9])
    squeezed = structures[1].copy()
    squeezed.scale_lattice(squeezed.volume / 12)
    mixed = FireRelaxer(chgnet).relax([structures[0], squeezed, structures[1], structures[2]], fmax=0.1)
    clean = FireRelaxer(chgnet).relax(structures, fmax=0.1)
    assert mixed[1].reason in {"exploded", "non-finite"}
    for beside, alone in zip([mixed[0], *mixed[2:]], clean, strict=True):
        assert (beside.reason, beside.steps) == (alone.reason, alone.steps)
        assert abs(beside.energy - alone.energy) / len(alone.structure) < MEV_PER_ATOM
