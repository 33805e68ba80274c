"""Scalar functions of an edge's length and of the noise level."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def bessel_basis(length: Tensor, cutoff: float, count: int) -> Tensor:
    """Spherical Bessel functions sin(k pi u) / u with u = length / cutoff, scaled to about unit size, `[n, count]`.

    Gasteiger et al., "Directional message passing for molecular graphs" (2020), eq. 7. Finite at length 0.
    """
    k = torch.arange(1, count + 1, dtype=length.dtype, device=length.device)
    return math.pi * k * torch.sinc(k * (length / cutoff)[:, None]) / 3


def smooth_envelope(length: Tensor, cutoff: float) -> Tensor:
    """1 - 10 u^3 + 15 u^4 - 6 u^5 with u = length / cutoff, zero beyond; value, slope and curvature vanish at u = 1.

    Returns `[n]`. (The envelope of the same paper, eq. 8, with p = 3.)
    """
    u = (length / cutoff).clamp(max=1)
    return 1 - u**3 * (10 - 15 * u + 6 * u**2)


class NoiseEmbedding(nn.Module):
    """Features of the noise level: sines and cosines of log sigma through a small network.

    Args:
        size: number of features.
    """

    frequencies: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        # Periods from 4 pi down to 0.6 in log sigma: the range 0.01 to 3 Å spans 5.7.
        self.register_buffer("frequencies", 0.5 * torch.exp(torch.linspace(0, 3, 4)), persistent=False)
        self.network = nn.Sequential(nn.Linear(8, 32), nn.SiLU(), nn.Linear(32, size))

    def forward(self, sigma: Tensor) -> Tensor:
        """Features `[n_crystals, size]` of `sigma` `[n_crystals]` in Å."""
        phase = torch.log(sigma)[:, None] * self.frequencies
        features: Tensor = self.network(torch.cat([torch.sin(phase), torch.cos(phase)], dim=1))
        return features
