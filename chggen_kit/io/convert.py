"""Between pymatgen structures and `CrystalBatch`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from pymatgen.core import Lattice, Structure

from chggen_kit.errors import InputError
from chggen_kit.state import CrystalBatch
from chggen_kit.torus import wrap


def to_batch(structures: Sequence[Structure]) -> CrystalBatch:
    """Batch of ordered `structures`, float64, coordinates folded into [0, 1).

    Raises:
        InputError: for an empty list, a structure without sites, partial occupancies, or values that are not finite.
    """
    if not structures:
        raise InputError("No structures to convert.")
    for index, structure in enumerate(structures):
        if len(structure) == 0:
            raise InputError(f"Structure {index} has no sites.")
        if not structure.is_ordered:
            raise InputError(
                f"Structure {index} ({structure.composition.formula}) has partial occupancies. "
                "Choose an ordered arrangement first (e.g. with pymatgen's OrderDisorderedStructureTransformation)."
            )
        if not (np.isfinite(structure.frac_coords).all() and np.isfinite(structure.lattice.matrix).all()):
            raise InputError(
                f"Structure {index} ({structure.composition.formula}) holds coordinates that are not finite."
            )
    return CrystalBatch(
        frac_coords=wrap(torch.from_numpy(np.concatenate([s.frac_coords for s in structures]).astype(np.float64))),
        lattice=torch.from_numpy(np.stack([s.lattice.matrix for s in structures]).astype(np.float64)),
        species=torch.tensor([site.specie.Z for s in structures for site in s], dtype=torch.int64),
        num_atoms=torch.tensor([len(s) for s in structures], dtype=torch.int64),
    )


def to_structures(batch: CrystalBatch) -> list[Structure]:
    """One pymatgen structure for each crystal of `batch`, in the same atom order."""
    bounds = batch.offsets.tolist()
    coords, species = batch.frac_coords.double().cpu().numpy(), batch.species.cpu().tolist()
    return [
        Structure(Lattice(lattice), species[low:high], coords[low:high])
        for lattice, low, high in zip(batch.lattice.double().cpu().numpy(), bounds, bounds[1:], strict=False)
    ]


def with_coordinates(structure: Structure, frac: np.ndarray, cell: np.ndarray) -> Structure:
    """Copy of `structure` with other fractional coordinates `[n, 3]` and cell `[3, 3]` in Å."""
    return Structure(
        Lattice(cell.copy(), pbc=structure.lattice.pbc),
        structure.species,
        frac.copy(),
        site_properties=structure.site_properties,
        labels=structure.labels,
        properties=structure.properties,
    )
