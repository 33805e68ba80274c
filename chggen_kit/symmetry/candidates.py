"""Candidate operations of a structure without symmetry: rotations that nearly fit the cell, atoms that nearly map."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from chggen_kit.symmetry.discrete import Discrete
from chggen_kit.symmetry.reduction import lattice_rotations

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

_ROUNDS = 4
"""Assignments and translations are refined in turn; nearly all settle in two."""
_MAX_TERMS = 2_000_000
"""Distances held in memory at a time."""


@dataclass(frozen=True)
class Candidates:
    """Operations that nearly map a crystal onto itself, best first; the identity is the first.

    Attributes:
        operations: the operations.
        misfits_A: root mean square distance between images of atoms and atoms `[n_ops]`.
        n_kinds: cyclic groups of rotations, beyond inversion, that nearly fit the cell: how much there was to find.
    """

    operations: Discrete
    misfits_A: Array
    n_kinds: int


class _Offsets:
    """Shortest vectors between points in a cell, right for lengths up to `reach` Å; longer ones may be missed."""

    def __init__(self, lattice: Array, reach: float) -> None:
        self.metric = lattice @ lattice.T
        # |d_k + S_k| h_k is a lower bound on the length, and |d_k| at most one half: short vectors need no image along
        # an axis whose height is above twice the reach.
        heights = 1 / np.linalg.norm(np.linalg.inv(lattice), axis=0)
        bounds = np.floor(reach / heights + 0.5).astype(int)
        self.images = np.array(list(product(*(range(-bound, bound + 1) for bound in bounds))), dtype=np.float64)
        self.longest_square = float(np.trace(self.metric)) * 3
        self._image_squares = np.einsum("si,ij,sj->s", self.images, self.metric, self.images)

    def shortest(self, offsets: Array) -> tuple[Array, Array]:
        """Shortest images `[..., 3]` of fractional `offsets`, and their squared lengths in Å^2 `[...]`."""
        folded = offsets - np.round(offsets)
        along = folded @ self.metric
        squares = np.einsum("...i,...i->...", along, folded)
        if len(self.images) == 1:
            return folded, squares
        with_images = 2 * along @ self.images.T + self._image_squares
        best = with_images.argmin(axis=-1)
        gains = np.take_along_axis(with_images, best[..., None], axis=-1)[..., 0]
        return folded + self.images[best], squares + gains


def find_candidates(
    lattice: Array, frac: Array, numbers: Integers, *, max_strain: float, max_rms_A: float, max_operations: int
) -> Candidates:
    """All operations whose cyclic group can be had by moving atoms by `max_rms_A` (root mean square).

    For each rotation that nearly fits the cell, translations take one atom of the rarest species to each of its kind.
    The translation is then the mean over all atoms, in turn with the assignment of images to atoms of their species
    that has the least sum of squares. If atoms move by u_i to become symmetric, images and atoms were apart by
    |u_pi(i) - R u_i|: at most twice as far, root mean square.

    Args:
        lattice: reduced rows in Å `[3, 3]`.
        frac: `[n_atoms, 3]`.
        numbers: one for each species `[n_atoms]`.
        max_strain: see `lattice_rotations`.
        max_rms_A: in Å.
        max_operations: the best so many are kept, besides pure translations.
    """
    limit = 2 * max_rms_A
    offsets = _Offsets(lattice, 2 * limit)
    different = np.not_equal.outer(numbers, numbers)
    kinds, counts = np.unique(numbers, return_counts=True)
    rarest = np.flatnonzero(numbers == kinds[counts.argmin()])
    found: dict[bytes, tuple[float, Integers, Integers, Integers]] = {}
    rotations = lattice_rotations(lattice, max_strain)
    for rotation in rotations:
        images = frac @ rotation.T
        shifts = frac[rarest] - images[rarest[0]]
        for order, found_cells in _assignments(images, frac, shifts, different, offsets, limit):
            residuals = frac[order] + found_cells - images
            residuals -= residuals.mean(axis=0)
            misfit = float(np.sqrt(np.einsum("ai,ij,aj->", residuals, offsets.metric, residuals) / len(frac)))
            cells = found_cells - found_cells[0]
            found[rotation.tobytes() + order.tobytes() + cells.tobytes()] = (misfit, rotation, order, cells)
    operations, misfits = _sorted(found, len(frac), max_operations)
    return Candidates(operations, misfits, _count_kinds(rotations))


def _count_kinds(rotations: Integers) -> int:
    """Rotations but for the identity and the inversion; a rotation and its inverse count as one."""
    inverses = np.round(np.linalg.inv(rotations.astype(np.float64))).astype(np.int64)
    pairs = {frozenset({one.tobytes(), other.tobytes()}) for one, other in zip(rotations, inverses, strict=True)}
    return len(pairs) - 2


def _sorted(
    found: dict[bytes, tuple[float, Integers, Integers, Integers]], n_atoms: int, max_operations: int
) -> tuple[Discrete, Array]:
    identity = Discrete.identity(n_atoms)
    found.pop(identity.rotations[0].tobytes() + identity.permutations[0].tobytes() + identity.cells[0].tobytes(), None)
    # A large cell made of many small ones has more operations than can be kept, but no more translations than atoms.
    unturned = identity.rotations[0].tobytes()
    ranked = sorted(found.values(), key=lambda entry: entry[0])
    turning = [entry for entry in ranked if entry[1].tobytes() != unturned][:max_operations]
    best = [entry for entry in ranked if entry[1].tobytes() == unturned] + turning
    best.sort(key=lambda entry: entry[0])
    if not best:
        return identity, np.zeros(1)
    misfits, rotations, orders, cells = zip(*best, strict=True)
    others = Discrete(np.array(rotations), np.array(orders), np.array(cells))
    return Discrete.stack([identity, others]), np.array([0.0, *misfits])


def _assignments(
    images: Array, frac: Array, shifts: Array, different: NDArray[np.bool_], offsets: _Offsets, limit: float
) -> Iterator[tuple[Integers, Integers]]:
    """Assignments of images to atoms with residuals below `limit` Å (root mean square), one for each start at most.

    Args:
        images: W x of each atom `[n_atoms, 3]`.
        frac: `[n_atoms, 3]`.
        shifts: translations to start from `[n_starts, 3]`.
        different: where two atoms are of different species `[n_atoms, n_atoms]`.
        offsets: of the cell.
        limit: in Å.

    Yields:
        The atom of each image `[n_atoms]`, and the cell that it lies in `[n_atoms, 3]`.
    """
    n_atoms = len(frac)
    atoms = np.arange(n_atoms)
    far = 4 * n_atoms * max(limit, 1.0) ** 2 + offsets.longest_square
    between = frac[None, :, :] - images[:, None, :]
    for start in _hopeful(between, shifts, different, offsets, limit):
        shift, used, order = start, start, np.full(n_atoms, -1)
        for _ in range(_ROUNDS):
            used = shift
            vectors, squares = offsets.shortest(between - used)
            squares = np.where(different, far, squares)
            previous, order = order, linear_sum_assignment(squares)[1]
            if (order == previous).all():
                break
            shift = shift + vectors[atoms, order].mean(axis=0)
        if squares[atoms, order].mean() <= limit**2:
            yield order, np.round(vectors[atoms, order] - between[atoms, order] + used).astype(np.int64)


def _hopeful(
    between: Array, shifts: Array, different: NDArray[np.bool_], offsets: _Offsets, limit: float
) -> Iterator[Array]:
    """Translations after one round with nearest atoms, where those are near enough.

    A translation from one pair of atoms is off by their residual. A first round mends it, for all translations at
    once and without assignments, and shows most of them to be hopeless.
    """
    size = max(1, _MAX_TERMS // (len(between) ** 2 * len(offsets.images)))
    for low in range(0, len(shifts), size):
        chunk = shifts[low : low + size]
        vectors, squares = offsets.shortest(between[None] - chunk[:, None, None, :])
        squares = np.where(different, np.inf, squares)
        nearest = squares.argmin(axis=2)
        chosen = np.take_along_axis(vectors, nearest[:, :, None, None], axis=2)[:, :, 0]
        # Residuals of the starting pair and of the others: twice the limit together.
        near = squares.min(axis=2).mean(axis=1) <= 4 * limit**2
        chunk = chunk[near] + chosen[near].mean(axis=1)
        _, squares = offsets.shortest(between[None] - chunk[:, None, None, :])
        squares = np.where(different, np.inf, squares)
        yield from chunk[squares.min(axis=2).mean(axis=1) <= limit**2]
