"""A Lennard-Jones potential with every law of `Potential`: for tests, and as the shortest example of a potential."""

from __future__ import annotations

import torch
from torch import Tensor

from chggen_kit.errors import InputError
from chggen_kit.interfaces import Evaluation, Potential, PotentialInfo
from chggen_kit.state import CrystalBatch
from chggen_kit.torus import neighbours


class PairPotential(Potential):
    """Lennard-Jones between all atoms alike, brought smoothly to zero at the cutoff by a factor (1 - (r / cutoff)^2)^3.

    Args:
        sigma_A: distance in Å at which a pair's energy is zero.
        epsilon_eV: depth of a pair's well in eV (before the factor).
        cutoff_A: in Å.
        elements: atomic numbers covered; all by default.
        max_atoms_per_batch: as declared in `info`.
    """

    def __init__(
        self,
        *,
        sigma_A: float = 2.3,
        epsilon_eV: float = 0.3,
        cutoff_A: float = 6.0,
        elements: frozenset[int] = frozenset(range(1, 119)),
        max_atoms_per_batch: int = 512,
    ) -> None:
        self._sigma, self._epsilon, self._cutoff = sigma_A, epsilon_eV, cutoff_A
        self._info = PotentialInfo("pair", "lennard-jones", elements, cutoff_A, max_atoms_per_batch, "MIT")

    @property
    def info(self) -> PotentialInfo:
        """What the potential is."""
        return self._info

    def evaluate(self, batch: CrystalBatch) -> Evaluation:
        """Energies, forces and stresses of `batch`.

        Raises:
            InputError: when an element is not covered.
        """
        unknown = set(batch.species.tolist()) - self._info.elements
        if unknown:
            raise InputError(f"The pair potential was told not to cover the elements {sorted(unknown)}.")
        finite = torch.isfinite(batch.lattice).flatten(1).all(dim=1)
        finite[batch.crystal_index[~torch.isfinite(batch.frac_coords).all(dim=1)]] = False
        energies = batch.lattice.new_full((batch.n_crystals,), torch.nan)
        forces, stresses = torch.full_like(batch.frac_coords, torch.nan), torch.full_like(batch.lattice, torch.nan)
        crystals = finite.nonzero()[:, 0]
        if crystals.numel():
            parts = self._evaluate_finite(batch.select(crystals.tolist()))
            energies[crystals], forces[finite[batch.crystal_index]], stresses[crystals] = parts
        return Evaluation(energies, forces, stresses)

    def _evaluate_finite(self, batch: CrystalBatch) -> tuple[Tensor, Tensor, Tensor]:
        pairs = neighbours(batch.frac_coords, batch.lattice, batch.num_atoms, self._cutoff)
        vector = pairs.vector.clone().requires_grad_()
        square = vector.square().sum(dim=1)
        sixth = (self._sigma**2 / square) ** 3
        pair_energy = 4 * self._epsilon * (sixth**2 - sixth) * (1 - square / self._cutoff**2) ** 3
        (slope,) = torch.autograd.grad(pair_energy.sum() / 2, vector)  # every pair is listed from both ends
        crystal = batch.crystal_index[pairs.target]
        energies = slope.new_zeros(batch.n_crystals).index_add_(0, crystal, pair_energy.detach() / 2)
        forces = slope.new_zeros(batch.n_atoms, 3).index_add_(0, pairs.target, slope)
        forces = forces.index_add_(0, pairs.source, -slope)
        virial = pairs.vector[:, :, None] * slope[:, None, :]
        stresses = slope.new_zeros(batch.n_crystals, 3, 3).index_add_(0, crystal, virial)
        return energies, forces, stresses / batch.volumes[:, None, None]
