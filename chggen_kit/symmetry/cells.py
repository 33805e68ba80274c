"""Conventional cells of a crystal system: drawn at random, or found in a given lattice."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import product
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pymatgen.core import Lattice

from chggen_kit.errors import InputError
from chggen_kit.torus import reduced_cell

Integers = NDArray[np.int64]
Array = NDArray[np.float64]
System = Literal["triclinic", "monoclinic", "orthorhombic", "tetragonal", "hexagonal", "cubic"]

_LAST: tuple[tuple[int, System], ...] = (
    (2, "triclinic"),
    (15, "monoclinic"),
    (74, "orthorhombic"),
    (142, "tetragonal"),
    (194, "hexagonal"),
    (230, "cubic"),
)

RATIO = 2.0
"""b/a and c/a of random cells lie between 1/2 and 2 (logarithmically uniform); c/a of hexagonal axes up to 3."""
HEXAGONAL_RATIO = 3.0
BETA_DEG = (90.0, 120.0)
ANGLES_DEG = (70.0, 110.0)

_EXACT = 1e-4
"""Relative accuracy to which a given lattice must have the lengths and angles of a crystal system."""
_REACH = 3
"""Conventional vectors have coefficients up to this in a reduced basis (3 for c of a rhombohedral lattice)."""
_MOST_CELLS = 48
"""Of the many cells of one lattice the shortest are kept: they hold every setting of the low systems."""


def system_of(number: int) -> System:
    """Metric of the conventional cell of space group `number`; trigonal groups have hexagonal axes.

    Raises:
        InputError: when `number` is not between 1 and 230.
    """
    for last, system in _LAST:
        if 1 <= number <= last:
            return system
    raise InputError(f"Space groups have numbers from 1 to 230, not {number}.")


def random_cell(system: System, volume_A3: float, rng: np.random.Generator) -> Array:
    """A right-handed conventional cell of the system with that volume in Å^3, rows in Å `[3, 3]`."""
    b, c = np.exp(rng.uniform(-math.log(RATIO), math.log(RATIO), 2))
    tall = math.exp(rng.uniform(-math.log(RATIO), math.log(HEXAGONAL_RATIO)))
    beta = rng.uniform(*BETA_DEG)
    angles = rng.uniform(*ANGLES_DEG, 3)
    shapes: dict[System, tuple[float, ...]] = {
        "triclinic": (1, b, c, *angles),
        "monoclinic": (1, b, c, 90, beta, 90),
        "orthorhombic": (1, b, c, 90, 90, 90),
        "tetragonal": (1, 1, c, 90, 90, 90),
        "hexagonal": (1, 1, tall, 90, 90, 120),
        "cubic": (1, 1, 1, 90, 90, 90),
    }
    return np.asarray(Lattice.from_parameters(*shapes[system]).scale(volume_A3).matrix)


def conventional_cells(lattice: Array, system: System) -> list[Integers]:
    """Conventional cells of a crystal system that `lattice` has, smallest first; empty when it has none.

    Args:
        lattice: rows in Å `[3, 3]`.
        system: as of `system_of`.

    Returns:
        Matrices M `[3, 3]`; the rows of M @ `lattice` are right-handed conventional vectors. Of all volumes: the
        centring decides which ones fit.
    """
    return list(_conventional_cells(np.ascontiguousarray(lattice, dtype=np.float64).tobytes(), system))


@lru_cache(maxsize=128)
def _conventional_cells(content: bytes, system: System) -> tuple[Integers, ...]:
    lattice = np.frombuffer(content, dtype=np.float64).reshape(3, 3)
    reduced = reduced_cell(torch.from_numpy(lattice.copy())[None])[0].numpy()
    basis = np.rint(reduced @ np.linalg.inv(lattice)).astype(np.int64)
    if system == "triclinic":
        return (basis if np.linalg.det(reduced) > 0 else -basis,)
    coefficients = np.array([v for v in product(range(-_REACH, _REACH + 1), repeat=3) if np.gcd.reduce(v) == 1])
    vectors = coefficients @ reduced
    lengths = np.linalg.norm(vectors, axis=1)
    cosines = vectors @ vectors.T / np.outer(lengths, lengths)
    orthogonal = np.abs(cosines) < _EXACT
    equal = np.abs(lengths[:, None] - lengths[None]) < _EXACT * lengths[:, None]
    # `special` is the axis of its own kind: b of monoclinic cells, c of all others.
    triples = [
        (special, first, second)
        for special in range(len(vectors))
        for first, second in _pairs(special, system, orthogonal, equal, cosines)
    ]
    if not triples:
        return ()
    index = np.array(triples)
    order = index[:, [1, 0, 2]] if system == "monoclinic" else index[:, [1, 2, 0]]
    right = np.linalg.det(vectors[order]) > 0
    order = order[right]
    shortest = np.argsort(np.round(lengths[order].sum(axis=1), 6), kind="stable")
    return tuple(coefficients[triple] @ basis for triple in order[shortest])


def _pairs(
    special: int, system: System, orthogonal: NDArray[np.bool_], equal: NDArray[np.bool_], cosines: Array
) -> Integers:
    """Pairs of vectors orthogonal to `special` that make a cell of the system with it `[n, 2]`."""
    plane = np.flatnonzero(orthogonal[special])
    square = np.ix_(plane, plane)
    if system == "hexagonal":
        fits = (np.abs(cosines[square] + 0.5) < _EXACT) & equal[square]
    elif system == "monoclinic":
        # An obtuse angle between the axes, as the standard settings have it; 90 degrees too.
        fits = (cosines[square] < _EXACT) & (cosines[square] > -0.9)
    else:
        fits = orthogonal[square]
        if system in {"tetragonal", "cubic"}:
            fits = fits & equal[square]
        if system == "cubic":
            fits = fits & equal[special, plane][:, None]
    return plane[np.argwhere(fits)]


def settings(lattice: Array, system: System, primitive_basis: Array) -> list[Integers]:
    """Ways to lay a group's primitive cell over a given lattice.

    Args:
        lattice: rows in Å `[3, 3]`.
        system: of the group.
        primitive_basis: rows, primitive vectors in conventional axes `[3, 3]`.

    Returns:
        Unimodular matrices Q `[3, 3]`: the rows of Q @ `lattice` are the group's primitive vectors, so that
        coordinates (rows) of `lattice` are those of the group's primitive cell @ Q. At most 48, shortest first.
    """
    result = []
    for cell in conventional_cells(lattice, system):
        primitive = primitive_basis @ cell
        whole = np.rint(primitive)
        if np.abs(primitive - whole).max() < 1e-6 and abs(abs(np.linalg.det(whole)) - 1) < 1e-6:
            result.append(whole.astype(np.int64))
            if len(result) == _MOST_CELLS:
                break
    return result
