"""Many structures under FIRE at once, laid end to end: their variables, and one step of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from chggen_kit.interfaces import Evaluation
from chggen_kit.relaxers.frechet import deformation, log_strain_force
from chggen_kit.relaxers.options import FireOptions
from chggen_kit.state import CrystalBatch
from chggen_kit.torus import wrap

_PER_ATOM = frozenset({"frac", "species", "movable", "velocity"})


@dataclass(frozen=True)
class GeneralisedForces:
    """Forces on the variables of all structures.

    Attributes:
        atoms: on the undeformed positions, zero for fixed atoms, in eV/Å `[n_atoms, 3]`.
        cells: on the scaled logarithmic strains, zero for fixed cells `[n_crystals, 3, 3]`.
        largest: the longest row of both, for each structure `[n_crystals]`.
    """

    atoms: Tensor
    cells: Tensor
    largest: Tensor

    def select(self, keep: Tensor, crystal_index: Tensor) -> GeneralisedForces:
        """The forces of the structures where `keep` `[n_crystals]`."""
        return GeneralisedForces(self.atoms[keep[crystal_index]], self.cells[keep], self.largest[keep])


@dataclass(frozen=True)
class Walkers:
    """State of the structures that move together; `[a]` stands for atoms, `[c]` for structures. Never changed in place.

    Attributes:
        frac: fractional coordinates, not folded `[a, 3]`.
        species: `[a]`.
        movable: False for fixed atoms `[a]`.
        velocity: of the undeformed positions `[a, 3]`.
        num_atoms: `[c]`.
        first_cell: cell before any deformation `[c, 3, 3]`.
        log_strain: U `[c, 3, 3]`.
        cell_velocity: of n_atoms U `[c, 3, 3]`.
        dt: time step `[c]`.
        mixing: FIRE's a `[c]`.
        downhill: steps since the last uphill one `[c]`, int64.
        steps: steps taken `[c]`, int64.
    """

    frac: Tensor
    species: Tensor
    movable: Tensor
    velocity: Tensor
    num_atoms: Tensor
    first_cell: Tensor
    log_strain: Tensor
    cell_velocity: Tensor
    dt: Tensor
    mixing: Tensor
    downhill: Tensor
    steps: Tensor

    @classmethod
    def start(cls, frac: Tensor, cell: Tensor, species: Tensor, fixed: Tensor, options: FireOptions) -> Walkers:
        """One structure at rest: `frac` `[a, 3]`, `cell` `[3, 3]`, both float64; `species` and `fixed` `[a]`."""
        one = frac.new_ones(1)
        count = torch.zeros(1, dtype=torch.int64)
        return cls(
            frac=frac,
            species=species,
            movable=~fixed,
            velocity=torch.zeros_like(frac),
            num_atoms=count + frac.shape[0],
            first_cell=cell[None],
            log_strain=torch.zeros_like(cell)[None],
            cell_velocity=torch.zeros_like(cell)[None],
            dt=options.dt * one,
            mixing=options.a_start * one,
            downhill=count,
            steps=count,
        )

    @classmethod
    def join(cls, parts: Sequence[Walkers]) -> Walkers:
        """All structures of `parts`, in order."""
        return cls(**{f.name: torch.cat([getattr(part, f.name) for part in parts]) for f in fields(cls)})

    def select(self, keep: Tensor) -> Walkers:
        """The structures where `keep` `[c]`."""
        atoms = keep[self.crystal_index]
        return Walkers(**{f.name: getattr(self, f.name)[atoms if f.name in _PER_ATOM else keep] for f in fields(self)})

    @property
    def crystal_index(self) -> Tensor:
        """Structure of each atom `[a]`."""
        return torch.repeat_interleave(torch.arange(self.num_atoms.shape[0]), self.num_atoms)

    @property
    def cells(self) -> Tensor:
        """Deformed cells in Å `[c, 3, 3]`; bit-equal to the first ones where nothing was deformed."""
        moved = (self.log_strain != 0).flatten(1).any(dim=1)[:, None, None]
        return torch.where(moved, self.first_cell @ deformation(self.log_strain).transpose(1, 2), self.first_cell)

    def batch(self) -> CrystalBatch:
        """The structures as they are now."""
        return CrystalBatch(wrap(self.frac), self.cells, self.species, self.num_atoms)

    def forces(self, evaluation: Evaluation, volumes: Tensor, *, cell_moves: bool) -> GeneralisedForces:
        """Forces on the variables, as ASE's `FrechetCellFilter.get_forces` with `exp_cell_factor` = n_atoms."""
        index = self.crystal_index
        gradient = deformation(self.log_strain)
        atoms = torch.einsum("ai,aij->aj", evaluation.forces, gradient[index]) * self.movable[:, None]
        cells = torch.zeros_like(self.log_strain)
        if cell_moves:
            known = torch.isfinite(evaluation.stresses).flatten(1).all(dim=1)[:, None, None]
            stresses = torch.where(known, evaluation.stresses, 0.0)  # a matrix exponential of NaN may not return
            on_strain = log_strain_force(self.log_strain, gradient, stresses, volumes)
            cells = torch.where(known, on_strain / self.num_atoms[:, None, None], torch.nan)
        largest = cells.norm(dim=2).amax(dim=1).scatter_reduce(0, index, atoms.norm(dim=1), "amax")
        return GeneralisedForces(atoms, cells, largest)

    def step(self, force: GeneralisedForces, options: FireOptions) -> Walkers:
        """One step of FIRE (Bitzek et al., Phys. Rev. Lett. 97, 170201 (2006)) in the order of ASE's implementation."""
        index = self.crystal_index
        power = _dot(force.atoms, force.cells, self.velocity, self.cell_velocity, index)
        speed = _dot(self.velocity, self.cell_velocity, self.velocity, self.cell_velocity, index).sqrt()
        size = _dot(force.atoms, force.cells, force.atoms, force.cells, index).sqrt()
        goes_down, at_start = power > 0, self.steps == 0
        keep = torch.where(goes_down, 1 - self.mixing, 0.0)
        add = torch.where(goes_down, self.mixing * speed / size, 0.0)
        grows = goes_down & (self.downhill > options.n_min)
        turns = ~goes_down & ~at_start
        dt = torch.where(grows, (self.dt * options.f_inc).clamp(max=options.dt_max), self.dt)
        dt = torch.where(turns, self.dt * options.f_dec, dt)
        mixing = torch.where(grows, self.mixing * options.f_a, self.mixing)
        mixing = torch.where(turns, torch.full_like(mixing, options.a_start), mixing)
        gain = add + dt
        velocity = keep[index, None] * self.velocity + gain[index, None] * force.atoms
        cell_velocity = keep[:, None, None] * self.cell_velocity + gain[:, None, None] * force.cells
        length = dt * _dot(velocity, cell_velocity, velocity, cell_velocity, index).sqrt()
        scale = dt * torch.where(length > options.max_step, options.max_step / length, torch.ones_like(length))
        to_frac = torch.linalg.inv(self.first_cell)[index]
        moved = self.frac + torch.einsum("ai,aij->aj", scale[index, None] * velocity, to_frac)
        return Walkers(
            frac=torch.where(self.movable[:, None], moved, self.frac),
            species=self.species,
            movable=self.movable,
            velocity=velocity,
            num_atoms=self.num_atoms,
            first_cell=self.first_cell,
            log_strain=self.log_strain + (scale / self.num_atoms)[:, None, None] * cell_velocity,
            cell_velocity=cell_velocity,
            dt=dt,
            mixing=mixing,
            downhill=torch.where(goes_down, self.downhill + 1, 0),
            steps=self.steps + 1,
        )


def _dot(atoms: Tensor, cells: Tensor, other_atoms: Tensor, other_cells: Tensor, index: Tensor) -> Tensor:
    """Scalar product of two generalised vectors, structure by structure `[c]`."""
    return (cells * other_cells).sum(dim=(1, 2)).index_add(0, index, (atoms * other_atoms).sum(dim=1))
