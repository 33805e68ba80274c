"""The cell that the network knows: Niggli-reduced. Its answers depend on the choice and the order of the axes.

The change of cell is a unimodular whole-number matrix P: L' = P L (rows are cell vectors), x' = x P^-1. Nothing is
rotated: the network does not see orientations, nor handedness.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from chggen_kit.errors import InputError

_TOLERANCE = 1e-4
"""Below which lengths and products count as equal. Files hold five digits or so: with 1e-5 their rounding decides if
a face-centred cell comes out with three angles of 60 degrees or with 120, 120 and 90."""


def niggli_changes(lattice: Tensor, reduce: Tensor) -> Tensor:
    """P of each cell.

    Args:
        lattice: `[n_crystals, 3, 3]` in Å.
        reduce: bool `[n_crystals]`; the others keep their cells.

    Returns:
        Whole numbers of determinant 1 `[n_crystals, 3, 3]`, float64, on the CPU.

    Raises:
        InputError: when a cell to be reduced is flat or not finite.
    """
    cells = lattice.detach().double().cpu().numpy()
    changes = np.tile(np.eye(3), (len(cells), 1, 1))
    done: dict[bytes, np.ndarray[tuple[int, ...], np.dtype[np.float64]]] = {}
    for index in np.flatnonzero(reduce.cpu().numpy()):
        cell = cells[index]
        key = cell.tobytes()
        if key not in done:
            done[key] = _niggli_change(cell)
        changes[index] = done[key]
    return torch.from_numpy(changes)


def _niggli_change(
    cell: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    import spglib

    length = float(np.linalg.norm(cell, axis=1).max())
    if not np.isfinite(cell).all() or abs(float(np.linalg.det(cell))) <= 1e-9 * length**3:
        raise InputError("A cell is flat or not finite: its three vectors span no volume.")
    reduced = spglib.niggli_reduce(cell, eps=_TOLERANCE)
    if reduced is None:
        raise InputError(f"The cell {np.round(cell, 4).tolist()} cannot be reduced: spglib finds no Niggli cell.")
    exact = np.asarray(reduced) @ np.linalg.inv(cell)
    change = np.rint(exact)
    if abs(exact - change).max() > 1e-3 or round(float(np.linalg.det(change))) != 1:
        raise InputError(f"The cell {np.round(cell, 4).tolist()} cannot be reduced: it is too long and thin.")
    return change
