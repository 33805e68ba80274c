"""The batched relaxer: agreement with ASE, independence of structures, outcomes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure

from chggen_kit.errors import InputError
from chggen_kit.interfaces import Evaluation, Relaxation
from chggen_kit.io import to_structures
from chggen_kit.relaxers.ase_reference import AseFireOptions, AseFireRelaxer
from chggen_kit.relaxers.fire import FireOptions, FireRelaxer
from chggen_kit.state import CrystalBatch
from chggen_kit.testing.crystals import caesium_chloride, disturbed, face_centred, rocksalt, zincblende
from chggen_kit.testing.pair_potential import PairPotential

XENON = 54
ENERGY_TOLERANCE = 1e-6
"""eV/atom: the pair potential is computed in float64."""


class CountingPotential(PairPotential):
    """Counts evaluations of crystals, and knows no value for crystals with xenon once their atoms have moved."""

    def __init__(self, **arguments: object) -> None:
        super().__init__(**arguments)  # type: ignore[arg-type]  # passed through
        self.sizes: list[int] = []

    def evaluate(self, batch: CrystalBatch) -> Evaluation:
        self.sizes.append(batch.n_crystals)
        result = super().evaluate(batch)
        lost = [bool((batch.select([c]).species == XENON).any()) for c in range(batch.n_crystals)]
        if len(self.sizes) > 3 and any(lost):
            for value in (result.energies, result.stresses):
                value[lost] = float("nan")
            result.forces[torch.tensor(lost)[batch.crystal_index]] = float("nan")
        return result


def crystals(count: int, seed: int = 0) -> list[Structure]:
    kinds = [
        rocksalt(11, 17, 5.0),
        face_centred(18, 3.7),
        caesium_chloride(55, 17, 2.9),
        zincblende(30, 16, 5.2),
    ]
    batch = CrystalBatch.concatenate([kinds[i % 4] for i in range(count)])
    return to_structures(disturbed(batch, rattle_A=0.1, strain=0.03, seed=seed))


def exploding() -> Structure:
    """Compressed so far that it comes apart."""
    return Structure(Lattice.cubic(2.2), ["Ar"] * 4, [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])


def energies(outcomes: list[Relaxation]) -> np.ndarray:
    return np.array([o.energy / len(o.structure) for o in outcomes])


@pytest.mark.parametrize("cell", ["free", "fixed"])
def test_agrees_with_ase_step_by_step(cell: str) -> None:
    structures = crystals(3)
    potential = PairPotential()
    ours = FireRelaxer(potential).relax(structures, cell=cell, fmax=0.01)
    theirs = AseFireRelaxer(potential).relax(structures, cell=cell, fmax=0.01)
    assert [o.reason for o in ours] == ["converged"] * 3
    assert [(o.reason, o.steps) for o in ours] == [(o.reason, o.steps) for o in theirs]
    assert np.abs(energies(ours) - energies(theirs)).max() < ENERGY_TOLERANCE
    for mine, reference in zip(ours, theirs, strict=True):
        assert mine.initial_energy == pytest.approx(reference.initial_energy, abs=1e-9)
        assert mine.max_force == pytest.approx(reference.max_force, abs=1e-6)
        assert mine.max_stress == pytest.approx(reference.max_stress, abs=1e-6)
        np.testing.assert_allclose(mine.structure.lattice.matrix, reference.structure.lattice.matrix, atol=1e-6)
        np.testing.assert_allclose(mine.structure.frac_coords, reference.structure.frac_coords, atol=1e-6)


def test_agrees_with_ase_for_fixed_atoms_in_a_free_cell() -> None:
    structures = crystals(2)
    fixed = [[i % 2 == 0 for i in range(len(s))] for s in structures]
    potential = PairPotential()
    ours = FireRelaxer(potential).relax(structures, fixed=fixed, fmax=0.03)
    theirs = AseFireRelaxer(potential).relax(structures, fixed=fixed, fmax=0.03)
    assert [(o.reason, o.steps) for o in ours] == [(o.reason, o.steps) for o in theirs]
    assert np.abs(energies(ours) - energies(theirs)).max() < ENERGY_TOLERANCE
    for before, mask, after in zip(structures, fixed, ours, strict=True):
        assert np.array_equal(before.frac_coords[mask], after.structure.frac_coords[mask])
        moving = [not m for m in mask]
        assert not np.allclose(before.frac_coords[moving], after.structure.frac_coords[moving], atol=1e-3)


def test_a_fixed_cell_stays_bit_for_bit() -> None:
    structures = crystals(3)
    for before, after in zip(structures, FireRelaxer(PairPotential()).relax(structures, cell="fixed"), strict=True):
        assert np.array_equal(before.lattice.matrix, after.structure.lattice.matrix)


def test_a_batch_of_16_equals_16_single_runs() -> None:
    structures = crystals(16)
    relaxer = FireRelaxer(PairPotential(), FireOptions(max_batch=16))
    together = relaxer.relax(structures, fmax=0.1)
    alone = [relaxer.relax([structure], fmax=0.1)[0] for structure in structures]
    assert [(o.reason, o.steps) for o in together] == [(o.reason, o.steps) for o in alone]
    assert np.abs(energies(together) - energies(alone)).max() < ENERGY_TOLERANCE


def test_one_that_explodes_leaves_the_other_15_untouched() -> None:
    structures = crystals(16)
    structures[7] = exploding()
    relaxer = FireRelaxer(PairPotential(), FireOptions(max_batch=16))
    outcomes = relaxer.relax(structures, fmax=0.1)
    assert outcomes[7].reason == "exploded"
    assert not outcomes[7].converged
    assert np.isfinite(outcomes[7].structure.frac_coords).all()
    assert outcomes[7].structure.volume <= 4 * structures[7].volume
    del structures[7], outcomes[7]
    without = relaxer.relax(structures, fmax=0.1)
    assert {o.reason for o in without} == {"converged"}
    assert [(o.reason, o.steps) for o in outcomes] == [(o.reason, o.steps) for o in without]
    for mine, other in zip(outcomes, without, strict=True):
        assert mine.energy == pytest.approx(other.energy, abs=1e-9)
        np.testing.assert_allclose(mine.structure.frac_coords, other.structure.frac_coords, atol=1e-9)


def test_a_potential_without_a_value_ends_one_structure_only() -> None:
    structures = crystals(3)
    structures[1].replace(0, "Xe")
    outcomes = FireRelaxer(CountingPotential()).relax(structures, fmax=0.1)
    assert [o.reason for o in outcomes] == ["converged", "non-finite", "converged"]
    assert outcomes[1].steps == 2
    assert np.isfinite([outcomes[1].energy, outcomes[1].max_force]).all()
    plain = FireRelaxer(PairPotential()).relax(structures, fmax=0.1)
    assert outcomes[0].energy == pytest.approx(plain[0].energy, abs=1e-9)


def test_finished_structures_make_room_and_the_order_is_kept() -> None:
    structures = crystals(9)
    potential = CountingPotential()
    few = FireRelaxer(potential, FireOptions(max_batch=3)).relax(structures, fmax=0.1)
    assert max(potential.sizes) == 3
    assert sum(potential.sizes) == sum(o.steps + 1 for o in few)
    assert len(potential.sizes) < sum(o.steps + 1 for o in few) / 2, "places of finished structures are filled"
    for before, after in zip(structures, few, strict=True):
        assert before.species == after.structure.species
    many = FireRelaxer(PairPotential()).relax(structures, fmax=0.1)
    assert [o.steps for o in few] == [o.steps for o in many]
    again = FireRelaxer(PairPotential(), FireOptions(max_batch=3)).relax(structures, fmax=0.1)
    assert [o.energy for o in few] == [o.energy for o in again], "a run repeats bit for bit"


def test_the_batch_respects_the_potentials_limit_of_atoms() -> None:
    structures = crystals(4)
    potential = CountingPotential(max_atoms_per_batch=12)
    outcomes = FireRelaxer(potential).relax(structures, fmax=0.1)
    assert max(potential.sizes) == 2  # 8 + 4 atoms
    tight = CountingPotential(max_atoms_per_batch=5)
    assert [o.reason for o in FireRelaxer(tight).relax(structures, fmax=0.1)] == [o.reason for o in outcomes]
    assert max(tight.sizes) == 1, "a structure above the limit is relaxed alone"


def test_convergence_counts_the_cell() -> None:
    strained = to_structures(disturbed(face_centred(18, 3.7), rattle_A=0.0, strain=0.05, seed=2))
    relaxer = FireRelaxer(PairPotential())
    (fixed,) = relaxer.relax(strained, cell="fixed", fmax=0.01)
    assert (fixed.reason, fixed.steps) == ("converged", 0), "by symmetry no atom feels a force"
    assert fixed.max_stress > 0.01
    (free,) = relaxer.relax(strained, fmax=0.01)
    assert free.reason == "converged"
    assert free.steps > 0
    assert free.max_stress < 0.1 * fixed.max_stress
    (reference,) = AseFireRelaxer(PairPotential()).relax(strained, fmax=0.01)
    assert free.steps == reference.steps


def test_what_cannot_be_relaxed_has_its_reason_and_costs_no_evaluation() -> None:
    lattice = Lattice.cubic(4)
    bad = {
        "overlap": Structure(lattice, ["Ar", "Ar"], [[0, 0, 0], [0.99, 0, 0]]),
        "non-finite": Structure(lattice, ["Ar", "Ar"], [[0, 0, 0], [0.5, 0.5, np.nan]]),
        "unsupported-element": Structure(lattice, ["Ar", "U"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
    }
    own_image = Structure(Lattice.orthorhombic(0.4, 6, 6), ["Ar"], [[0, 0, 0]])
    sheet = Structure(Lattice([[4, 0, 0], [0, 4, 0], [4, 4, 0.01]]), ["Ar"], [[0, 0, 0]])
    potential = CountingPotential(elements=frozenset({18}))
    for relaxer in (FireRelaxer(potential), AseFireRelaxer(potential)):
        outcomes = relaxer.relax([*bad.values(), own_image, sheet])
        assert [o.reason for o in outcomes] == [*bad, "overlap", "overlap"]
        assert all(o.steps == 0 and not o.converged and np.isnan(o.energy) for o in outcomes)
    assert potential.sizes == []


def test_max_steps() -> None:
    structures = crystals(2)
    for relaxer in (FireRelaxer(PairPotential()), AseFireRelaxer(PairPotential())):
        outcomes = relaxer.relax(structures, fmax=1e-4, max_steps=3)
        assert [(o.reason, o.steps, o.converged) for o in outcomes] == [("max-steps", 3, False)] * 2
        assert relaxer.relax(structures, fmax=1e-4, max_steps=0)[0].energy == outcomes[0].initial_energy


def test_ase_reference_gives_the_same_reason_for_an_explosion() -> None:
    (ours,) = FireRelaxer(PairPotential()).relax([exploding()])
    (theirs,) = AseFireRelaxer(PairPotential()).relax([exploding()])
    assert (ours.reason, ours.steps) == (theirs.reason, theirs.steps) == ("exploded", ours.steps)


@pytest.mark.parametrize("relaxer_type", [FireRelaxer, AseFireRelaxer])
def test_trajectory_on_request(relaxer_type: type[FireRelaxer | AseFireRelaxer]) -> None:
    structures = crystals(2)
    options = FireOptions if relaxer_type is FireRelaxer else AseFireOptions
    plain = relaxer_type(PairPotential()).relax(structures, fmax=0.1)
    assert all(o.trajectory == () for o in plain)
    outcomes = relaxer_type(PairPotential(), options(trajectory_every=5)).relax(structures, fmax=0.1)
    for before, outcome in zip(structures, outcomes, strict=True):
        assert len(outcome.trajectory) == outcome.steps // 5 + 1 + (outcome.steps % 5 > 0)
        assert np.allclose(outcome.trajectory[0].frac_coords, before.frac_coords)
        assert np.array_equal(outcome.trajectory[-1].frac_coords, outcome.structure.frac_coords)


class Recorder:
    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []

    def update(self, done: int, total: int, message: str = "") -> None:
        assert message
        self.calls.append((done, total))


@pytest.mark.parametrize("relaxer_type", [FireRelaxer, AseFireRelaxer])
def test_inputs_stay_and_properties_are_kept(relaxer_type: type[FireRelaxer | AseFireRelaxer]) -> None:
    structures = crystals(2)
    structures[0].add_site_property("origin", list(range(len(structures[0]))))
    structures[1].add_oxidation_state_by_element({"Ar": 0})
    before = [s.copy() for s in structures]
    recorder = Recorder()
    outcomes = relaxer_type(PairPotential()).relax(structures, fmax=0.1, progress=recorder)
    assert structures == before
    assert outcomes[0].structure.site_properties["origin"] == list(range(len(structures[0])))
    assert outcomes[1].structure.species == structures[1].species
    assert recorder.calls == [(1, 2), (2, 2)]


def test_nothing_to_do() -> None:
    assert FireRelaxer(PairPotential()).relax([]) == []


@pytest.mark.parametrize("relaxer_type", [FireRelaxer, AseFireRelaxer])
def test_bad_arguments(relaxer_type: type[FireRelaxer | AseFireRelaxer]) -> None:
    relaxer, structures = relaxer_type(PairPotential()), crystals(2)
    with pytest.raises(InputError, match="fmax"):
        relaxer.relax(structures, fmax=0)
    with pytest.raises(InputError, match="1 masks of fixed atoms were given for 2"):
        relaxer.relax(structures, fixed=[None])
    with pytest.raises(InputError, match="structure 1 has 3 entries"):
        relaxer.relax(structures, fixed=[None, [True, False, True]])
    disordered = Structure(Lattice.cubic(4), [{"Ar": 0.5, "Kr": 0.5}], [[0, 0, 0]])
    with pytest.raises(InputError, match="partial occupancies"):
        relaxer.relax([disordered])
