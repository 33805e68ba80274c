"""Helpers for sampler tests: batches of equal crystals in a cubic cell."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from chggen_kit.interfaces import SamplingTask
from chggen_kit.state import CrystalBatch, Known

EDGE = 6.0

TaskMaker = Callable[..., SamplingTask]


@pytest.fixture
def make_task() -> TaskMaker:
    """`make_task(n, coords, given)`: n copies of a crystal of Li, O, ... at `coords`, of which `given` are known."""

    def make(n: int, coords: list[list[float]], given: list[bool]) -> SamplingTask:
        atoms = len(coords)
        batch = CrystalBatch(
            torch.tensor(coords, dtype=torch.float64).repeat(n, 1),
            EDGE * torch.eye(3, dtype=torch.float64).repeat(n, 1, 1),
            torch.tensor([3, 8, 16, 17][:atoms]).repeat(n),
            torch.full((n,), atoms),
        )
        return SamplingTask(batch, Known.coordinates_only(batch, torch.tensor(given).repeat(n)))

    return make
