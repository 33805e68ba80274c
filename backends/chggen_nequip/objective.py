"""Denoising score matching on the torus: noisy crystals, their exact targets, and the error of a network."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from chggen_kit.state import CrystalBatch
from chggen_kit.torus import to_fractional, wrap, wrapped_normal_score
from chggen_nequip.graph import Graph, build_graph

EVALUATION_SIGMAS = (0.03, 0.1, 0.3, 0.6, 1.0, 2.0)
"""Noise levels in Å at which errors are reported."""

_LEVEL_BINS = 16
_LEVEL_PACE = 0.01


class NoisyBatch(NamedTuple):
    """Input and target of one training step.

    Attributes:
        species: `[n_atoms]`.
        crystal_index: `[n_atoms]`.
        graph: neighbours of the noisy positions.
        sigma: noise level of each crystal in Å `[n_crystals]`.
        target: sigma times the exact score `[n_atoms, 3]`.
    """

    species: Tensor
    crystal_index: Tensor
    graph: Graph
    sigma: Tensor
    target: Tensor

    def to(self, device: torch.device | str) -> NoisyBatch:
        """Copy on `device`."""
        return NoisyBatch(
            self.species.to(device),
            self.crystal_index.to(device),
            self.graph.to(device),
            self.sigma.to(device),
            self.target.to(device),
        )


def log_uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    """`count` numbers, uniform in their logarithm between `low` and `high`."""
    return low * (high / low) ** torch.rand(count, generator=generator)


def log_normal(count: int, low: float, high: float, median: float, spread: float, generator: torch.Generator) -> Tensor:
    """`count` numbers whose logarithm is normal around log `median`, cut off at `low` and `high`.

    Args:
        count: how many.
        low: smallest and
        high: largest number.
        median: of the distribution before it is cut off.
        spread: standard deviation of the natural logarithm.
        generator: of the numbers.

    The distribution of noise levels of Karras et al., "Elucidating the design space of diffusion-based generative
    models" (2022), table 1, drawn by inverting its cumulative distribution so that no draw is wasted.
    """
    bounds = torch.special.ndtr((torch.log(torch.tensor([low, high], dtype=torch.float64)) - math.log(median)) / spread)
    uniform = bounds[0] + (bounds[1] - bounds[0]) * torch.rand(count, generator=generator, dtype=torch.float64)
    return (median * torch.exp(spread * torch.special.ndtri(uniform))).clamp(low, high).float()


class LevelWeights:
    """Weights that make every noise level count alike: the inverse of its mean loss so far, up to a common factor.

    The loss of a level is its relative error, near 1 where the noise has erased the crystal and far below where it
    has not; unweighted, the hopeless levels drown the others. (The same idea as the learned uncertainty of Karras et
    al., "Analyzing and improving the training dynamics of diffusion models" (2024), eq. 21, with a running mean in
    bins of log sigma in place of a network.)

    Args:
        low: smallest and
        high: largest noise level in Å.
    """

    def __init__(self, low: float, high: float) -> None:
        self._low, self._ratio = math.log(low), math.log(high) - math.log(low)
        self.means = torch.ones(_LEVEL_BINS)

    def update(self, sigma: Tensor, loss: Tensor) -> Tensor:
        """Weights `[n]` of atoms at levels `sigma` `[n]` Å with losses `loss` `[n]`, whose means are then taken in."""
        place = (torch.log(sigma) - self._low) / self._ratio * _LEVEL_BINS
        bins = place.long().clamp(0, _LEVEL_BINS - 1)
        self.means = self.means.to(loss.device)
        weights = 1 / self.means[bins]
        count = torch.bincount(bins, minlength=_LEVEL_BINS)
        total = torch.zeros_like(self.means).index_add_(0, bins, loss)
        mean = total / count.clamp(min=1)
        # A bin moves by the share of a batch that it got, so that rare levels are averaged over as many atoms.
        pace = (_LEVEL_PACE * _LEVEL_BINS * count / max(sigma.shape[0], 1)).clamp(max=0.5)
        self.means = torch.where(count > 0, self.means + pace * (mean - self.means), self.means)
        return weights / weights.mean()


def add_noise(batch: CrystalBatch, sigma: Tensor, cutoff: float, generator: torch.Generator) -> NoisyBatch:
    """Displace every atom by an isotropic normal of standard deviation `sigma` `[n_crystals]` Å.

    The target is sigma times the score of the *wrapped* normal (the displacement is only known up to a lattice
    vector), and the noisy coordinates are folded into the cell before the graph is built.
    """
    index = batch.crystal_index
    noise = torch.randn(batch.n_atoms, 3, generator=generator) * sigma[index, None]
    frac = wrap(batch.frac_coords + to_fractional(noise, batch.lattice, index))
    score = wrapped_normal_score(noise, batch.lattice, index, sigma)
    graph = build_graph(frac, batch.lattice, batch.num_atoms, cutoff)
    return NoisyBatch(batch.species, index, graph, sigma, score * sigma[index, None])


def relative_errors(
    network: Callable[[Tensor, Tensor, Graph, Tensor], Tensor],
    batch: CrystalBatch,
    *,
    cutoff: float,
    sigmas: Sequence[float] = EVALUATION_SIGMAS,
    seed: int = 0,
    max_atoms: int = 512,
    device: torch.device | str = "cpu",
) -> dict[float, float]:
    """Relative denoising error of `network` on `batch` at each noise level.

    sum |sigma s - sigma s_exact|^2 / sum |sigma s_exact|^2 over all atoms: 1 is what predicting zero gives. (The
    exact conditional score given the clean crystal is the target, so even a perfect network stays above 0.)

    Args:
        network: called with species, crystal index, graph and sigma.
        batch: clean crystals, float32.
        cutoff: of the graph in Å.
        sigmas: noise levels in Å.
        seed: of the noise; the same noise, scaled, at every level.
        max_atoms: atoms evaluated at a time.
        device: where to evaluate.
    """
    groups = _groups(batch.num_atoms.tolist(), max_atoms)
    errors = {}
    for sigma in sigmas:
        generator = torch.Generator().manual_seed(seed)
        wrong = total = 0.0
        for group in groups:
            part = batch.select(group)
            noisy = add_noise(part, torch.full((part.n_crystals,), sigma), cutoff, generator).to(device)
            with torch.no_grad():
                predicted = network(noisy.species, noisy.crystal_index, noisy.graph, noisy.sigma)
            wrong += float((predicted - noisy.target).double().square().sum())
            total += float(noisy.target.double().square().sum())
        errors[sigma] = wrong / total if total else math.nan
    return errors


def _groups(sizes: Sequence[int], max_atoms: int) -> list[list[int]]:
    groups: list[list[int]] = []
    room = 0
    for crystal, size in enumerate(sizes):
        if not groups or size > room:
            groups.append([])
            room = max_atoms
        groups[-1].append(crystal)
        room -= size
    return groups
