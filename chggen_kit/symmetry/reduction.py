"""Reduced cells, and the rotations that a cell has, or nearly has."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from chggen_kit.errors import InputError

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

_ROUNDS = 200
"""Far more than any cell needs, since each round shortens a vector; a bound for numbers that go astray."""
_GAIN = 1e-10
"""A vector is replaced only where it gets shorter by more than this fraction: ties would go round in circles."""
_ROUNDING = 1e-9
_POWER = 12
"""The orders 1, 2, 3, 4 and 6 divide it: powers 0 to 11 run through each cyclic group a whole number of times."""


def minkowski_reduce(lattice: Array) -> tuple[Array, Integers]:
    """Shortest basis of a lattice, and the integers T of `reduced = T @ lattice`, with determinant 1 or -1.

    The greedy algorithm of Semaev (CaLC 2001, LNCS 2146, 181): sort the vectors by length, take from the longest the
    point of the plane lattice of the other two that comes nearest to it, until nothing gets shorter.

    Args:
        lattice: rows in Å `[3, 3]`.

    Raises:
        InputError: when the cell is flat or not finite.
    """
    longest = float(np.linalg.norm(lattice, axis=1).max())
    if not np.isfinite(lattice).all() or abs(np.linalg.det(lattice)) <= 1e-9 * longest**3:
        raise InputError("A cell is flat or not finite: its three vectors span no volume.")
    cell = np.array(lattice, dtype=np.float64)
    transform: Integers = np.eye(3, dtype=np.int64)
    for _ in range(_ROUNDS):
        order = np.argsort(np.linalg.norm(cell, axis=1), kind="stable")
        transform = _gauss(transform[order], lattice)
        cell = transform @ lattice
        plane, third = cell[:2], cell[2]
        nearest = np.round(np.linalg.lstsq(plane.T, third, rcond=None)[0]).astype(np.int64)
        trials = nearest + _NEIGHBOURS
        squares = np.square(third - trials @ plane).sum(axis=1)
        best = int(squares.argmin())
        if squares[best] >= float(third @ third) * (1 - _GAIN):
            return cell, transform
        transform[2] -= trials[best] @ transform[:2]
        cell = transform @ lattice
    return cell, transform


_NEIGHBOURS: Integers = np.array(list(product((0, -1, 1), repeat=2)))


def _gauss(transform: Integers, lattice: Array) -> Integers:
    """`transform` with its first two rows made a shortest basis of their plane (Gauss), shorter one first."""
    transform = transform.copy()
    for _ in range(_ROUNDS):
        first, second = transform[:2] @ lattice
        times = round(float(first @ second) / float(first @ first))
        shorter = second - times * first
        if shorter @ shorter < (second @ second) * (1 - _GAIN):
            transform[1] -= times * transform[0]
            second = shorter
        if second @ second >= (first @ first) * (1 - _GAIN):
            break
        transform[[0, 1]] = transform[[1, 0]]
    return transform


def strains(lattice: Array, metrics: Array) -> Array:
    """Principal logarithmic strains from `lattice` (rows) to cells with `metrics` `[n, 3, 3]` of any volume `[n, 3]`.

    The volume of `lattice` is kept, so that the three add up to zero.
    """
    inverse = np.linalg.inv(lattice)
    values = np.log(np.linalg.eigvalsh(inverse @ metrics @ inverse.T)) / 2
    return np.asarray(values - values.mean(axis=-1, keepdims=True))


def lattice_rotations(lattice: Array, max_strain: float) -> Integers:
    """All rotations W (columns x -> W x) that a cell can be given by a strain of at most `max_strain` `[n, 3, 3]`.

    W has determinant 1 or -1 and order 1, 2, 3, 4 or 6; the identity and the inversion are always there. In reduced
    cells of usual shape its entries are -1, 0 and 1; long thin cells need more once they may be strained, so nothing
    is assumed of them. If the strain to the symmetric cell is s, then exp(-4 s) G <= W^T G W <= exp(4 s) G, which
    bounds the lengths of the images of the three basis vectors and the scalar products between them.

    Args:
        lattice: Minkowski-reduced rows in Å `[3, 3]`.
        max_strain: largest logarithmic principal strain to the cell whose metric is the mean over the powers of W.
    """
    metric = lattice @ lattice.T
    lengths, slack = np.sqrt(np.diag(metric)), np.exp(4 * max_strain) - 1 + _ROUNDING
    columns = [_vectors_of_length(lattice, float(length), 2 * max_strain + _ROUNDING) for length in lengths]

    def compatible(i: int, j: int) -> NDArray[np.bool_]:
        products = columns[i] @ metric @ columns[j].T
        return np.asarray(np.abs(products - metric[i, j]) <= slack * lengths[i] * lengths[j])

    first, second = np.nonzero(compatible(0, 1))
    fits = compatible(0, 2)[first] & compatible(1, 2)[second]
    pair, third = np.nonzero(fits)
    matrices = np.stack([columns[0][first[pair]], columns[1][second[pair]], columns[2][third]], axis=-1)
    determinants = np.einsum("ni,ni->n", np.cross(matrices[:, :, 0], matrices[:, :, 1]), matrices[:, :, 2])
    matrices = matrices[np.abs(determinants) == 1]
    total, power = np.zeros(matrices.shape), np.broadcast_to(np.eye(3, dtype=np.int64), matrices.shape)
    for _ in range(_POWER):
        total += power.transpose(0, 2, 1) @ metric @ power
        power = power @ matrices
    finite = (power == np.eye(3, dtype=np.int64)).all(axis=(1, 2))
    matrices, total = matrices[finite], total[finite]
    return np.asarray(matrices[np.abs(strains(lattice, total)).max(axis=1) <= max_strain + _ROUNDING])


def _vectors_of_length(lattice: Array, length: float, tolerance: float) -> Integers:
    """Coefficients of all lattice vectors whose length is `length` Å within a factor of exp(`tolerance`) `[n, 3]`."""
    longest = length * float(np.exp(tolerance))
    bounds = np.floor(longest * np.linalg.norm(np.linalg.inv(lattice), axis=0)).astype(np.int64)
    axes = [np.arange(-bound, bound + 1) for bound in bounds]
    vectors = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    sizes = np.linalg.norm(vectors @ lattice, axis=1)
    return np.asarray(vectors[(sizes <= longest) & (sizes >= length * np.exp(-tolerance))])
