"""Periodic geometry against a library, against brute force in high precision, and by its properties."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import torch
from ase.neighborlist import primitive_neighbor_list
from hypothesis import given
from hypothesis import strategies as st

from chggen_kit.errors import InputError
from chggen_kit.torus import (
    circular_mean,
    heights,
    neighbours,
    reduced_cell,
    to_cartesian,
    to_fractional,
    wrap,
    wrapped_normal_score,
)


@given(st.floats(-1e6, 1e6, allow_nan=False, width=32))
def test_wrap_stays_below_one(value: float) -> None:
    folded = float(wrap(torch.tensor([value], dtype=torch.float32)))
    assert 0.0 <= folded < 1.0


def test_wrap_of_a_tiny_negative_is_not_one() -> None:
    tiny = torch.tensor([-1e-10], dtype=torch.float32)
    assert float(tiny % 1.0) == 1.0  # the trap
    assert float(wrap(tiny)) == 0.0


def test_fractional_and_cartesian_are_inverse() -> None:
    generator = torch.Generator().manual_seed(0)
    lattice = torch.randn(5, 3, 3, generator=generator, dtype=torch.float64) + 4 * torch.eye(3).double()
    index = torch.arange(5).repeat_interleave(4)
    x = torch.rand(20, 3, generator=generator, dtype=torch.float64)
    assert torch.allclose(to_fractional(to_cartesian(x, lattice, index), lattice, index), x, atol=1e-12)


def _random_cells(count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(7)
    cells = []
    while len(cells) < count:
        size = rng.choice([1.2, 2.0, 3.0, 5.0, 9.0])  # far smaller than the cutoff, and larger
        lattice = size * (np.eye(3) + rng.uniform(-0.9, 0.9, (3, 3)))  # skewed
        if abs(np.linalg.det(lattice)) < 0.1 * size**3:
            continue
        cells.append((lattice, rng.uniform(-0.5, 1.5, (int(rng.integers(1, 6)), 3))))
    return cells


def test_neighbours_equal_a_librarys_on_100_cells_in_one_batch() -> None:
    cells, cutoff = _random_cells(100), 4.0
    counts = [len(frac) for _, frac in cells]
    found = neighbours(
        torch.from_numpy(np.concatenate([frac for _, frac in cells])),
        torch.from_numpy(np.stack([lattice for lattice, _ in cells])),
        torch.tensor(counts),
        cutoff,
    )
    first = np.cumsum([0, *counts])
    ours: dict[int, list[tuple[int, ...]]] = {}
    crystal = np.searchsorted(first, found.target.numpy(), side="right") - 1
    for c, i, j, s in zip(crystal, found.target.tolist(), found.source.tolist(), found.shift.tolist(), strict=True):
        ours.setdefault(int(c), []).append((i - int(first[c]), j - int(first[c]), *s))
    edges = 0
    for c, (lattice, frac) in enumerate(cells):
        i, j, shift = primitive_neighbor_list("ijS", (True, True, True), lattice, frac @ lattice, cutoff)
        library = sorted((int(a), int(b), *map(int, s)) for a, b, s in zip(i, j, shift, strict=True))
        assert sorted(ours.get(c, [])) == library
        edges += len(library)
    assert edges > 10_000


def test_neighbour_vectors_follow_their_definition() -> None:
    lattice, frac = _random_cells(1)[0]
    x, cell = torch.from_numpy(frac), torch.from_numpy(lattice)[None]
    found = neighbours(x, cell, torch.tensor([len(frac)]), 4.0)
    expected = (x[found.source] + found.shift - x[found.target]) @ cell[0]
    assert torch.allclose(found.vector, expected, atol=1e-12)
    assert bool((found.vector.norm(dim=1) < 4.0).all())


def test_fcc_has_all_78_neighbours_within_7_angstrom() -> None:
    """The original's 27 images find 31 % of them (aluminium, primitive cell)."""
    a = 4.05
    cell = torch.tensor([[[0, a / 2, a / 2], [a / 2, 0, a / 2], [a / 2, a / 2, 0]]], dtype=torch.float64)
    found = neighbours(torch.zeros(1, 3, dtype=torch.float64), cell, torch.tensor([1]), 7.0)
    assert len(found.source) == 78
    assert int((found.shift.abs().amax(dim=1) <= 1).sum()) < 30


@pytest.mark.parametrize("cutoff", [0.0, -1.0])
def test_a_cutoff_must_be_positive(cutoff: float) -> None:
    with pytest.raises(InputError, match="cutoff"):
        neighbours(torch.zeros(1, 3), torch.eye(3)[None], torch.tensor([1]), cutoff)


def test_a_flat_cell_is_an_error() -> None:
    with pytest.raises(InputError, match="no volume"):
        heights(torch.tensor([[[1.0, 0, 0], [0, 1, 0], [1, 1, 0]]]))


def test_circular_mean_across_the_boundary() -> None:
    frac = torch.tensor([[0.98, 0.0, 0.25], [0.02, 0.5, 0.25]])
    mean, resultant = circular_mean(frac, torch.ones(2), torch.tensor([0, 0]), 1)
    assert torch.allclose(mean[0, 0], torch.tensor(0.0), atol=1e-6)
    assert torch.allclose(mean[0, 2], torch.tensor(0.25), atol=1e-6)
    assert float(resultant[0, 1]) < 1e-6  # opposite points have no mean direction


def _exact_score(v: np.ndarray, lattice: np.ndarray, sigma: float) -> np.ndarray:
    """The real-space sum with 40 digits."""
    mpmath.mp.dps = 40
    h = 1 / np.linalg.norm(np.linalg.inv(lattice), axis=0)
    reach = [int(np.ceil(11 * sigma / x + 1)) for x in h]
    norm, total = mpmath.mpf(0), [mpmath.mpf(0)] * 3
    for shift in np.ndindex(*(2 * n + 1 for n in reach)):
        moved = [mpmath.mpf(float(x)) for x in v]
        for axis in range(3):
            for k in range(3):
                moved[k] += (shift[axis] - reach[axis]) * mpmath.mpf(float(lattice[axis, k]))
        weight = mpmath.exp(-sum(x * x for x in moved) / (2 * mpmath.mpf(sigma) ** 2))
        norm += weight
        total = [s + weight * x for s, x in zip(total, moved, strict=True)]
    return np.array([float(-s / norm / mpmath.mpf(sigma) ** 2) for s in total])


@pytest.mark.parametrize("sigma", [0.05, 0.4, 0.9, 1.2, 2.0])
@pytest.mark.parametrize(
    "lattice",
    [
        np.diag([3.0, 3.0, 3.0]),
        np.array([[2.5, 0, 0], [1.9, 2.2, 0], [-0.8, 1.1, 4.0]]),
        np.diag([1.0, 1.0, 6.0]),
        np.array([[3.0, 0, 0], [6.0, 3.0, 0], [-3.0, 6.0, 3.0]]),
    ],
    ids=["cubic", "skewed", "tiny", "cubic in a skewed setting"],
)
def test_wrapped_normal_score_is_exact(lattice: np.ndarray, sigma: float) -> None:
    v = np.array([0.31, -0.2, 0.44]) @ lattice
    ours = wrapped_normal_score(
        torch.from_numpy(v)[None], torch.from_numpy(lattice)[None], torch.tensor([0]), torch.tensor([sigma])
    )
    exact = _exact_score(v, lattice, float(torch.tensor(sigma)))
    assert np.linalg.norm(ours[0].numpy() - exact) <= 1e-6 * np.linalg.norm(exact)


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.0, 4.0, 5.0])
def test_wrapped_normal_score_depends_on_the_lattice_alone(sigma: float) -> None:
    """Also where it is tiny: (30, 3, 0) is as good a vector of the cubic lattice as (0, 3, 0)."""
    cubic = 3.0 * torch.eye(3, dtype=torch.float64)
    skewed = torch.tensor([[3.0, 0, 0], [30.0, 3.0, 0], [-12.0, 27.0, 3.0]], dtype=torch.float64)
    v = torch.tensor([[0.9, -0.6, 1.3], [1.2, 0.1, 0.4]], dtype=torch.float64)
    scores = [
        wrapped_normal_score(v, cell[None], torch.tensor([0, 0]), torch.tensor([sigma])) for cell in (cubic, skewed)
    ]
    assert float((scores[0] - scores[1]).norm() / scores[0].norm()) < 1e-6


def test_reduced_cells_span_the_same_lattice() -> None:
    generator = torch.Generator().manual_seed(0)
    cells = torch.randn(200, 3, 3, generator=generator, dtype=torch.float64) + 0.5 * torch.eye(3).double()
    cells = cells[torch.linalg.det(cells).abs() > 0.05]
    reduced = reduced_cell(cells)
    change = reduced @ torch.linalg.inv(cells)
    assert float((change - change.round()).abs().max()) < 1e-6
    assert float((torch.linalg.det(change).abs() - 1).abs().max()) < 1e-6
    assert bool((reduced.norm(dim=-1) <= cells.norm(dim=-1) + 1e-12).all())


def test_wrapped_normal_score_is_finite_at_any_noise() -> None:
    lattice = torch.tensor([[[3.0, 0, 0], [2.9, 0.5, 0], [0, 0, 8]]])
    v = torch.tensor([[1.4, 0.2, 3.9], [0.0, 0.0, 0.0]])
    for sigma in (1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0):
        score = wrapped_normal_score(v, lattice, torch.tensor([0, 0]), torch.tensor([sigma]))
        assert bool(torch.isfinite(score).all())
    assert float(score.abs().max()) < 1e-12  # uniform
