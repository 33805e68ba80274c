"""Variance-exploding noise on the torus of the cell, isotropic in Cartesian space (paper, eq. 3).

A time *is* a noise level: t = sigma in Å, and the clean level is t = 0. The state is in fractional coordinates, the
noise in Å; the batch's lattice joins them. The prediction is sigma * score `[n_atoms, 3]`, dimensionless.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from chggen_kit.errors import PluginError
from chggen_kit.interfaces.processes import FieldDraws, KernelOptions, NoiseProcess, Scope, Step
from chggen_kit.processes.langevin import jump_times, langevin_step_size, slide_onto
from chggen_kit.torus import to_cartesian, to_fractional, wrap, wrapped_normal_score


class TorusVE(NoiseProcess):
    """Isotropic Gaussian noise of standard deviation t (Å) wrapped onto the cell.

    Args:
        sigma_min: smallest noise level in Å that the model was trained on.
        sigma_max: largest one.

    Raises:
        PluginError: unless 0 < sigma_min < sigma_max.
    """

    kind: ClassVar[str] = "torus-ve-cartesian"
    scope: Scope = "atom"

    def __init__(self, sigma_min: float, sigma_max: float) -> None:
        if not 0 < sigma_min < sigma_max < math.inf:
            raise PluginError(f"TorusVE needs 0 < sigma_min < sigma_max, not {sigma_min} and {sigma_max}.")
        self.sigma_min = sigma_min
        self.sigma_max = sigma_max

    def parameters(self) -> dict[str, Any]:
        return {"sigma_min": self.sigma_min, "sigma_max": self.sigma_max}

    def times(self, num_steps: int) -> tuple[float, ...]:
        """`num_steps` levels in geometric progression from sigma_max down to sigma_min, then 0, the clean level."""
        if num_steps < 2:
            raise PluginError(f"A grid needs at least 2 steps, not {num_steps}.")
        ratio = math.log(self.sigma_min / self.sigma_max)
        return (*(self.sigma_max * math.exp(ratio * i / (num_steps - 1)) for i in range(num_steps)), 0.0)

    @staticmethod
    def _move(x: Tensor, displacement: Tensor, step: Step) -> Tensor:
        """`x` moved by a displacement in Å `[n_atoms, 3]`, folded."""
        fields = step.fields
        return wrap(x + to_fractional(displacement, fields["lattice"], fields.context.crystal_index))

    def prior(self, step: Step, x: Tensor, draws: FieldDraws) -> Tensor:
        """Uniform in the cell."""
        del step
        return wrap(draws.uniform("prior", x))

    def forward_marginal(self, x0: Tensor, step: Step, draws: FieldDraws) -> Tensor:
        """x0 + sigma_s z (paper, eq. 7)."""
        if step.target_is_clean:
            return x0
        return self._move(x0, step.s * draws.normal("marginal", x0), step)

    def renoise(self, x: Tensor, step: Step, draws: FieldDraws, kernel: KernelOptions) -> Tensor:
        """X + sqrt(sigma_target^2 - sigma_level^2) z, so that the variances add up exactly (see `jump_times`)."""
        upper, lower = jump_times(step, kernel)
        variance = upper**2 - lower**2
        return self._move(x, math.sqrt(variance) * draws.normal("renoise", x), step)

    def reverse_step(self, x: Tensor, prediction: Tensor, step: Step, draws: FieldDraws) -> Tensor:
        """Ancestral step (paper, eq. 4); no noise on the way to the clean level."""
        t, s = step.t, step.s
        variance = t * t - s * s
        displacement = (variance / t) * prediction
        if not step.target_is_clean:
            displacement = displacement + math.sqrt(s * s * variance) / t * draws.normal("predictor", x)
        return self._move(x, displacement, step)

    def correct(
        self, x: Tensor, prediction: Tensor, step: Step, moving: Tensor, draws: FieldDraws, kernel: KernelOptions
    ) -> Tensor | None:
        """Langevin step x + eps score + sqrt(2 eps) z on the moving atoms (see `langevin_step_size`)."""
        context = step.context
        score = prediction / step.t
        sigma = torch.full((context.n_crystals,), step.t, dtype=torch.float64, device=x.device)
        eps, usable = langevin_step_size(score, sigma, moving, context, kernel)
        eps_atom = eps[context.crystal_index][:, None]
        displacement = eps_atom * score + torch.sqrt(2 * eps_atom) * draws.normal("corrector", x)
        steps = moving & usable[context.crystal_index]
        return torch.where(steps[:, None], self._move(x, displacement, step), x)

    def marginal_std(self, step: Step) -> float:
        """The target's time itself, in Å."""
        return step.s

    def denoising_target(self, x0: Tensor, x: Tensor, step: Step) -> Tensor | None:
        """Sigma times the score of the wrapped normal around x0, exact at any noise; None at the clean level."""
        if step.level_is_clean:
            return None
        lattice, context = step.fields["lattice"], step.context
        displacement = to_cartesian(x - x0, lattice, context.crystal_index)
        sigma = torch.full((context.n_crystals,), step.t, dtype=x.dtype, device=x.device)
        return step.t * wrapped_normal_score(displacement, lattice, context.crystal_index, sigma)

    def wrap(self, x: Tensor) -> Tensor:
        return wrap(x)

    def align(self, x: Tensor, reference: Tensor, known: Tensor, step: Step) -> Tensor:
        """Slide each crystal onto its known atoms (see `slide_onto`)."""
        return slide_onto(x, reference, known, step.context)
