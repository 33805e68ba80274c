"""The cell variable against ASE's FrechetCellFilter and against automatic differentiation."""

from __future__ import annotations

import numpy as np
import torch
from ase import Atoms
from ase.filters import FrechetCellFilter

from chggen_kit.relaxers.ase_calculator import PotentialCalculator
from chggen_kit.relaxers.frechet import deformation, log_strain_force
from chggen_kit.testing.crystals import disturbed, rocksalt
from chggen_kit.testing.pair_potential import PairPotential


def test_force_is_minus_the_derivative_of_any_energy_of_the_deformation() -> None:
    generator = torch.Generator().manual_seed(3)
    log_strain = 0.4 * torch.randn(5, 3, 3, generator=generator, dtype=torch.float64)
    weights = torch.randn(5, 3, 3, generator=generator, dtype=torch.float64)
    variable = log_strain.clone().requires_grad_()
    energy = (deformation(variable) * weights).sum()
    (expected,) = torch.autograd.grad(energy, variable)
    gradient = deformation(log_strain)
    volume = torch.linalg.det(gradient).abs()
    # dE/dF = weights; the stress that belongs to it is dE/dF F^T / V
    stress = weights @ gradient.transpose(1, 2) / volume[:, None, None]
    force = log_strain_force(log_strain, gradient, stress, volume)
    torch.testing.assert_close(force, -expected, rtol=1e-10, atol=1e-12)


def test_zero_stress_gives_zero_force() -> None:
    log_strain = torch.zeros(2, 3, 3, dtype=torch.float64)
    force = log_strain_force(log_strain, deformation(log_strain), log_strain, torch.ones(2, dtype=torch.float64))
    assert torch.equal(force, log_strain)


def test_equals_ase_far_from_the_first_cell() -> None:
    potential = PairPotential()
    batch = disturbed(rocksalt(11, 17, 5.0), rattle_A=0.1, strain=0.03, seed=1)
    atoms = Atoms(
        numbers=batch.species.numpy(),
        scaled_positions=batch.frac_coords.numpy(),
        cell=batch.lattice[0].numpy(),
        pbc=True,
        calculator=PotentialCalculator(potential),
    )
    cell_filter = FrechetCellFilter(atoms)
    log_strain = 0.1 * torch.randn(1, 3, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    gradient = deformation(log_strain)
    atoms.set_cell(batch.lattice[0].numpy() @ gradient[0].numpy().T, scale_atoms=True)
    expected = cell_filter.get_forces()
    stress = torch.tensor(atoms.get_stress(voigt=False))[None]
    force = log_strain_force(log_strain, gradient, stress, torch.tensor([atoms.get_volume()]))
    np.testing.assert_allclose(force[0].numpy() / len(atoms), expected[len(atoms) :], atol=1e-9)
    np.testing.assert_allclose(atoms.get_forces() @ gradient[0].numpy(), expected[: len(atoms)], atol=1e-12)
