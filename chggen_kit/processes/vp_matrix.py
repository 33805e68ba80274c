"""Variance-preserving noise with integer times, on any real-valued field: cells as matrices, one-hot species.

Denoising diffusion (Ho et al., arXiv:2006.11239) with the kernels for strided grids (Song et al., arXiv:2010.02502).
The prediction is the noise: the score is -prediction / sqrt(1 - alphas_cumprod_t).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, ClassVar

import torch
from torch import Tensor

from chggen_kit.errors import PluginError
from chggen_kit.interfaces.processes import FieldDraws, KernelOptions, NoiseMetric, NoiseProcess, Scope, Step


class VPMatrix(NoiseProcess):
    """x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) z with abar_t the product of 1 - beta up to time t.

    Args:
        scope: `crystal` for cells, `atom` for species.
        betas: variance that each time adds `[T + 1]`; 0 at time 0 (clean), then in (0, 1).
        alphas_cumprod: abar `[T + 1]` as the network knows it (in float32 it differs from the product in the last
            digits, and 1 - abar near time 0 in the fourth); None for the product.
        largest_entry: a row with a larger entry has blown up (`is_sane`); infinity for no limit.

    Raises:
        PluginError: for values that are no such schedule.
    """

    kind: ClassVar[str] = "vp-matrix"
    metric: NoiseMetric = "plain"

    def __init__(
        self,
        scope: Scope,
        betas: Sequence[float],
        alphas_cumprod: Sequence[float] | None = None,
        largest_entry: float = math.inf,
    ) -> None:
        self.scope = scope
        self.largest_entry = float(largest_entry)
        self.betas = tuple(float(value) for value in betas)
        if len(self.betas) < 2 or self.betas[0] != 0 or not all(0 < value < 1 for value in self.betas[1:]):
            raise PluginError("The betas of a variance-preserving process must be 0, then between 0 and 1.")
        product = accumulate((1 - beta for beta in self.betas), lambda total, alpha: total * alpha)
        self.alphas_cumprod = tuple(product if alphas_cumprod is None else (float(value) for value in alphas_cumprod))
        falling = all(low > high > 0 for low, high in zip(self.alphas_cumprod, self.alphas_cumprod[1:], strict=False))
        if len(self.alphas_cumprod) != len(self.betas) or self.alphas_cumprod[0] != 1 or not falling:
            raise PluginError(
                f"A variance-preserving process of {len(self.betas)} times needs as many alphas_cumprod, "
                "from 1 down to a positive number."
            )
        self._log_alphas = tuple(accumulate(math.log1p(-beta) for beta in self.betas))

    def parameters(self) -> dict[str, Any]:
        return {
            "scope": self.scope,
            "betas": list(self.betas),
            "alphas_cumprod": list(self.alphas_cumprod),
            # JSON has no infinity.
            **({} if math.isinf(self.largest_entry) else {"largest_entry": self.largest_entry}),
        }

    def prior(self, step: Step, x: Tensor, draws: FieldDraws) -> Tensor:
        """Standard normal."""
        del step
        return draws.normal("prior", x)

    def forward_marginal(self, x0: Tensor, step: Step, draws: FieldDraws) -> Tensor:
        """sqrt(abar_s) x0 + sqrt(1 - abar_s) z."""
        if step.target_is_clean:
            return x0
        return self._mix(x0, self.alphas_cumprod[round(step.s)], draws.normal("marginal", x0))

    def renoise(self, x: Tensor, step: Step, draws: FieldDraws, kernel: KernelOptions) -> Tensor:
        """sqrt(r) x + sqrt(1 - r) z with r = abar_target / abar_level; there is no other published kernel."""
        del kernel
        ratio = self.alphas_cumprod[round(step.s)] / self.alphas_cumprod[round(step.t)]
        return self._mix(x, ratio, draws.normal("renoise", x))

    def reverse_step(self, x: Tensor, prediction: Tensor, step: Step, draws: FieldDraws) -> Tensor:
        """The mean of x_s given x_t and x_0, x_0 from the prediction, plus noise of the posterior's spread.

        (x - (1 - alpha) / sqrt(1 - abar_t) prediction) / sqrt(alpha) + sqrt((1 - alpha) (1 - abar_s) / (1 - abar_t)) z
        with alpha the product of 1 - beta over (s, t] (arXiv:2006.11239, algorithm 2, its second choice of sigma_t).
        """
        t, s = round(step.t), round(step.s)
        log_alpha = self._log_alphas[t] - self._log_alphas[s]
        added = -math.expm1(log_alpha)
        noise_t, noise_s = 1 - self.alphas_cumprod[t], 1 - self.alphas_cumprod[s]
        moved = (x - (added / math.sqrt(noise_t)) * prediction) * math.exp(-log_alpha / 2)
        if step.target_is_clean:
            return moved
        return moved + math.sqrt(added * noise_s / noise_t) * draws.normal("predictor", x)

    def correct(
        self, x: Tensor, prediction: Tensor, step: Step, moving: Tensor, draws: FieldDraws, kernel: KernelOptions
    ) -> Tensor | None:
        """No corrector: the models of this kind have none here."""
        del x, prediction, step, moving, draws, kernel
        return None

    def wrap(self, x: Tensor) -> Tensor:
        return x

    def is_sane(self, x: Tensor) -> Tensor:
        """No entry beyond `largest_entry`."""
        return x.abs().flatten(1).amax(dim=1) <= self.largest_entry

    def marginal_std(self, step: Step) -> float:
        """sqrt(1 - abar) of the target."""
        return math.sqrt(1 - self.alphas_cumprod[round(step.s)])

    def denoising_target(self, x0: Tensor, x: Tensor, step: Step) -> Tensor | None:
        """The noise that made `x` of x0; None at the clean level."""
        if step.level_is_clean:
            return None
        abar = self.alphas_cumprod[round(step.t)]
        return (x - math.sqrt(abar) * x0) / math.sqrt(1 - abar)

    @staticmethod
    def _mix(x: Tensor, share: float, noise: Tensor) -> Tensor:
        return torch.add(math.sqrt(share) * x, noise, alpha=math.sqrt(1 - share))
