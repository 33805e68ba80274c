"""Relaxation within a space group: 50 groups are kept, and what does not fit is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from pymatgen.core import Structure

from chggen_kit.errors import InputError
from chggen_kit.interfaces import Evaluation, Relaxation
from chggen_kit.io import to_structures
from chggen_kit.relaxers.ase_reference import AseFireRelaxer
from chggen_kit.relaxers.fire import FireOptions, FireRelaxer
from chggen_kit.relaxers.projection import SymmetryProjector, project
from chggen_kit.state import CrystalBatch
from chggen_kit.symmetry import SymmetryOperations, find_operations
from chggen_kit.testing.crystals import fluorite, perovskite
from chggen_kit.testing.pair_potential import PairPotential
from chggen_kit.testing.symmetric import check_symmetry_kept, symmetric_crystals


class NoisyPotential(PairPotential):
    """With errors of 0.2 eV/Å and 10 meV/Å^3, other ones at every call, as of a network that breaks the symmetry."""

    def __init__(self) -> None:
        super().__init__(max_atoms_per_batch=128)
        self.generator = torch.Generator().manual_seed(0)

    def evaluate(self, batch: CrystalBatch) -> Evaluation:
        result = super().evaluate(batch)
        skew = torch.randn(result.stresses.shape, generator=self.generator, dtype=torch.float64)
        return Evaluation(
            result.energies,
            result.forces + 0.2 * torch.randn(result.forces.shape, generator=self.generator, dtype=torch.float64),
            result.stresses + 1e-2 * (skew + skew.transpose(1, 2)),
        )


class Forgetful(FireRelaxer):
    """A relaxer that takes no notice of the symmetry."""

    def relax(
        self,
        structures: Sequence[Structure],
        *,
        symmetry: Sequence[SymmetryOperations | None] | None = None,
        **rest: Any,
    ) -> list[Relaxation]:
        return super().relax(structures, **rest)


@pytest.fixture(scope="module")
def crystals() -> list[Structure]:
    return symmetric_crystals(50)


def test_the_groups_are_many_and_real(crystals: list[Structure]) -> None:
    sizes = {find_operations(one)[1].n_ops for one in crystals}
    assert len(crystals) == 50
    assert min(sizes) == 2
    assert max(sizes) >= 48
    assert len(sizes) > 8
    assert symmetric_crystals(3) == symmetric_crystals(3)
    assert symmetric_crystals(3) != symmetric_crystals(3, seed=1)
    with pytest.raises(InputError, match="229"):
        symmetric_crystals(230)


def test_50_groups_are_kept_with_a_potential_that_breaks_them(crystals: list[Structure]) -> None:
    report = check_symmetry_kept(FireRelaxer(NoisyPotential()), crystals, max_steps=30)
    report.raise_if_failed()
    assert next(law.measured for law in report if law.law == "operations-kept") < 1e-9


def test_the_check_catches_a_relaxer_that_takes_no_notice() -> None:
    report = check_symmetry_kept(Forgetful(NoisyPotential()), symmetric_crystals(6), max_steps=40)
    assert {law.law for law in report.failures} == {"operations-kept", "group-not-lowered"}


def test_an_exact_potential_takes_the_same_way_with_and_without() -> None:
    starts = [find_operations(one) for one in symmetric_crystals(6, seed=3)]
    structures = [one for one, _ in starts]
    relaxer = FireRelaxer(PairPotential())
    free = relaxer.relax(structures, max_steps=15)
    kept = relaxer.relax(structures, symmetry=[group for _, group in starts], max_steps=15)
    for one, other in zip(free, kept, strict=True):
        assert (one.reason, one.steps) == (other.reason, other.steps)
        assert one.energy == pytest.approx(other.energy, abs=1e-7)
        assert one.max_force == pytest.approx(other.max_force, abs=1e-6)
        assert one.max_stress == pytest.approx(other.max_stress, abs=1e-6)


def test_a_batch_may_mix_groups_with_none() -> None:
    starts = [find_operations(one) for one in symmetric_crystals(4, seed=2)]
    structures, groups = [one for one, _ in starts], [group for _, group in starts]
    mixed = [groups[0], None, groups[2], None]
    relaxer = FireRelaxer(PairPotential(), FireOptions(max_batch=3))
    together = relaxer.relax(structures, symmetry=mixed, max_steps=15)
    for structure, group, outcome in zip(structures, mixed, together, strict=True):
        (alone,) = relaxer.relax([structure], symmetry=[group], max_steps=15)
        assert (alone.reason, alone.steps) == (outcome.reason, outcome.steps)
        assert alone.energy == pytest.approx(outcome.energy, abs=1e-7)


def test_fixed_orbits_and_a_fixed_cell_go_with_a_symmetry() -> None:
    structure, group = find_operations(to_structures(fluorite(20, 9, 5.0))[0])
    orbits = group.orbits()
    fixed = (orbits == orbits[0]).tolist()
    (outcome,) = FireRelaxer(NoisyPotential()).relax(
        [structure], cell="fixed", fixed=[fixed], symmetry=[group], max_steps=10
    )
    assert np.array_equal(outcome.structure.lattice.matrix, structure.lattice.matrix)
    assert np.array_equal(outcome.structure.frac_coords[fixed], structure.frac_coords[fixed])
    assert group.residual_A(outcome.structure) < 1e-9
    fixed[0] = False
    with pytest.raises(InputError, match="Fix all atoms of an orbit"):
        FireRelaxer(PairPotential()).relax([structure], fixed=[fixed], symmetry=[group])


def test_the_projection_is_idempotent_symmetric_and_the_mean_over_the_group() -> None:
    generator = torch.Generator().manual_seed(1)
    for one in symmetric_crystals(8, seed=4):
        structure, group = find_operations(one)
        projector = SymmetryProjector.of(structure, group, "it")
        for matrix in (projector.atoms, projector.cell):
            assert torch.allclose(matrix @ matrix, matrix, atol=1e-10)
            assert torch.allclose(matrix, matrix.T, atol=1e-10)
        vectors = torch.randn(len(structure), 3, generator=generator, dtype=torch.float64)
        tensor = torch.randn(1, 3, 3, generator=generator, dtype=torch.float64)
        atoms, cells = project([projector], vectors, tensor, [0, len(structure)])
        cell = structure.lattice.matrix
        np.testing.assert_allclose(atoms.numpy(), group.average_vectors(vectors.numpy(), cell), atol=1e-12)
        np.testing.assert_allclose(cells[0].numpy(), group.average_tensor(tensor[0].numpy(), cell), atol=1e-12)


def test_operations_that_do_not_fit_are_refused() -> None:
    structure, group = find_operations(to_structures(perovskite(38, 22, 8, 3.91))[0])
    relaxer = FireRelaxer(PairPotential())
    with pytest.raises(InputError, match="1 sets of symmetry operations were given for 2"):
        relaxer.relax([structure, structure], symmetry=[group])
    with pytest.raises(InputError, match="permute 5 atoms, not 2"):
        relaxer.relax([Structure.from_sites(structure[:2])], symmetry=[group])
    moved = structure.copy()
    moved.translate_sites([1], [0.01, 0, 0])
    with pytest.raises(InputError, match="find_operations"):
        relaxer.relax([moved], symmetry=[group])
    strained = structure.copy()
    strained.apply_strain([0.01, 0, 0])
    with pytest.raises(InputError, match="rotations of the cell"):
        relaxer.relax([strained], symmetry=[group])
    part = SymmetryOperations(group.rotations[:5], group.translations[:5], group.permutations[:5])
    with pytest.raises(InputError, match="no group"):
        relaxer.relax([structure], symmetry=[part])
    exchanged = structure.copy()
    exchanged.replace(2, "F")
    with pytest.raises(InputError, match="another element"):
        relaxer.relax([exchanged], symmetry=[group])


def test_the_reference_relaxer_refuses_a_symmetry() -> None:
    structure, group = find_operations(to_structures(perovskite(38, 22, 8, 3.91))[0])
    with pytest.raises(InputError, match="cannot keep a symmetry"):
        AseFireRelaxer(PairPotential()).relax([structure], symmetry=[group])
    assert AseFireRelaxer(PairPotential()).relax([structure], symmetry=[None], max_steps=0)
