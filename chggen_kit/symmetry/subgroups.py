"""Subgroups of a group of operations."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from chggen_kit.errors import InputError
from chggen_kit.symmetry.operations import SymmetryOperations

Integers = NDArray[np.int64]

_MOST_CYCLIC = 48
"""With more cyclic subgroups than this (centred cells of cubic crystals) their pairs are too many to join."""
_ROUNDING = 0.02
"""Translations that are found within a tolerance add up to their products only so well (fractional units)."""


def multiplication_table(operations: SymmetryOperations) -> Integers:
    """Number of the product g h (first h, then g) of all operations, modulo lattice translations `[n_ops, n_ops]`.

    Raises:
        InputError: when the operations are no group.
    """
    rotations, translations = operations.rotations, operations.translations
    table = np.empty((operations.n_ops, operations.n_ops), dtype=np.int64)
    for g in range(operations.n_ops):
        products = rotations[g] @ rotations
        shifts = translations @ rotations[g].T + translations[g]
        same = (products[:, None] == rotations[None]).all(axis=(2, 3))
        away = shifts[:, None] - translations[None]
        near = np.abs(away - np.round(away)).max(axis=2)
        best = np.where(same, near, np.inf)
        if (best.min(axis=1) > _ROUNDING).any():
            raise InputError("These symmetry operations are no group: the product of two of them is not among them.")
        table[g] = best.argmin(axis=1)
    return table


def subgroups(operations: SymmetryOperations, rng: np.random.Generator) -> Iterator[tuple[int, ...]]:
    """Subgroups as numbers of their operations, the whole group first, then by falling order; random among equals.

    They are those that up to three operations generate: all subgroups of the point groups (mmm needs three). Where
    there are more than 48 cyclic subgroups, those that one operation generates.
    """
    yield tuple(range(operations.n_ops))
    table = multiplication_table(operations)
    cyclic = {_closure(table, {index}) for index in range(operations.n_ops)}
    found = set(cyclic)
    if len(cyclic) <= _MOST_CYCLIC:
        found |= {_closure(table, set(one | other)) for one, other in combinations(cyclic, 2)}
        found |= {_closure(table, set(one | other)) for one in list(found) for other in cyclic if not other <= one}
    ordered = sorted(
        (tuple(sorted(one)) for one in found if len(one) < operations.n_ops), key=lambda one: (len(one), one)
    )
    shuffled = [ordered[index] for index in rng.permutation(len(ordered))]
    yield from sorted(shuffled, key=len, reverse=True)


def _closure(table: Integers, seeds: set[int]) -> frozenset[int]:
    members = np.array(sorted(seeds))
    while True:
        products = np.unique(np.concatenate([members, table[np.ix_(members, members)].ravel()]))
        if len(products) == len(members):
            return frozenset(int(one) for one in products)
        members = products
