"""Crystals that score models are checked on."""

from __future__ import annotations

import torch

from chggen_kit.state import CrystalBatch
from chggen_kit.testing.crystals import caesium_chloride, disturbed


def pairs() -> CrystalBatch:
    return CrystalBatch.concatenate(
        [
            disturbed(caesium_chloride(55, 17, a), rattle_A=0.3, strain=0.05, seed=seed)
            for seed, a in enumerate((4.1, 4.5, 3.8))
        ]
    )


def symmetric_pairs() -> CrystalBatch:
    """Pairs in a hexagonal cell, with a mirror that swaps its axes (whose plane is no axis), and in a cubic one."""
    a, c = 4.0, 5.1
    cell = torch.tensor([[a, 0, 0], [-a / 2, a * 3**0.5 / 2, 0], [0, 0, c]], dtype=torch.float64)
    hexagonal = CrystalBatch(
        torch.tensor([[0.0, 0, 0], [0.2, 0.2, 0.3]], dtype=torch.float64),
        cell[None],
        torch.tensor([30, 16]),
        torch.tensor([2]),
    )
    return CrystalBatch.concatenate([hexagonal, caesium_chloride(55, 17, 4.1)])


def from_the_model(count: int = 100) -> CrystalBatch:
    """Crystals drawn from the law of `Correct`, without noise."""
    generator = torch.Generator().manual_seed(1)
    first = torch.rand(count, 3, generator=generator, dtype=torch.float64)
    apart = 0.3 * torch.randn(count, 3, generator=generator, dtype=torch.float64) / 6.0
    frac = torch.stack([first, first + torch.tensor([0.5, 0.45, 0.55]) + apart], dim=1).reshape(-1, 3)
    cells = 6.0 * torch.eye(3, dtype=torch.float64).repeat(count, 1, 1)
    species = torch.tensor([17, 55]).repeat(count)
    return CrystalBatch(frac.remainder(1.0), cells, species, torch.full((count,), 2))
