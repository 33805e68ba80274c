"""Groups among candidate operations, from their product table."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]

_LARGEST = 192 * 4
"""A group larger than this is not looked at: the 192 operations of a face-centred cell, four times over."""


def close(table: Integers, members: Mask) -> Mask | None:
    """Smallest group that holds the operations `members` `[n]`; None when a product is not among the candidates.

    Args:
        table: number of each product, -1 where it is not a candidate `[n, n]`; operation 0 is the identity.
        members: the generators `[n]`.
    """
    members = members.copy()
    members[0] = True
    while True:
        inside = np.flatnonzero(members)
        if len(inside) > _LARGEST:
            return None
        products = table[np.ix_(inside, inside)]
        if (products < 0).any():
            return None
        members[products.ravel()] = True
        if members.sum() == len(inside):
            return members


def find_groups(table: Integers, max_groups: int) -> list[Integers]:
    """Groups among operations that are sorted by misfit, as the numbers of their operations, the trivial one first.

    From the cyclic group of each operation a chain of groups climbs, at each step by the operation of least misfit
    that can be joined. What the chains have in common is climbed once. All cyclic groups and one maximal group above
    each are thereby found, with what lies on the way.

    Args:
        table: see `close`; operations in the order of their misfits.
        max_groups: the search ends with so many.
    """
    n_ops = len(table)
    known: dict[bytes, Mask] = {}
    trivial = np.zeros(n_ops, dtype=bool)
    trivial[0] = True
    known[trivial.tobytes()] = trivial
    for seed in range(n_ops):
        group: Mask | None = close(table, _with(trivial, seed))
        while group is not None and len(known) < max_groups and known.setdefault(group.tobytes(), group) is group:
            group = _climb(table, group)
    return [np.flatnonzero(group) for group in known.values()]


def _with(group: Mask, operation: int) -> Mask:
    joined = group.copy()
    joined[operation] = True
    return joined


def _climb(table: Integers, group: Mask) -> Mask | None:
    """The group with the operation of least misfit that can be joined to it, or None at the top."""
    inside = np.flatnonzero(group)
    fits = (table[inside] >= 0).all(axis=0) & (table[:, inside] >= 0).all(axis=1) & ~group
    for operation in np.flatnonzero(fits):
        joined = close(table, _with(group, int(operation)))
        if joined is not None:
            return joined
    return None
