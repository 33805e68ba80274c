"""What the torus processes share: step sizes of the Langevin corrector, jump levels, and the slide onto a host."""

from __future__ import annotations

import torch
from torch import Tensor

from chggen_kit.interfaces.processes import KernelOptions, Step
from chggen_kit.state import BatchContext
from chggen_kit.torus import circular_mean, wrap

MIN_RESULTANT = 0.3
"""Below this mean resultant length a circular mean has no direction worth following (ARCHITECTURE section 6)."""


def langevin_step_size(
    score: Tensor, sigma: Tensor, moving: Tensor, context: BatchContext, kernel: KernelOptions
) -> tuple[Tensor, Tensor]:
    """Step sizes eps of x + eps score + sqrt(2 eps) z for each crystal.

    `fixed`: eps = 2 (delta sigma)^2, whose stationary spread under an exact Gaussian score is
    sigma / sqrt(1 - delta^2), 1.09 sigma at delta = 0.4, for any number of atoms. `langevin-norm`: the paper's
    eps = 2 (delta sqrt(3 n) / |g|)^2 over the n moving atoms of one crystal, capped at sigma^2; a norm that is zero or
    not finite means no step.

    Args:
        score: in one over the unit of sigma `[n_atoms, 3]`.
        sigma: noise level of each crystal `[n_crystals]`, float64.
        moving: bool `[n_atoms]`.
        context: of the batch.
        kernel: which of the two, and delta.

    Returns:
        eps `[n_crystals]` in the dtype of `score`, and whether a crystal takes a step `[n_crystals]`.
    """
    if kernel.corrector == "fixed":
        eps = (2 * (kernel.snr * sigma) ** 2).to(score.dtype)
        return eps, torch.ones_like(eps, dtype=torch.bool)
    weight = moving.to(score.dtype)
    count = score.new_zeros(context.n_crystals).index_add_(0, context.crystal_index, weight)
    square = torch.where(moving, score.square().sum(dim=1), torch.zeros_like(weight))
    square = score.new_zeros(context.n_crystals).index_add_(0, context.crystal_index, square)
    usable = torch.isfinite(square) & (square > 0)
    ratio = kernel.snr**2 * 3 * count / torch.where(usable, square, torch.ones_like(square))
    return torch.minimum(2 * ratio, (sigma**2).to(score.dtype)), usable


def jump_times(step: Step, kernel: KernelOptions) -> tuple[float, float]:
    """Times of the noisier and the less noisy level whose variances a jump back from `step.level` subtracts.

    With `kernel.jump == "paper"` they are those of the paper's listing, one index lower: for the jump from level i-1 up
    to i the levels i-1 and i-2 (with the clean level below the lowest).
    """
    upper, lower = step.target, step.level
    if kernel.jump == "paper":
        upper, lower = upper + 1, min(lower + 1, len(step.times) - 1)
    return step.times[upper], step.times[lower]


def slide_onto(x: Tensor, reference: Tensor, known: Tensor, context: BatchContext) -> Tensor:
    """Slide each crystal by the circular mean of (reference - x) over its known atoms, axis by axis.

    No slide along an axis whose mean resultant is under 0.3, and none where nothing is known.
    """
    mean, resultant = circular_mean(reference - x, known.to(x.dtype), context.crystal_index, context.n_crystals)
    slide = torch.where(resultant < MIN_RESULTANT, torch.zeros_like(mean), mean)
    return wrap(x + slide[context.crystal_index])
