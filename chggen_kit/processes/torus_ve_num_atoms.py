"""Fractional torus noise that is scaled by the number of atoms (MatterGen, section A.4).

A time runs from 0 (clean) to 1. Dividing by n^(1/3) makes the noise in Å about the same for cells of all sizes. The
prediction is the score times the standard deviation, in fractional coordinates `[n_atoms, 3]`.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from chggen_kit.errors import PluginError
from chggen_kit.interfaces.processes import FieldDraws, KernelOptions, Step
from chggen_kit.processes.torus_ve_fractional import FractionalTorusVE
from chggen_kit.state import BatchContext
from chggen_kit.torus import wrap

_UPSTREAM_LARGEST_STEP = 1e6


class NumAtomsTorusVE(FractionalTorusVE):
    """sigma(t) = sigma_min (sigma_max / sigma_min)^t n^(-1/3) for n atoms in the cell.

    Args:
        sigma_min: noise level of one atom just above time 0, fractional.
        sigma_max: noise level of one atom at time 1.
        as_published: the corrector as MatterGen 1.0.3 runs it, for comparison: step sizes from norms over all atoms
            that are averaged over the batch, which couples its crystals; without it they are each crystal's own, over
            its generated atoms.

    Raises:
        PluginError: unless 0 < sigma_min < sigma_max.
    """

    kind: ClassVar[str] = "torus-ve-fractional-num-atoms"

    def __init__(self, sigma_min: float, sigma_max: float, as_published: bool = False) -> None:
        if not 0 < sigma_min < sigma_max < math.inf:
            raise PluginError(f"NumAtomsTorusVE needs 0 < sigma_min < sigma_max, not {sigma_min} and {sigma_max}.")
        self.sigma_min, self.sigma_max, self.as_published = sigma_min, sigma_max, as_published

    def parameters(self) -> dict[str, Any]:
        return {"sigma_min": self.sigma_min, "sigma_max": self.sigma_max, "as_published": self.as_published}

    def sigma(self, time: float, context: BatchContext) -> Tensor:
        """Of the class docstring; 0 at time 0."""
        level = self.sigma_min * (self.sigma_max / self.sigma_min) ** time if time > 0 else 0.0
        return level * context.num_atoms.double() ** (-1 / 3)

    def score(self, prediction: Tensor, step: Step) -> Tensor:
        """The prediction over the standard deviation."""
        return prediction / self._sigma_of_atoms(step.t, step, prediction).to(prediction.dtype)

    def prediction(self, score: Tensor, step: Step) -> Tensor:
        """The score times the standard deviation."""
        return score * self._sigma_of_atoms(step.t, step, score).to(score.dtype)

    def prior(self, step: Step, x: Tensor, draws: FieldDraws) -> Tensor:
        """Wrapped normal of the noisiest level around the origin, as published: all but uniform."""
        return wrap(self._sigma_of_atoms(1.0, step, x).to(x.dtype) * draws.normal("prior", x))

    def correct(
        self, x: Tensor, prediction: Tensor, step: Step, moving: Tensor, draws: FieldDraws, kernel: KernelOptions
    ) -> Tensor | None:
        """As the base class has it, or as published eps = 2 (delta mean|z| / mean|score|)^2 for all."""
        if not self.as_published:
            return super().correct(x, prediction, step, moving, draws, kernel)
        score, noise = self.score(prediction, step), draws.normal("corrector", x)
        ratio = kernel.snr * self._mean_norm(noise, step) / self._mean_norm(score, step)
        eps = (2 * ratio**2).clamp(max=_UPSTREAM_LARGEST_STEP)
        moved = wrap(x + eps * score + torch.sqrt(2 * eps) * noise)
        return torch.where(moving[:, None], moved, x)

    @staticmethod
    def _mean_norm(values: Tensor, step: Step) -> Tensor:
        """Norm over the atoms of each crystal, averaged over the crystals."""
        context = step.context
        square = values.new_zeros(context.n_crystals).index_add_(0, context.crystal_index, values.square().sum(dim=1))
        return square.sqrt().mean()
