"""What all relaxers do with their arguments and their results."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pymatgen.core import Structure
from torch import Tensor

from chggen_kit.errors import InputError


def checked_masks(
    structures: Sequence[Structure], fixed: Sequence[Sequence[bool] | None] | None, fmax: float, max_steps: int
) -> list[Tensor]:
    """Masks of fixed atoms as tensors, after a check of the arguments common to all relaxers.

    Raises:
        InputError: for limits that are not positive, or masks of the wrong length.
    """
    if not fmax > 0 or max_steps < 0:
        raise InputError(f"fmax must be positive and max_steps not negative, not {fmax} and {max_steps}.")
    if fixed is not None and len(fixed) != len(structures):
        raise InputError(f"{len(fixed)} masks of fixed atoms were given for {len(structures)} structures.")
    masks = []
    for index, structure in enumerate(structures):
        mask = None if fixed is None else fixed[index]
        if mask is not None and len(mask) != len(structure):
            raise InputError(
                f"The mask of fixed atoms of structure {index} has {len(mask)} entries, "
                f"the structure {len(structure)} atoms."
            )
        masks.append(torch.tensor([False] * len(structure) if mask is None else list(mask), dtype=torch.bool))
    return masks
