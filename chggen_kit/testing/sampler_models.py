"""The exact score model that samplers are checked on, and ways to watch it and to break it."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from chggen_kit.interfaces import Capabilities
from chggen_kit.state import CrystalBatch, Fields
from chggen_kit.testing.analytic import WrappedGaussianMixture

SPREAD_A = 0.3
"""Standard deviation of the atoms about their places, in Å."""
PLACES = ((0.25, 0.5, 0.375), (0.75, 0.125, 0.875))
"""Fractional places of lithium (the host) and oxygen (the guest)."""
_CUBIC = ((4.5, 0.0, 0.0), (0.0, 4.5, 0.0), (0.0, 0.0, 4.5))
_MONOCLINIC = ((4.2, 0.0, 0.0), (0.0, 4.8, 0.0), (-1.5, 0.0, 4.6))
_POISON_VOLUME_A3 = 1000.0


class ExactModel(WrappedGaussianMixture):
    """Both atoms wrapped normals about their places, independent of each other: so inpainting is exact as well.

    Attributes:
        calls: number of predictions so far.
    """

    def __init__(self) -> None:
        super().__init__(
            torch.ones(1), torch.tensor([PLACES]), torch.full((1,), SPREAD_A), sigma_min=0.02, sigma_max=3.0
        )
        self.calls = 0

    @property
    def capabilities(self) -> Capabilities:
        """As of every analytic model, with a grid that is quick and fine enough."""
        return replace(super().capabilities, sampling_defaults={"steps": 30, "corrector_steps": 1})

    def predict(self, fields: Fields, t: Tensor) -> Fields:
        """Exact prediction; a crystal of more than 1000 Å^3 gets NaN, as one that a network fails on."""
        self.calls += 1
        right = super().predict(fields, t)
        poisoned = torch.linalg.det(fields["lattice"]).abs() > _POISON_VOLUME_A3
        rows = poisoned[fields.context.crystal_index]
        return right.updated(frac_coords=right["frac_coords"].masked_fill(rows[:, None], torch.nan))


def templates(copies: int, *, poisoned: int | None = None) -> CrystalBatch:
    """LiO in a cubic and a monoclinic cell by turns, `copies` crystals; the one that is `poisoned` has a huge cell."""
    cells = torch.tensor([_CUBIC, _MONOCLINIC], dtype=torch.float64)[torch.arange(copies) % 2].clone()
    if poisoned is not None:
        cells[poisoned] *= 3
    return CrystalBatch(
        torch.tensor(PLACES, dtype=torch.float64).repeat(copies, 1),
        cells,
        torch.tensor([3, 8]).repeat(copies),
        torch.full((copies,), 2),
    )
