"""Which space groups can hold a composition, and how its atoms can be spread over their Wyckoff positions.

Everything is stated for primitive cells: counts of atoms are those of a primitive cell, and so are multiplicities.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray

from chggen_kit.errors import InputError
from chggen_kit.symmetry.positions import Position, group_operations, wyckoff_positions

Integers = NDArray[np.int64]
Array = NDArray[np.float64]

Assignment = tuple[tuple[str, int], ...]
"""An occupied orbit each: element, and number of the Wyckoff position."""


@dataclass(frozen=True)
class PrimitiveGroup:
    """A space group in the basis of a primitive cell.

    Attributes:
        number: 1 to 230.
        rotations, translations: its operations, no two with the same rotation `[n_ops, 3, 3]`, `[n_ops, 3]`.
        positions: Wyckoff positions, smallest multiplicity first.
        basis: rows, primitive vectors in conventional axes `[3, 3]`.
    """

    number: int
    rotations: Integers
    translations: Array
    positions: tuple[Position, ...]
    basis: Array

    @property
    def centring(self) -> int:
        """Lattice points of the conventional cell."""
        return round(1 / abs(float(np.linalg.det(self.basis))))


@lru_cache(maxsize=256)
def primitive_group(number: int) -> PrimitiveGroup:
    """Space group `number` in a primitive cell; its conventional cell is spglib's standard setting.

    Raises:
        InputError: when `number` is not between 1 and 230.
    """
    rotations, translations = group_operations(number)
    basis = _primitive_basis(translations[(rotations == np.eye(3, dtype=np.int64)).all(axis=(1, 2))])
    # Rows of coordinates: x_conventional = x_primitive @ basis; columns x_primitive = change @ x_conventional.
    change = np.rint(np.linalg.inv(basis.T)).astype(np.int64)
    turned = np.rint(change @ rotations @ basis.T).astype(np.int64)
    _, first = np.unique(turned.reshape(len(turned), 9), axis=0, return_index=True)
    shifts = translations[first] @ change.T
    centring = len(rotations) // len(first)
    positions = tuple(
        Position(one.origin @ change.T, change @ one.directions, one.multiplicity // centring)
        for one in wyckoff_positions(number)
    )
    return PrimitiveGroup(number, turned[first], shifts - np.floor(shifts + 1e-9), positions, basis)


def _primitive_basis(centrings: Array) -> Array:
    """Shortest right-handed basis of the lattice of the conventional cell with these centring translations."""
    images = np.array(list(product((-1, 0, 1), repeat=3)), dtype=np.float64)
    vectors = np.unique(np.round((centrings[:, None] + images[None]).reshape(-1, 3), 9), axis=0)
    vectors = vectors[np.abs(vectors).max(axis=1) <= 1]
    norms = np.square(vectors).sum(axis=1)
    vectors = vectors[np.argsort(norms, kind="stable")][1:]
    for triple in combinations(range(len(vectors)), 3):
        basis = vectors[list(triple)]
        volume = np.linalg.det(basis)
        if abs(abs(volume) - 1 / len(centrings)) < 1e-6:
            return np.asarray(basis if volume > 0 else basis[[1, 0, 2]])
    raise InputError("The centring translations of a space group span no lattice.")


def assignments(
    counts: Mapping[str, int], positions: Sequence[Position], rng: np.random.Generator | None = None
) -> Iterator[Assignment]:
    """All ways to spread atoms over Wyckoff positions, each once.

    A position without free coordinates holds one orbit, whatever the element; others hold any number.

    Args:
        counts: atoms of each element in the cell.
        positions: of the group, with multiplicities in the same cell.
        rng: shuffles the order, so that the first one is a random one (not a uniform one: choices are made one after
            another, each among those that can still add up); None for a fixed order.

    Raises:
        InputError: when a count is not positive.
    """
    if not counts or min(counts.values()) < 1:
        raise InputError(f"Counts of atoms must be at least 1, not {dict(counts)}.")
    yield from _spread(list(counts.items()), positions, frozenset(), rng)


def _spread(
    counts: Sequence[tuple[str, int]],
    positions: Sequence[Position],
    taken: frozenset[int],
    rng: np.random.Generator | None,
) -> Iterator[Assignment]:
    if not counts:
        yield ()
        return
    (symbol, count), *others = counts
    order = [index for index in range(len(positions)) if index not in taken]
    if rng is not None:
        order = [order[index] for index in rng.permutation(len(order))]
    for chosen in _fill(count, order, positions, _reachable(count, order, positions), rng):
        now = taken | {index for index in chosen if positions[index].dof == 0}
        for rest in _spread(others, positions, now, rng):
            yield (*((symbol, index) for index in sorted(chosen)), *rest)


def _most(position: Position, count: int) -> int:
    """Orbits of a position that `count` atoms can fill."""
    fitting = count // position.multiplicity
    return min(fitting, 1) if position.dof == 0 else fitting


def _reachable(count: int, order: Sequence[int], positions: Sequence[Position]) -> list[NDArray[np.bool_]]:
    """For each step along `order`, the numbers of atoms that the positions from there on can hold exactly."""
    sums = np.zeros(count + 1, dtype=np.bool_)
    sums[0] = True
    result = [sums]
    for index in reversed(order):
        position, more = positions[index], sums.copy()
        for times in range(1, _most(position, count) + 1):
            shift = times * position.multiplicity
            more[shift:] |= sums[: count + 1 - shift]
        sums = more
        result.append(sums)
    return result[::-1]


def _fill(
    count: int,
    order: Sequence[int],
    positions: Sequence[Position],
    reachable: Sequence[NDArray[np.bool_]],
    rng: np.random.Generator | None,
) -> Iterator[tuple[int, ...]]:
    """Ways to add up to `count` with the positions of `order`."""
    if not reachable[0][count]:
        return
    if not order:
        yield ()
        return
    position = positions[order[0]]
    times = list(range(_most(position, count) + 1))
    if rng is not None:
        times = [times[index] for index in rng.permutation(len(times))]
    for many in times:
        for rest in _fill(count - many * position.multiplicity, order[1:], positions, reachable[1:], rng):
            yield (*([order[0]] * many), *rest)


@lru_cache(maxsize=4096)
def can_host(counts: tuple[int, ...], number: int) -> bool:
    """Whether a primitive cell of space group `number` can hold these numbers of atoms of different elements."""
    named = {str(index): count for index, count in enumerate(sorted(counts, reverse=True))}
    return next(assignments(named, primitive_group(number).positions), None) is not None
