"""Which cells are refused at the start, and which count as exploded."""

from __future__ import annotations

import pytest
import torch

from chggen_kit.relaxers.limits import exploded, overlapping
from chggen_kit.state import CrystalBatch
from chggen_kit.testing.crystals import caesium_chloride, face_centred


def pair(distance: float, cell: float = 4.0) -> CrystalBatch:
    return CrystalBatch(
        torch.tensor([[0.0, 0, 0], [1 - distance / cell, 0, 0]], dtype=torch.float64),
        cell * torch.eye(3, dtype=torch.float64)[None],
        torch.tensor([1, 1]),
        torch.tensor([2]),
    )


def scaled(batch: CrystalBatch, factor: float) -> CrystalBatch:
    return CrystalBatch(batch.frac_coords, batch.lattice * factor, batch.species, batch.num_atoms)


def test_overlap_counts_images_across_the_boundary() -> None:
    batch = CrystalBatch.concatenate([pair(0.49), pair(0.51), caesium_chloride(55, 17, 4.12)])
    assert overlapping(batch).tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([[0.45, 0, 0], [0, 5, 0], [0, 0, 5]], True),  # an atom meets its own image
        ([[0.55, 0, 0], [0, 5, 0], [0, 0, 5]], False),
        ([[5, 0, 0], [5, 0.02, 0], [0, 0, 5]], True),  # flat
        ([[5, 0, 0], [0, 5, 0], [5, 5, 0]], True),  # no volume
        ([[3, 0, 0], [15, 3, 0], [15, 15, 3]], False),  # skewed but sound
    ],
)
def test_cells(rows: list[list[float]], expected: bool) -> None:
    batch = CrystalBatch(
        torch.zeros(1, 3, dtype=torch.float64),
        torch.tensor([rows], dtype=torch.float64),
        torch.tensor([18]),
        torch.tensor([1]),
    )
    assert overlapping(batch).tolist() == [expected]


def test_explosions() -> None:
    start = face_centred(18, 5.0)
    volume = start.volumes
    cases = {0.60: True, 0.65: False, 1.0: False, 1.55: False, 1.60: True}  # linear scales: limits at 4^(1/3) = 1.587
    for factor, expected in cases.items():
        assert exploded(scaled(start, factor), volume).tolist() == [expected]
    sparse = scaled(start, 3.3)  # 1123 Å^3 an atom
    assert exploded(sparse, sparse.volumes).tolist() == [True]


def test_values_that_are_not_finite_count_as_exploded_alone() -> None:
    batch = CrystalBatch.concatenate([face_centred(18, 5.0)] * 3)
    volume = batch.volumes
    batch.frac_coords[0, 0] = torch.nan
    batch.lattice[2, 0, 0] = torch.inf
    assert exploded(batch, volume).tolist() == [True, False, True]
