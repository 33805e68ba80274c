"""What is not relaxed at all, and when a relaxation is given up."""

from __future__ import annotations

import numpy as np
import torch
from pymatgen.core import Structure
from torch import Tensor

from chggen_kit.errors import InputError
from chggen_kit.interfaces import PotentialInfo
from chggen_kit.interfaces.relaxer import RelaxationReason
from chggen_kit.state import CrystalBatch
from chggen_kit.torus import neighbours

OVERLAP_A = 0.5
"""Atoms (or an atom and its own image) closer than this are one mistake, not two atoms (H2: 0.74 Å)."""
VOLUME_RATIO = 4.0
"""A cell that grows or shrinks by more than this factor has exploded or collapsed."""
MAX_VOLUME_PER_ATOM = 1000.0
"""Å^3; beyond it nothing is a crystal, whatever the start."""
_MIN_HEIGHT = 0.05
"""Å between opposite faces; a cell with less is flat, or needs reducing to shorter vectors before any use."""


def first_objection(structure: Structure, info: PotentialInfo) -> RelaxationReason | None:
    """Why `structure` cannot be relaxed at all, or `None`.

    Raises:
        InputError: for a structure without sites or with partial occupancies, which no relaxer can use.
    """
    if len(structure) == 0:
        raise InputError("A structure to relax has no sites.")
    if not structure.is_ordered:
        raise InputError(
            f"A structure to relax ({structure.composition.formula}) has partial occupancies. "
            "Choose an ordered arrangement first."
        )
    if not (np.isfinite(structure.frac_coords).all() and np.isfinite(structure.lattice.matrix).all()):
        return "non-finite"
    if any(site.specie.Z not in info.elements for site in structure):
        return "unsupported-element"
    batch = CrystalBatch(
        torch.tensor(structure.frac_coords, dtype=torch.float64),
        torch.tensor(structure.lattice.matrix[None], dtype=torch.float64),
        torch.zeros(len(structure), dtype=torch.int64),
        torch.tensor([len(structure)]),
    )
    return "overlap" if bool(overlapping(batch)[0]) else None


def overlapping(batch: CrystalBatch) -> Tensor:
    """Crystals with atoms (periodic images included) closer than `OVERLAP_A`, or a flat cell `[n_crystals]`."""
    volume = batch.volumes
    crowded = volume <= OVERLAP_A**3
    cell = torch.where(crowded[:, None, None], torch.eye(3, dtype=volume.dtype), batch.lattice)
    crowded |= (torch.linalg.inv(cell).norm(dim=-2) > 1 / _MIN_HEIGHT).any(dim=-1)
    crystals = (~crowded).nonzero()[:, 0].tolist()
    if crystals:
        part = batch if len(crystals) == batch.n_crystals else batch.select(crystals)
        close = neighbours(part.frac_coords, part.lattice, part.num_atoms, OVERLAP_A)
        crowded[torch.tensor(crystals)[part.crystal_index[close.target]]] = True
    return crowded


def exploded(batch: CrystalBatch, first_volume: Tensor) -> Tensor:
    """Crystals past the limits: volume against the first one, volume per atom, distances `[n_crystals]`.

    A crystal whose values are not finite counts too.
    """
    volume = batch.volumes
    ratio = volume / first_volume
    lost = ~((ratio <= VOLUME_RATIO) & (ratio >= 1 / VOLUME_RATIO) & (volume <= MAX_VOLUME_PER_ATOM * batch.num_atoms))
    broken = ~torch.isfinite(batch.frac_coords).all(dim=1)
    lost |= torch.zeros_like(volume).index_add_(0, batch.crystal_index, broken.to(volume.dtype)) > 0
    crystals = (~lost).nonzero()[:, 0].tolist()
    if crystals:
        part = batch if len(crystals) == batch.n_crystals else batch.select(crystals)
        lost[torch.tensor(crystals)[overlapping(part)]] = True
    return lost
