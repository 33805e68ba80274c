"""Noise schedules over the integer times 0 (data) to T, as float32 buffers equal to the published code's bit for bit.

Every buffer has T + 1 entries; entry 0 is the clean level.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

_LARGEST_BETA = 0.9999
_SMALLEST_BETA = 0.0001
_OFFSET = 0.008
"""Keeps beta from vanishing near t = 0 (Nichol and Dhariwal, arXiv:2102.09672, eq. 17)."""
_QUADRATURE_POINTS = 1024


@dataclass(frozen=True)
class BetaSchedule:
    """Variance-preserving noise of cells and species.

    Attributes:
        betas: variance that a step adds.
        alphas: 1 - betas.
        alphas_cumprod: variance left of the data.
        sigmas: standard deviation of the reverse step.
    """

    betas: Tensor
    alphas: Tensor
    alphas_cumprod: Tensor
    sigmas: Tensor


def cosine_schedule(timesteps: int) -> BetaSchedule:
    """The cosine schedule (arXiv:2102.09672, eq. 17) with beta between 1e-4 and 0.9999."""
    levels = torch.linspace(0, timesteps, timesteps + 1)
    remaining = torch.cos(((levels / timesteps) + _OFFSET) / (1 + _OFFSET) * math.pi * 0.5) ** 2
    remaining = remaining / remaining[0]
    steps = torch.clip(1 - remaining[1:] / remaining[:-1], _SMALLEST_BETA, _LARGEST_BETA)
    betas = torch.cat([torch.zeros(1), steps])
    alphas = 1 - betas
    cumulative = torch.cumprod(alphas, dim=0)
    variances = torch.zeros_like(betas)
    variances[1:] = betas[1:] * (1 - cumulative[:-1]) / (1 - cumulative[1:])
    return BetaSchedule(betas, alphas, cumulative, torch.sqrt(variances))


def exponential_sigmas(timesteps: int, sigma_begin: float, sigma_end: float) -> Tensor:
    """Spreads of the coordinates in fractional units: 0, then geometric from `sigma_begin` to `sigma_end`."""
    levels = np.exp(np.linspace(math.log(sigma_begin), math.log(sigma_end), timesteps))
    return torch.cat([torch.zeros(1), torch.tensor(levels, dtype=torch.float32)])


def exact_sigmas_norm(sigmas: Tensor) -> Tensor:
    """Mean square of the score of a wrapped normal, per component, by quadrature; 1 at the clean level.

    The published code estimates it from 10,000 samples whenever a model is made, 1.3 % off on average: a checkpoint's
    own values must be read from the checkpoint; a new model is better off with these.
    """
    result = torch.ones_like(sigmas)
    points = torch.arange(_QUADRATURE_POINTS, dtype=torch.float64) / _QUADRATURE_POINTS
    for index, sigma in enumerate(sigmas.double().tolist()):
        if sigma > 0:
            result[index] = _mean_square_score(points, sigma)
    return result


def _mean_square_score(points: Tensor, sigma: float) -> float:
    """Integral of p (p' / p)^2 over the circle of length 1, p a normal of spread `sigma` wrapped onto it."""
    images = torch.arange(-6, 7, dtype=torch.float64)
    distance = points[:, None] - torch.round(points[:, None]) + images
    exponent = -(distance**2) / (2 * sigma**2)
    density = torch.exp(exponent).sum(dim=1) / (sigma * math.sqrt(2 * math.pi))
    score = -(torch.softmax(exponent, dim=1) * distance).sum(dim=1) / sigma**2
    return float((density * score**2).mean())
