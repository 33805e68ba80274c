"""Variance-exploding noise on the torus, isotropic in *fractional* coordinates (arXiv:2309.04475, section 4.1).

`FractionalTorusVE` is the common part of models of this kind. A subclass says what noise level a time means, for each
crystal, and how the network's output becomes a score; `FractionalTorusTable` does it for integer times with a table.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from chggen_kit.errors import PluginError
from chggen_kit.interfaces.processes import FieldDraws, KernelOptions, NoiseMetric, NoiseProcess, Scope, Step
from chggen_kit.processes.langevin import jump_times, langevin_step_size, slide_onto
from chggen_kit.state import BatchContext
from chggen_kit.torus import wrap, wrapped_normal_score


class FractionalTorusVE(NoiseProcess):
    """Gaussian noise of standard deviation sigma(t), in fractional units and alike on the three axes, wrapped."""

    scope: Scope = "atom"
    metric: NoiseMetric = "fractional"

    @abstractmethod
    def sigma(self, time: float, context: BatchContext) -> Tensor:
        """Noise level of each crystal at `time`, in fractional units `[n_crystals]`, float64; 0 at the clean level."""

    @abstractmethod
    def score(self, prediction: Tensor, step: Step) -> Tensor:
        """Gradient of the log density in fractional coordinates `[n_atoms, 3]` from the output at `step.level`."""

    @abstractmethod
    def prediction(self, score: Tensor, step: Step) -> Tensor:
        """Inverse of `score`: the output of a network whose score is `score`."""

    def corrector_is_noisy(self, step: Step) -> bool:
        """Whether the corrector at `step.level` adds noise; the default always does."""
        del step
        return True

    def _sigma_of_atoms(self, time: float, step: Step, x: Tensor) -> Tensor:
        """Noise level of each atom `[n_atoms, 1]`, float64."""
        context = step.context
        return self.sigma(time, context).to(device=x.device, dtype=torch.float64)[context.crystal_index][:, None]

    def prior(self, step: Step, x: Tensor, draws: FieldDraws) -> Tensor:
        """Uniform in the cell."""
        del step
        return wrap(draws.uniform("prior", x))

    def forward_marginal(self, x0: Tensor, step: Step, draws: FieldDraws) -> Tensor:
        """x0 + sigma_s z."""
        if step.target_is_clean:
            return x0
        return wrap(x0 + self._sigma_of_atoms(step.s, step, x0).to(x0.dtype) * draws.normal("marginal", x0))

    def renoise(self, x: Tensor, step: Step, draws: FieldDraws, kernel: KernelOptions) -> Tensor:
        """X + sqrt(sigma_target^2 - sigma_level^2) z, so that the variances add up exactly (see `jump_times`)."""
        upper, lower = (self._sigma_of_atoms(time, step, x) for time in jump_times(step, kernel))
        spread = torch.sqrt((upper**2 - lower**2).clamp(min=0))
        return wrap(x + spread.to(x.dtype) * draws.normal("renoise", x))

    def reverse_step(self, x: Tensor, prediction: Tensor, step: Step, draws: FieldDraws) -> Tensor:
        """Ancestral step x + v score + sqrt(sigma_s^2 v / sigma_t^2) z with v = sigma_t^2 - sigma_s^2."""
        upper, lower = self._sigma_of_atoms(step.t, step, x), self._sigma_of_atoms(step.s, step, x)
        variance = upper**2 - lower**2
        moved = x + variance.to(x.dtype) * self.score(prediction, step)
        if not step.target_is_clean:
            spread = torch.sqrt(lower**2 * variance) / upper
            moved = moved + spread.to(x.dtype) * draws.normal("predictor", x)
        return wrap(moved)

    def correct(
        self, x: Tensor, prediction: Tensor, step: Step, moving: Tensor, draws: FieldDraws, kernel: KernelOptions
    ) -> Tensor | None:
        """Langevin step x + eps score + sqrt(2 eps) z on the moving atoms (see `langevin_step_size`)."""
        context = step.context
        score = self.score(prediction, step)
        sigma = self.sigma(step.t, context).to(device=x.device, dtype=torch.float64)
        eps, usable = langevin_step_size(score, sigma, moving, context, kernel)
        eps_atom = eps[context.crystal_index][:, None]
        displacement = eps_atom * score
        if self.corrector_is_noisy(step):
            displacement = displacement + torch.sqrt(2 * eps_atom) * draws.normal("corrector", x)
        steps = moving & usable[context.crystal_index]
        return torch.where(steps[:, None], wrap(x + displacement), x)

    def denoising_target(self, x0: Tensor, x: Tensor, step: Step) -> Tensor | None:
        """Output for the score of the wrapped normal around x0, exact at any noise; None at the clean level."""
        if step.level_is_clean:
            return None
        context = step.context
        # In fractional units the cell is the unit cube.
        cube = torch.eye(3, dtype=torch.float64, device=x.device).repeat(context.n_crystals, 1, 1)
        sigma = self.sigma(step.t, context).to(x.device)
        return self.prediction(wrapped_normal_score(x - x0, cube, context.crystal_index, sigma), step)

    def wrap(self, x: Tensor) -> Tensor:
        return wrap(x)

    def align(self, x: Tensor, reference: Tensor, known: Tensor, step: Step) -> Tensor:
        """Slide each crystal onto its known atoms (see `slide_onto`)."""
        return slide_onto(x, reference, known, step.context)


class FractionalTorusTable(FractionalTorusVE):
    """Integer times 0 (clean) to T; the prediction is minus the score over its root mean square at that time.

    The corrector adds no noise at the last level before the clean one, as in the published sampler.

    Args:
        sigmas: noise level of each time `[T + 1]`, fractional; 0, then rising.
        mean_square_scores: mean square of a component of the score at each time `[T + 1]`, positive.

    Raises:
        PluginError: unless both have the same length and such values.
    """

    kind: ClassVar[str] = "torus-ve-fractional-table"

    def __init__(self, sigmas: Sequence[float], mean_square_scores: Sequence[float]) -> None:
        self.sigmas = tuple(float(value) for value in sigmas)
        self.mean_square_scores = tuple(float(value) for value in mean_square_scores)
        rising = all(low < high < math.inf for low, high in zip(self.sigmas, self.sigmas[1:], strict=False))
        if len(self.sigmas) < 2 or self.sigmas[0] != 0 or not rising:
            raise PluginError("The noise levels of a fractional torus must be 0, then rise, and be finite.")
        if len(self.mean_square_scores) != len(self.sigmas) or not all(
            0 < value < math.inf for value in self.mean_square_scores
        ):
            raise PluginError(
                f"A fractional torus of {len(self.sigmas)} noise levels needs as many positive mean square scores."
            )

    def parameters(self) -> dict[str, Any]:
        return {"sigmas": list(self.sigmas), "mean_square_scores": list(self.mean_square_scores)}

    def sigma(self, time: float, context: BatchContext) -> Tensor:
        """The table's entry, for every crystal."""
        value = self.sigmas[round(time)]
        return torch.full((context.n_crystals,), value, dtype=torch.float64, device=context.num_atoms.device)

    def score(self, prediction: Tensor, step: Step) -> Tensor:
        """Minus the prediction times the root mean square of the score."""
        return -math.sqrt(self.mean_square_scores[round(step.t)]) * prediction

    def prediction(self, score: Tensor, step: Step) -> Tensor:
        """Minus the score over its root mean square."""
        return -score / math.sqrt(self.mean_square_scores[round(step.t)])

    def corrector_is_noisy(self, step: Step) -> bool:
        """Not at the last level before the clean one."""
        return step.level < len(step.times) - 2

    def marginal_std(self, step: Step) -> float:
        """The table's entry of the target, in fractional units."""
        return self.sigmas[round(step.s)]
