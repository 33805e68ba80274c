"""Absorbing noise on classes: an entry keeps its class or becomes the mask (D3PM, arXiv:2107.03006, appendix A.2.2).

A time is the share of masked entries: t = 1 is all mask, t = 0 is clean. With N equal steps this is the published
schedule beta_k = 1 / (N - k), whatever N is. The state is one-hot `[n_atoms, n_classes]`, the last class is the mask;
the prediction is logits of the clean class, of the same shape.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from chggen_kit.errors import PluginError
from chggen_kit.interfaces.processes import FieldDraws, KernelOptions, NoiseMetric, NoiseProcess, Scope, Step


class AbsorbingCategorical(NoiseProcess):
    """Entries are masked independently, each with probability t.

    Args:
        n_classes: number of classes, the mask included.

    Raises:
        PluginError: for fewer than two classes.
    """

    kind: ClassVar[str] = "categorical-absorbing"
    scope: Scope = "atom"
    metric: NoiseMetric = "plain"

    def __init__(self, n_classes: int) -> None:
        if n_classes < 2:
            raise PluginError(f"An absorbing process needs a class beside the mask, not {n_classes} in all.")
        self.n_classes = n_classes

    def parameters(self) -> dict[str, Any]:
        return {"n_classes": self.n_classes}

    def _masks(self, like: Tensor) -> Tensor:
        """All entries masked, in the form of `like`."""
        masked = torch.zeros_like(like)
        masked[:, -1] = 1
        return masked

    def _keep(self, x: Tensor, probability: float, purpose: str, draws: FieldDraws) -> Tensor:
        kept = draws.uniform(purpose, x[:, :1].double()) < probability
        return torch.where(kept, x, self._masks(x))

    def prior(self, step: Step, x: Tensor, draws: FieldDraws) -> Tensor:
        """All mask."""
        del step, draws
        return self._masks(x)

    def forward_marginal(self, x0: Tensor, step: Step, draws: FieldDraws) -> Tensor:
        """x0 with probability 1 - s, else the mask."""
        return x0 if step.target_is_clean else self._keep(x0, 1 - step.s, "marginal", draws)

    def renoise(self, x: Tensor, step: Step, draws: FieldDraws, kernel: KernelOptions) -> Tensor:
        """The state with probability (1 - t_target) / (1 - t_level), else the mask; the only published kernel."""
        del kernel
        return self._keep(x, (1 - step.s) / (1 - step.t), "renoise", draws)

    def reverse_step(self, x: Tensor, prediction: Tensor, step: Step, draws: FieldDraws) -> Tensor:
        """Draw from q(x_s | x_t, x_0) averaged over the predicted classes (arXiv:2107.03006, eq. 4).

        A masked entry stays masked or takes a class; one that has a class keeps it. On the way to the clean level the
        most probable class is taken, and never the mask.
        """
        shares = torch.softmax(prediction.double(), dim=-1)[:, :-1]
        kept = 1 - step.s
        reveal = 1 - (1 - step.t) / kept
        weights = kept * reveal * shares
        stay = 1 - kept * shares.sum(dim=-1, keepdim=True)
        if step.target_is_clean:
            chosen = weights.argmax(dim=-1)
        else:
            chosen = draws.categorical("predictor", torch.cat([weights, stay], dim=-1))
        drawn = torch.nn.functional.one_hot(chosen, self.n_classes).to(x.dtype)
        # A prediction that is no number must be seen by whoever watches over the run, not become a class.
        unknown = ~torch.isfinite(shares).all(dim=-1, keepdim=True)
        drawn = torch.where(unknown, torch.full_like(drawn, torch.nan), drawn)
        return torch.where(x[:, -1:] > 0, drawn, x)

    def correct(
        self, x: Tensor, prediction: Tensor, step: Step, moving: Tensor, draws: FieldDraws, kernel: KernelOptions
    ) -> Tensor | None:
        """No corrector."""
        del x, prediction, step, moving, draws, kernel
        return None

    def wrap(self, x: Tensor) -> Tensor:
        return x
