"""DiffCSP's training objective: noised crystals, their targets, and the loss (arXiv:2309.04475, section 4.1)."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from chggen_diffcsp.network import CSPNet, CSPNetConfig, time_embedding
from chggen_diffcsp.pairs import PairGraph
from chggen_diffcsp.schedules import cosine_schedule, exact_sigmas_norm, exponential_sigmas
from chggen_kit.state import CrystalBatch
from chggen_kit.torus import wrap

_IMAGES = 6
"""Images on either side of the nearest: at a spread of 0.5 the next ones weigh exp(-80) of it."""


class PairTensors(NamedTuple):
    """The fields of a `PairGraph`, in a form that Lightning Fabric hands to a module."""

    num_atoms: Tensor
    crystal_index: Tensor
    centre: Tensor
    neighbour: Tensor
    n_unordered: int

    @classmethod
    def of(cls, graph: PairGraph) -> PairTensors:
        """Fields of `graph`."""
        return cls(graph.num_atoms, graph.crystal_index, graph.centre, graph.neighbour, graph.n_unordered)

    def to(self, device: torch.device | str) -> PairTensors:
        """Copy on `device`."""
        moved: list[Any] = [x.to(device) if isinstance(x, Tensor) else x for x in self]
        return PairTensors(*moved)


class NoisedBatch(NamedTuple):
    """Input and targets of one training step.

    Attributes:
        time: integer time of each crystal `[n_crystals]`, 1 to T.
        species: atomic numbers `[n_atoms]`, or noised one-hot species `[n_atoms, max_atoms]`.
        frac_coords: noised `[n_atoms, 3]`.
        lattice: noised `[n_crystals, 3, 3]`.
        pairs: all pairs of each crystal.
        lattice_target: noise of the cell `[n_crystals, 3, 3]`.
        coords_target: minus the score of the wrapped normal over its root mean square `[n_atoms, 3]`.
        species_target: noise of the species `[n_atoms, max_atoms]`, or None.
    """

    time: Tensor
    species: Tensor
    frac_coords: Tensor
    lattice: Tensor
    pairs: PairTensors
    lattice_target: Tensor
    coords_target: Tensor
    species_target: Tensor | None

    def to(self, device: torch.device | str) -> NoisedBatch:
        """Copy on `device`."""
        moved: list[Any] = [None if x is None else x.to(device) for x in self]
        return NoisedBatch(*moved)


class Losses(NamedTuple):
    """Mean squared errors, scalars; that of the species is None where they are not diffused."""

    lattice: Tensor
    coords: Tensor
    species: Tensor | None


class NoiseLevels(NamedTuple):
    """What noising needs of the schedules, each `[T + 1]`, on the CPU.

    Attributes:
        kept: variance left of cells and species.
        sigmas: spread of the coordinates in fractional units.
        rms_score: root mean square of the coordinates' score.
    """

    kept: Tensor
    sigmas: Tensor
    rms_score: Tensor


class _Buffers(nn.Module):
    """Named buffers."""

    def __init__(self, **tensors: Tensor) -> None:
        super().__init__()
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor)


class Denoiser(nn.Module):
    """The network with the schedules that it is trained on; its state dict has the published keys.

    Args:
        config: of the network.
        timesteps: T.
        sigma_begin: smallest and
        sigma_end: largest spread of the coordinates in fractional units.
    """

    def __init__(
        self, config: CSPNetConfig, *, timesteps: int = 1000, sigma_begin: float = 0.005, sigma_end: float = 0.5
    ) -> None:
        super().__init__()
        self.decoder = CSPNet(config)
        beta = cosine_schedule(timesteps)
        self.beta_scheduler = _Buffers(
            betas=beta.betas, alphas=beta.alphas, alphas_cumprod=beta.alphas_cumprod, sigmas=beta.sigmas
        )
        sigmas = exponential_sigmas(timesteps, sigma_begin, sigma_end)
        self.sigma_scheduler = _Buffers(
            sigmas=sigmas, sigmas_norm=_sigmas_norm(timesteps, sigma_begin, sigma_end).clone()
        )
        self.timesteps = timesteps

    def noise_levels(self) -> NoiseLevels:
        """What noising needs of the schedules."""
        return NoiseLevels(
            self.get_buffer("beta_scheduler.alphas_cumprod").cpu(),
            self.get_buffer("sigma_scheduler.sigmas").cpu(),
            self.get_buffer("sigma_scheduler.sigmas_norm").sqrt().cpu(),
        )

    def forward(
        self, time: Tensor, species: Tensor, frac_coords: Tensor, lattice: Tensor, pairs: PairTensors
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Predicted targets of the cell, the coordinates and the species (see `NoisedBatch`)."""
        embedded = time_embedding(time, self.decoder.config.latent_dim)
        output = self.decoder(embedded, species, frac_coords, lattice, PairGraph(*pairs))
        return output.lattice, output.coords, output.types


@cache
def _sigmas_norm(timesteps: int, sigma_begin: float, sigma_end: float) -> Tensor:
    """`exact_sigmas_norm`, which takes a good part of a second, of a geometric schedule."""
    return exact_sigmas_norm(exponential_sigmas(timesteps, sigma_begin, sigma_end))


def minus_wrapped_score(offset: Tensor, sigma: Tensor) -> Tensor:
    """Minus the score of a normal of spread `sigma` wrapped onto the circle of length 1, elementwise, float64.

    -d/dx log sum_k exp(-(x + k)^2 / (2 sigma^2)) = sum_k w_k (x + k) / sigma^2 with softmax weights w_k, finite at any
    distance (arXiv:2309.04475, appendix A.1). Valid for spreads up to 0.5 and a little beyond.

    Args:
        offset: x, in turns.
        sigma: broadcastable to `offset`, positive.
    """
    x, width = offset.double(), sigma.double()
    images = torch.arange(-_IMAGES, _IMAGES + 1, dtype=torch.float64, device=x.device)
    distance = (x - torch.round(x))[..., None] + images
    weight = torch.softmax(-(distance**2) / (2 * width[..., None] ** 2), dim=-1)
    return (weight * distance).sum(dim=-1) / width**2


def add_noise(
    levels: NoiseLevels,
    batch: CrystalBatch,
    time: Tensor,
    generator: torch.Generator,
    *,
    one_hot: int | None = None,
) -> NoisedBatch:
    """Noise `batch` (float32, on the CPU) to the integer `time` of each crystal `[n_crystals]`.

    Cells and one-hot species keep part of their variance; coordinates diffuse on the torus.

    Args:
        levels: of the model.
        batch: clean crystals.
        time: `[n_crystals]`.
        generator: of the noise.
        one_hot: number of elements where the species are diffused too.
    """
    index = batch.crystal_index
    kept = levels.kept[time]
    cell_noise = torch.randn(batch.n_crystals, 3, 3, generator=generator)
    step = torch.randn(batch.n_atoms, 3, generator=generator)
    sigma = levels.sigmas[time][index, None]
    rms = levels.rms_score[time][index, None]
    species, species_target = batch.species, None
    if one_hot is not None:
        clean = functional.one_hot(batch.species - 1, one_hot).float()
        species_target = torch.randn(clean.shape, generator=generator)
        species = kept[index, None].sqrt() * clean + (1 - kept[index, None]).sqrt() * species_target
    return NoisedBatch(
        time=time,
        species=species,
        frac_coords=wrap(batch.frac_coords + sigma * step),
        lattice=kept[:, None, None].sqrt() * batch.lattice + (1 - kept[:, None, None]).sqrt() * cell_noise,
        pairs=PairTensors.of(PairGraph.build(batch.num_atoms)),
        lattice_target=cell_noise,
        coords_target=(minus_wrapped_score(sigma * step, sigma.expand_as(step)) / rms).float(),
        species_target=species_target,
    )


def losses(predicted: tuple[Tensor, Tensor, Tensor | None], batch: NoisedBatch) -> Losses:
    """Mean squared errors of what a `Denoiser` predicts for `batch`."""
    of_lattice, of_coords, of_species = predicted
    return Losses(
        functional.mse_loss(of_lattice, batch.lattice_target),
        functional.mse_loss(of_coords, batch.coords_target),
        None
        if of_species is None or batch.species_target is None
        else functional.mse_loss(of_species, batch.species_target),
    )
