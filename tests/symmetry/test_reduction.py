"""Reduced cells are the shortest, and no rotation that nearly fits a cell is missed."""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chggen_kit.errors import InputError
from chggen_kit.symmetry.reduction import lattice_rotations, minkowski_reduce, strains

FCC = np.array([[0.0, 1, 1], [1, 0, 1], [1, 1, 0]])
BCC = np.array([[-1.0, 1, 1], [1, -1, 1], [1, 1, -1]])
HEXAGONAL = np.array([[1, 0, 0], [-0.5, np.sqrt(0.75), 0], [0, 0, 1.6]])
RHOMBOHEDRAL = np.array([[2, 1, 1], [-1, 1, 1], [-1, -2, 1]]) / 3 @ HEXAGONAL
CELLS = {"cubic": (np.eye(3), 48), "fcc": (FCC, 48), "bcc": (BCC, 48), "hexagonal": (HEXAGONAL, 24)} | {
    "rhombohedral": (RHOMBOHEDRAL, 12),
    "tetragonal": (np.diag([1, 1, 1.3]), 16),
    "orthorhombic": (np.diag([1, 1.2, 1.5]), 8),
}


@cache
def matrices_of_finite_order(largest: int) -> np.ndarray:
    """Brute force: all integer matrices with entries up to `largest`, determinant 1 or -1, and W^12 = 1."""
    columns = np.array(list(product(range(-largest, largest + 1), repeat=3)))
    crosses = np.cross(columns[:, None], columns[None])
    found = []
    for third in columns:
        first, second = np.nonzero(np.abs(crosses @ third) == 1)
        trial = np.stack([columns[first], columns[second], np.broadcast_to(third, (len(first), 3))], axis=-1)
        trial = trial[np.abs(np.trace(trial, axis1=1, axis2=2)) <= 3]
        found.append(trial[(np.linalg.matrix_power(trial, 12) == np.eye(3)).all(axis=(1, 2))])
    return np.concatenate(found)


def nearly_fitting(lattice: np.ndarray, max_strain: float, largest: int) -> set[bytes]:
    metric = lattice @ lattice.T
    table = matrices_of_finite_order(largest)
    # Only to save time: W^T G W <= exp(4 s) G bounds the trace, here with room to spare.
    traces = np.einsum("ij,nkj,kl,nli->n", np.linalg.inv(metric), table, metric, table, optimize=True)
    table = table[traces <= 3 * np.exp(6 * max_strain)]
    total, power = np.zeros(table.shape), np.broadcast_to(np.eye(3, dtype=np.int64), table.shape)
    for _ in range(12):
        total += power.transpose(0, 2, 1) @ metric @ power
        power = power @ table
    fits = np.abs(strains(lattice, total)).max(axis=1) <= max_strain
    return {rotation.astype(np.int64).tobytes() for rotation in table[fits]}


@pytest.mark.parametrize("name", CELLS)
def test_all_rotations_of_a_strained_and_skewed_cell(name: str) -> None:
    lattice, order = CELLS[name]
    skew = np.array([[1, 2, 3], [0, 1, 4], [0, 0, 1]])
    bend = np.eye(3) + 0.01 * np.random.default_rng(0).normal(size=(3, 3))
    given_cell = skew @ (4 * lattice) @ bend
    reduced, transform = minkowski_reduce(given_cell)
    assert np.allclose(transform @ given_cell, reduced)
    assert abs(round(np.linalg.det(transform))) == 1
    rotations = lattice_rotations(reduced, 0.03)
    assert len(rotations) == order
    assert np.abs(rotations).max() == 1
    assert len(lattice_rotations(minkowski_reduce(4 * lattice)[0], 0.0)) == order


def random_cell(rng: np.random.Generator, spread: float) -> np.ndarray:
    """Reduced cells of all shapes: some strained from symmetric ones, as the hard cases are."""
    base = list(CELLS.values())[rng.integers(len(CELLS))][0] if rng.random() < 0.6 else rng.normal(size=(3, 3))
    stretched = base @ np.diag(np.exp(spread * rng.normal(size=3)))
    cell = stretched @ (np.eye(3) + 0.02 * rng.normal(size=(3, 3)))
    return minkowski_reduce(cell / abs(np.linalg.det(cell)) ** (1 / 3) * 5)[0]


def test_nothing_is_missed() -> None:
    """Against brute force with entries up to 2, at the default strain and above it, also in long thin cells."""
    rng = np.random.default_rng(5)
    needed_more = 0
    for _ in range(80):
        lattice = random_cell(rng, 0.6)
        for max_strain in (0.06, 0.1):
            found = {rotation.tobytes() for rotation in lattice_rotations(lattice, max_strain)}
            assert found >= nearly_fitting(lattice, max_strain, 2)
            needed_more += len(found) > len(nearly_fitting(lattice, max_strain, 1))
    assert needed_more > 0, "the test has no case in which entries of -1, 0 and 1 are too few"


def test_small_entries_suffice_in_cells_of_usual_shape() -> None:
    rng = np.random.default_rng(6)
    tried = 0
    while tried < 100:
        lattice = random_cell(rng, 0.25)
        lengths = np.linalg.norm(lattice, axis=1)
        if lengths[2] > 2 * lengths[0]:
            continue
        tried += 1
        found = {rotation.tobytes() for rotation in lattice_rotations(lattice, 0.06)}
        assert found == nearly_fitting(lattice, 0.06, 1)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_reduced_vectors_are_the_shortest(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lattice = rng.normal(size=(3, 3)) * np.exp(rng.normal(size=(3, 1)))
    if abs(np.linalg.det(lattice)) < 0.01:
        return
    skew = np.eye(3, dtype=int)
    for _ in range(4):
        i, j = rng.permutation(3)[:2]
        skew[i] += rng.integers(-3, 4) * skew[j]
    reduced, _ = minkowski_reduce(skew @ lattice)
    assert abs(np.linalg.det(reduced)) == pytest.approx(abs(np.linalg.det(lattice)), rel=1e-6)
    for coefficients in product(range(-2, 3), repeat=3):
        length = float(np.linalg.norm(np.array(coefficients) @ reduced))
        for k in range(3):
            # Minkowski's conditions: no vector that completes the ones before to a basis is shorter than the k-th.
            if np.gcd.reduce(np.abs(coefficients[k:])) == 1:
                assert length >= np.linalg.norm(reduced[k]) * (1 - 1e-8)


def test_flat_cells_are_refused() -> None:
    with pytest.raises(InputError, match="flat"):
        minkowski_reduce(np.array([[1.0, 0, 0], [0, 1, 0], [1, 1, 0]]))
    with pytest.raises(InputError, match="not finite"):
        minkowski_reduce(np.full((3, 3), np.nan))
