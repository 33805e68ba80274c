"""Variance-preserving noise on cells as symmetric matrices, towards a limit of given density (MatterGen, section A.5).

A time runs from 0 (clean) to 1. The limit has the mean (n / density)^(1/3) times the unit matrix and the variance
c n^(2/3) for each entry, for n atoms in the cell. The field is the symmetric factor of the cell's polar decomposition
`[n_crystals, 3, 3]` in Å; the prediction is the score times the standard deviation, of the same shape.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from chggen_kit.errors import PluginError
from chggen_kit.interfaces.processes import FieldDraws, KernelOptions, NoiseMetric, NoiseProcess, Scope, Step

if TYPE_CHECKING:
    from chggen_kit.symmetry.batch import BatchSymmetry

_SMALLEST_RATIO = 1e-3
"""Bound of m_t / m_s in the predictor, as in the published sampler: one over it multiplies the state."""
_UPSTREAM_LARGEST_STEP = 1e6
_LARGEST_ENTRY = 1e3
"""Å; a cell with such an edge is no crystal."""


def symmetric_noise(z: Tensor) -> Tensor:
    """Symmetric matrices of unit variance an entry from independent normal entries `[n, 3, 3]`."""
    mixed = (z + z.transpose(1, 2)) / math.sqrt(2)
    diagonal = torch.eye(3, dtype=torch.bool, device=z.device)
    return torch.where(diagonal, z, mixed)


def symmetric_factor(matrix: Tensor) -> Tensor:
    """P of the polar decomposition matrix = P U: symmetric, with the rows' lengths and angles of `matrix`.

    It is positive: a symmetric matrix with a negative eigenvalue is changed too. Rows that are no numbers stay so.
    """
    finite = torch.isfinite(matrix).all(dim=(1, 2), keepdim=True)
    left, singular, _ = torch.linalg.svd(torch.where(finite, matrix, torch.zeros_like(matrix)))
    factor: Tensor = left @ torch.diag_embed(singular) @ left.transpose(1, 2)
    return torch.where(finite, factor, matrix)


class LatticeVP(NoiseProcess):
    """x_t = m x_0 + (1 - m) mu + sqrt((1 - m^2) v) z with log m = -t^2 (beta_max - beta_min) / 4 - t beta_min / 2.

    Args:
        beta_min: noise rate at time 0.
        beta_max: noise rate at time 1.
        limit_density: atoms per Å^3 of the limit's mean cell.
        limit_variance: c, in Å^2.
        snr_ratio: the corrector's signal-to-noise ratio relative to the one that the sampler is given.
        as_published: the kernels as MatterGen 1.0.3 runs them, for comparison: the corrector's step sizes come from
            norms that are averaged over the batch, which couples its crystals, and the predictor draws one number z a
            cell (z on the diagonal, sqrt(2) z beside it) where the process has six independent ones.

    Raises:
        PluginError: for rates that do not rise, or a limit without volume or spread.
    """

    kind: ClassVar[str] = "vp-lattice-symmetric"
    scope: Scope = "crystal"
    metric: NoiseMetric = "plain"

    def __init__(
        self,
        beta_min: float,
        beta_max: float,
        limit_density: float,
        limit_variance: float,
        snr_ratio: float = 1.0,
        as_published: bool = False,
    ) -> None:
        if not 0 <= beta_min < beta_max < math.inf:
            raise PluginError(f"LatticeVP needs 0 <= beta_min < beta_max, not {beta_min} and {beta_max}.")
        if not (0 < limit_density < math.inf and 0 < limit_variance < math.inf and snr_ratio > 0):
            raise PluginError("LatticeVP needs a positive limit density, limit variance and snr ratio.")
        self.beta_min, self.beta_max = beta_min, beta_max
        self.limit_density, self.limit_variance = limit_density, limit_variance
        self.snr_ratio, self.as_published = snr_ratio, as_published

    def parameters(self) -> dict[str, Any]:
        return {
            "beta_min": self.beta_min,
            "beta_max": self.beta_max,
            "limit_density": self.limit_density,
            "limit_variance": self.limit_variance,
            "snr_ratio": self.snr_ratio,
            "as_published": self.as_published,
        }

    def mean_share(self, time: float) -> float:
        """m, the share of the clean cell that is left at `time`."""
        return math.exp(-(time**2) * (self.beta_max - self.beta_min) / 4 - time * self.beta_min / 2)

    def limit_mean(self, step: Step, like: Tensor) -> Tensor:
        """The limit's mean `[n_crystals, 3, 3]` in Å."""
        edge = (step.context.num_atoms.double() / self.limit_density) ** (1 / 3)
        unit = torch.eye(3, dtype=torch.float64, device=edge.device)
        return (edge[:, None, None] * unit).to(like)

    def limit_std(self, step: Step, like: Tensor) -> Tensor:
        """The limit's spread of each entry `[n_crystals, 1, 1]` in Å."""
        spread = math.sqrt(self.limit_variance) * step.context.num_atoms.double() ** (1 / 3)
        return spread[:, None, None].to(like)

    def _mix(self, x: Tensor, share: float, noise: Tensor, step: Step) -> Tensor:
        spread = math.sqrt(1 - share**2) * self.limit_std(step, x)
        return share * x + (1 - share) * self.limit_mean(step, x) + spread * symmetric_noise(noise)

    def prior(self, step: Step, x: Tensor, draws: FieldDraws) -> Tensor:
        """The limit."""
        return self._mix(x, 0.0, draws.normal("prior", x), step)

    def forward_marginal(self, x0: Tensor, step: Step, draws: FieldDraws) -> Tensor:
        """The law of the class docstring at `step.target`."""
        if step.target_is_clean:
            return x0
        return self._mix(x0, self.mean_share(step.s), draws.normal("marginal", x0), step)

    def renoise(self, x: Tensor, step: Step, draws: FieldDraws, kernel: KernelOptions) -> Tensor:
        """The same law with m_target / m_level in place of m; there is no other published kernel."""
        del kernel
        return self._mix(x, self.mean_share(step.s) / self.mean_share(step.t), draws.normal("renoise", x), step)

    def reverse_step(self, x: Tensor, prediction: Tensor, step: Step, draws: FieldDraws) -> Tensor:
        """Ancestral step x / a + (1 - a^2) v score / a + (1 - 1 / a) mu + spread z, with a = m_t / m_s."""
        upper, lower = self.mean_share(step.t), self.mean_share(step.s)
        ratio = upper / lower
        added = 1 - ratio**2
        ratio = max(ratio, _SMALLEST_RATIO)
        limit_std = self.limit_std(step, x)
        # v score = sqrt(v) prediction / sqrt(1 - m_t^2).
        pull = added / math.sqrt(1 - upper**2) * limit_std * prediction
        moved = (x + pull) / ratio + (1 - 1 / ratio) * self.limit_mean(step, x)
        if step.target_is_clean:
            return moved
        spread = math.sqrt(added * (1 - lower**2) / (1 - upper**2)) * limit_std
        if self.as_published:
            noise = draws.normal("predictor", x[:, :1, :1]).expand(-1, 3, 3)
        else:
            noise = draws.normal("predictor", x)
        return moved + spread * symmetric_noise(noise)

    def correct(
        self, x: Tensor, prediction: Tensor, step: Step, moving: Tensor, draws: FieldDraws, kernel: KernelOptions
    ) -> Tensor | None:
        """Langevin step x + eps score + sqrt(2 eps) z, then the symmetric factor of what it gave.

        `fixed`: eps = 2 (delta sigma)^2. `langevin-norm`: eps = 2 alpha (3 delta / |score|)^2 for each crystal (3 is
        the expected norm of the noise), capped at sigma^2; alpha = (m_t / m_next)^2 as published. A norm that is zero
        or not finite means no step.
        """
        share = self.mean_share(step.t)
        sigma = math.sqrt(1 - share**2) * self.limit_std(step, x)
        score = prediction / sigma
        noise = symmetric_noise(draws.normal("corrector", x))
        delta = kernel.snr * self.snr_ratio
        norm = score.flatten(1).norm(dim=1)
        alpha = (share / self.mean_share(step.times[min(step.level + 1, len(step.times) - 1)])) ** 2
        usable = torch.isfinite(norm) & (norm > 0) & moving
        if self.as_published:
            eps = 2 * alpha * (delta * noise.flatten(1).norm(dim=1).mean() / norm.mean()) ** 2
            eps = eps.clamp(max=_UPSTREAM_LARGEST_STEP).expand(norm.shape)
        elif kernel.corrector == "fixed":
            eps = 2 * (delta * sigma[:, 0, 0]) ** 2
        else:
            eps = 2 * alpha * (3 * delta / torch.where(usable, norm, torch.ones_like(norm))) ** 2
            eps = torch.minimum(eps, sigma[:, 0, 0] ** 2)
        eps = eps[:, None, None]
        moved = symmetric_factor(x + eps * score + torch.sqrt(2 * eps) * noise)
        return torch.where(usable[:, None, None], moved, x)

    def wrap(self, x: Tensor) -> Tensor:
        return x

    def project(self, v: Tensor, symmetry: BatchSymmetry) -> Tensor | None:
        """None: symmetric factors of cells with a given point group are no linear space."""
        del v, symmetry
        return None

    def is_sane(self, x: Tensor) -> Tensor:
        """No entry of 1000 Å or more."""
        return x.abs().flatten(1).amax(dim=1) < _LARGEST_ENTRY
