"""Wyckoff positions of a group of operations, derived from the operations alone.

The points that share a site symmetry S fill an affine subspace Fix(S), and two of them belong to one Wyckoff position
where an operation of the group maps one onto the other (International Tables for Crystallography A, section 1.4.4). In
the standard settings all of these subspaces pass through points whose coordinates are multiples of 1/24, off the
subspaces of higher symmetry that they hold: going through that grid in whole numbers finds all of them, exactly. (The
230 groups have 1731 Wyckoff positions; a test counts them.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
import spglib
from numpy.typing import NDArray

from chggen_kit.errors import InputError

Integers = NDArray[np.int64]
Array = NDArray[np.float64]
Key = tuple[bytes, bytes]

GRID = 24
ROUNDING = 2e-3
"""Translations that were found within a tolerance may be off by so much, in fractional units; it is rounded away."""


@dataclass(frozen=True)
class Position:
    """A Wyckoff position: one of its subspaces, and how many points an orbit has.

    Attributes:
        origin: a point of the subspace, fractional `[3]`.
        directions: columns that span it, whole numbers `[3, dof]`.
        multiplicity: points of an orbit in the cell.
    """

    origin: Array
    directions: Integers
    multiplicity: int

    @property
    def dof(self) -> int:
        """Free coordinates of a point: 0 to 3."""
        return int(self.directions.shape[1])

    def point(self, parameters: Array) -> Array:
        """Point of the subspace at `parameters` `[dof]`, fractional `[3]`."""
        return np.asarray(self.origin + self.directions @ parameters)


@dataclass(frozen=True)
class _Flat:
    """A subspace modulo lattice translations: a point (in grid units), and its direction or normal."""

    point: Integers
    dof: int
    axis: Integers
    """Direction of a line, normal of a plane (a row): whole numbers without common divisor; zeros for a point."""


def positions(rotations: Integers, translations: Array, grid: int = GRID) -> tuple[Position, ...]:
    """Wyckoff positions of a group, smallest multiplicity first; the last is the general one.

    Args:
        rotations: `[n_ops, 3, 3]`.
        translations: `[n_ops, 3]`, multiples of 1/`grid`.
        grid: see above.

    Raises:
        InputError: when a translation is no multiple of 1/`grid`.
    """
    shifts = np.rint(translations * grid).astype(np.int64)
    if np.abs(translations * grid - shifts).max() > ROUNDING * grid:
        raise InputError(f"Translations of symmetry operations are no multiples of 1/{grid}: choose another origin.")
    found: dict[Key, _Flat] = {}
    orders: dict[Key, int] = {}
    for stabiliser, points in _by_stabiliser(rotations, shifts, grid):
        dof, axis = _fixed_space(rotations[stabiliser])
        for point in points:
            flat = _Flat(point, dof, axis)
            key = _key(flat, grid)
            if key not in found:
                found[key] = flat
                orders[key] = int(stabiliser.sum())
    inverses = np.rint(np.linalg.inv(rotations.astype(np.float64))).astype(np.int64)
    result = [Position(np.zeros(3), np.eye(3, dtype=np.int64), len(rotations))]
    seen: set[Key] = set()
    for key, flat in found.items():
        if key in seen:
            continue
        seen.update(_key(one, grid) for one in _images(flat, rotations, inverses, shifts))
        directions = _directions(flat)
        result.append(Position(flat.point / grid, directions, len(rotations) // orders[key]))
    return tuple(sorted(result, key=lambda one: (one.multiplicity, one.dof)))


def _by_stabiliser(rotations: Integers, shifts: Integers, grid: int) -> Iterator[tuple[NDArray[np.bool_], Integers]]:
    """Grid points with a site symmetry, grouped by the operations in it, the identity among them."""
    axis = np.arange(grid)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    fixed = np.stack(
        [
            ((points @ (rotation.T - np.eye(3, dtype=np.int64)) + shift) % grid == 0).all(axis=1)
            for rotation, shift in zip(rotations, shifts, strict=True)
        ]
    )
    special = fixed.sum(axis=0) > 1
    points, fixed = points[special], fixed[:, special]
    packed = np.ascontiguousarray(np.packbits(fixed, axis=0).T)
    _, first, inverse = np.unique(packed, axis=0, return_index=True, return_inverse=True)
    for number, index in enumerate(first):
        yield fixed[:, index], points[inverse.ravel() == number]


def _fixed_space(rotations: Integers) -> tuple[int, Integers]:
    """Dimension of the space that a point group leaves fixed, and its direction (1) or normal (2)."""
    total = rotations.sum(axis=0)  # as many times the projector as there are rotations
    dof = round(float(np.trace(total)) / len(rotations))
    if dof == 1:
        columns = total.T
        return dof, _primitive(columns[np.abs(columns).sum(axis=1) > 0][0])
    if dof == 2:
        rows = len(rotations) * np.eye(3, dtype=np.int64) - total
        return dof, _primitive(rows[np.abs(rows).sum(axis=1) > 0][0])
    return dof, np.zeros(3, dtype=np.int64)


def _primitive(vector: Integers) -> Integers:
    """`vector` without common divisor, its first entry that is not zero positive."""
    divided = vector // np.gcd.reduce(vector)
    return np.asarray(divided * np.sign(divided[np.flatnonzero(divided)[0]]))


def _key(flat: _Flat, grid: int) -> Key:
    """Equal for equal subspaces modulo lattice translations.

    y lies in V + Z^3 where A y is whole, the rows of A being a basis of all whole-number vectors orthogonal to V.
    """
    if flat.dof == 2:
        values = flat.axis @ flat.point
    elif flat.dof == 1:
        values = _orthogonal(tuple(flat.axis.tolist())) @ flat.point
    else:
        values = flat.point
    return flat.axis.tobytes() + bytes([flat.dof]), np.asarray(values % grid).tobytes()


@lru_cache(maxsize=4096)
def _orthogonal(vector: tuple[int, int, int]) -> Integers:
    """A basis of the whole-number vectors orthogonal to a primitive `vector`, as rows `[2, 3]`; shortest first.

    Two such vectors are a basis where their cross product is the vector itself, up to its sign.
    """
    target = np.array(vector)
    reach = range(-int(np.abs(target).max()), int(np.abs(target).max()) + 1)
    candidates = [np.array(one) for one in product(reach, repeat=3) if any(one) and not np.dot(one, target)]
    candidates.sort(key=lambda one: (int(one @ one), *one.tolist()))
    for second, one in enumerate(candidates):
        for other in candidates[:second]:
            if (np.abs(np.cross(other, one)) == np.abs(target)).all():
                return np.stack([other, one])
    raise InputError(f"No lattice plane lies orthogonal to {vector}; it must be primitive.")


def _directions(flat: _Flat) -> Integers:
    if flat.dof == 0:
        return np.zeros((3, 0), dtype=np.int64)
    if flat.dof == 1:
        return flat.axis[:, None]
    return _orthogonal(tuple(flat.axis.tolist())).T


def _images(flat: _Flat, rotations: Integers, inverses: Integers, shifts: Integers) -> Iterator[_Flat]:
    for rotation, inverse, shift in zip(rotations, inverses, shifts, strict=True):
        axis = flat.axis
        if flat.dof == 1:
            axis = _primitive(rotation @ flat.axis)
        elif flat.dof == 2:
            axis = _primitive(flat.axis @ inverse)
        yield _Flat(rotation @ flat.point + shift, flat.dof, axis)


@lru_cache(maxsize=1)
def _first_hall_numbers() -> dict[int, int]:
    result: dict[int, int] = {}
    for hall in range(1, 531):
        result.setdefault(int(spglib.get_spacegroup_type(hall).number), hall)
    return result


@lru_cache(maxsize=256)
def group_operations(number: int) -> tuple[Integers, Array]:
    """Operations of a space group in spglib's standard setting (conventional cell, hexagonal axes for R groups).

    Raises:
        InputError: when `number` is not between 1 and 230.
    """
    if not 1 <= number <= 230:
        raise InputError(f"Space groups have numbers from 1 to 230, not {number}.")
    found = spglib.get_symmetry_from_database(_first_hall_numbers()[number])
    translations = np.rint(np.asarray(found["translations"], dtype=np.float64) * GRID) / GRID
    return np.asarray(found["rotations"], dtype=np.int64), translations


@lru_cache(maxsize=256)
def wyckoff_positions(number: int) -> tuple[Position, ...]:
    """Wyckoff positions of a space group in its conventional cell, standard setting; see `positions`.

    Raises:
        InputError: when `number` is not between 1 and 230.
    """
    return positions(*group_operations(number))
