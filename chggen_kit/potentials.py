"""Bases for potentials: what every one has to do before and after its network is asked.

A `GuardedPotential` computes usable crystals only; the others of a batch get NaN. An `EdgePotential` is given the
edges of the whole batch as well, from one call.
"""

from __future__ import annotations

import math
from abc import abstractmethod

import torch

from chggen_kit.errors import InputError
from chggen_kit.interfaces import Evaluation, Potential
from chggen_kit.state import CrystalBatch
from chggen_kit.torus import Neighbours, neighbours

MIN_VOLUME_PER_ATOM = 1.0
"""Å^3; denser cells have collapsed (metallic hydrogen has 2), and their neighbours would fill the memory."""
MAX_IMAGES = 20_000
"""Translations within the cutoff; a cell with more is a needle or a sheet of almost no thickness."""
MIN_DISTANCE = 0.01
"""Å; atoms closer than this coincide."""
_PLAIN_CUTOFF = 6.0
"""Å; stands for the cutoff in `MAX_IMAGES` where a potential does not state its own."""


class GuardedPotential(Potential):
    """A potential that is only asked about crystals with finite coordinates and a cell with a volume."""

    @abstractmethod
    def compute(self, batch: CrystalBatch) -> Evaluation:
        """Values of `batch`, which is float64, on the CPU, not empty, usable, and of covered elements."""

    def evaluate(self, batch: CrystalBatch) -> Evaluation:
        """Energies, forces and stresses of `batch`.

        A crystal gets NaN when a number of it is not finite, its cell has collapsed (below 1 Å^3/atom) or is flat, or
        what `compute` gives for it is not finite.

        Raises:
            InputError: when an element is not covered.
        """
        check_elements(self, batch)
        batch = batch.to(dtype=torch.float64, device="cpu")
        result = undefined(batch)
        good = usable(batch, self.info.cutoff_A)
        crystals = good.nonzero()[:, 0]
        if crystals.numel() == 0:
            return result
        part = batch.select(crystals.tolist())
        computed = self.compute(part)
        result.energies[crystals] = computed.energies
        result.forces[good[batch.crystal_index]] = computed.forces
        result.stresses[crystals] = computed.stresses
        bad = ~torch.isfinite(result.energies) | ~torch.isfinite(result.stresses).flatten(1).all(dim=1)
        bad[batch.crystal_index[~torch.isfinite(result.forces).all(dim=1)]] = True
        result.energies[bad], result.stresses[bad] = torch.nan, torch.nan
        result.forces[bad[batch.crystal_index]] = torch.nan
        return result


class EdgePotential(GuardedPotential):
    """A potential over the edges within its cutoff.

    Crystals with coinciding atoms, or without any edge, get NaN too.
    """

    @abstractmethod
    def compute_with_edges(self, batch: CrystalBatch, edges: Neighbours) -> Evaluation:
        """Values of `batch` (see `compute`), of which every crystal has an edge; `edges` are within the cutoff."""

    def compute(self, batch: CrystalBatch) -> Evaluation:
        """Values of `batch`, after one search for the edges of all crystals."""
        edges = neighbours(batch.frac_coords, batch.lattice, batch.num_atoms, self.info.cutoff_A)
        crystal = batch.crystal_index[edges.target]
        coinciding = crystal[edges.vector.norm(dim=1) < MIN_DISTANCE]
        bad = torch.bincount(crystal, minlength=batch.n_crystals) == 0
        bad[coinciding] = True
        if not bool(bad.any()):
            return self.compute_with_edges(batch, edges)
        result = undefined(batch)
        crystals = (~bad).nonzero()[:, 0]
        if crystals.numel() == 0:
            return result
        kept = ~bad[crystal]
        rows = ~bad[batch.crystal_index]
        number = rows.cumsum(0) - 1
        part = Neighbours(number[edges.source[kept]], number[edges.target[kept]], edges.shift[kept], edges.vector[kept])
        computed = self.compute_with_edges(batch.select(crystals.tolist()), part)
        result.energies[crystals] = computed.energies
        result.forces[rows] = computed.forces
        result.stresses[crystals] = computed.stresses
        return result


def check_elements(potential: Potential, batch: CrystalBatch) -> None:
    """Refuse elements that `potential` does not cover.

    Raises:
        InputError: naming them.
    """
    unknown = set(batch.species.tolist()) - potential.info.elements
    if unknown:
        raise InputError(
            f"{potential.info.name} does not cover the elements with atomic numbers {sorted(unknown)}. "
            "Choose another potential or composition."
        )


def undefined(batch: CrystalBatch) -> Evaluation:
    """NaN for everything in `batch`."""
    return Evaluation(
        energies=torch.full((batch.n_crystals,), torch.nan, dtype=torch.float64),
        forces=torch.full((batch.n_atoms, 3), torch.nan, dtype=torch.float64),
        stresses=torch.full((batch.n_crystals, 3, 3), torch.nan, dtype=torch.float64),
    )


def usable(batch: CrystalBatch, cutoff: float) -> torch.Tensor:
    """Crystals of a float64 batch whose edges within `cutoff` Å can be found at all `[n_crystals]`."""
    finite = torch.isfinite(batch.lattice).flatten(1).all(dim=1)
    finite[batch.crystal_index[~torch.isfinite(batch.frac_coords).all(dim=1)]] = False
    cell = torch.where(finite[:, None, None], batch.lattice, torch.eye(3, dtype=torch.float64))
    volume = torch.linalg.det(cell).abs()
    roomy = volume >= MIN_VOLUME_PER_ATOM * batch.num_atoms
    roomy &= volume > 1e-8 * cell.norm(dim=-1).amax(dim=-1) ** 3
    cell = torch.where(roomy[:, None, None], cell, torch.eye(3, dtype=torch.float64))
    reach = cutoff if math.isfinite(cutoff) else _PLAIN_CUTOFF
    images = (2 * torch.floor(reach * torch.linalg.inv(cell).norm(dim=-2) + 0.5) + 1).prod(dim=-1)
    good: torch.Tensor = finite & roomy & (images <= MAX_IMAGES)
    return good
