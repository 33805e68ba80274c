"""The training run of `chggen train diffcsp`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from chggen_diffcsp.checkpoint import load_checkpoint
from chggen_diffcsp.network import CSPNetConfig
from chggen_diffcsp.objective import Denoiser, Losses, NoisedBatch, NoiseLevels, add_noise, losses
from chggen_kit.errors import CheckpointError
from chggen_kit.state import CrystalBatch
from chggen_kit.training.checks import check_number
from chggen_kit.training.dataset import BatchPlan, CrystalSet, generator_of
from chggen_kit.training.loop import TrainingLoop
from chggen_kit.training.options import LoopOptions, TrainingSettings

SPECIES_COST = 20.0
"""Weight of the species in the loss, as published."""


@dataclass(frozen=True, kw_only=True)
class TrainingOptions(LoopOptions):
    """Everything that decides what a training run computes.

    Attributes:
        kind: `csp` for crystals of given composition, `w_type` for a model that generates the species too.
        hidden: features of an atom.
        layers: rounds of message passing.
        frequencies: of the Fourier features.
        time_dim: size of the time embedding, even.
        layer_norm: whether features are normalised before each layer.
        timesteps: T.
        sigma_begin: smallest and
        sigma_end: largest spread of the coordinates in fractional units.
        batch_crystals: most crystals in a batch.
        batch_edges: most pairs of atoms in a batch (n^2 for a crystal of n atoms).

    Raises:
        InputError: for a value out of range.
    """

    kind: Literal["csp", "w_type"] = "csp"
    hidden: int = 256
    layers: int = 4
    frequencies: int = 64
    time_dim: int = 128
    layer_norm: bool = True
    timesteps: int = 1000
    sigma_begin: float = 0.005
    sigma_end: float = 0.5
    batch_crystals: int = 256
    batch_edges: int = 6400

    def check(self) -> None:
        super().check()
        check_number("time_dim", self.time_dim, whole=True, low=4)
        if self.time_dim % 2:
            raise ValueError(f"time_dim must be even, not {self.time_dim}")
        for name in ("timesteps", "batch_crystals", "batch_edges"):
            check_number(name, getattr(self, name), whole=True, low=1)
        check_number("sigma_begin", self.sigma_begin, above=0)
        check_number("sigma_end", self.sigma_end, above=self.sigma_begin, high=0.5)
        _ = self.network

    @property
    def one_hot(self) -> int | None:
        """Number of elements where the species are diffused, else None."""
        return self.network.max_atoms if self.network.smooth else None

    @property
    def network(self) -> CSPNetConfig:
        """Hyper-parameters of the network."""
        with_species = self.kind == "w_type"
        return CSPNetConfig(
            hidden_dim=self.hidden,
            latent_dim=self.time_dim,
            num_layers=self.layers,
            num_freqs=self.frequencies,
            ln=self.layer_norm,
            smooth=with_species,
            pred_type=with_species,
        )


class BatchMaker:
    """Noised batches by step.

    Args:
        levels: of the model.
        crystals: training set.
        plan: which of them each step takes.
        options: of the run.
    """

    def __init__(self, levels: NoiseLevels, crystals: CrystalSet, plan: BatchPlan, options: TrainingOptions) -> None:
        self._levels, self._crystals, self._plan, self._options = levels, crystals, plan, options

    def __call__(self, step: int) -> NoisedBatch:
        batch = self._crystals.batch.select(self._plan.crystals(step))
        generator = generator_of(self._options.seed, "noise", step)
        time = torch.randint(1, self._options.timesteps + 1, (batch.n_crystals,), generator=generator)
        return add_noise(self._levels, batch, time, generator, one_hot=self._options.one_hot)


class Training(TrainingLoop[Denoiser, NoisedBatch]):
    """One run of `chggen train diffcsp`."""

    def __init__(self, options: TrainingOptions, settings: TrainingSettings) -> None:
        super().__init__(options, settings, initial_denoiser(options, settings.init_from))
        self.options = options
        self._levels = self.network.noise_levels()
        self._plan: BatchPlan | None = None

    def batch_maker(self, crystals: CrystalSet) -> Callable[[int], NoisedBatch]:
        return BatchMaker(self._levels, crystals, self.plan(crystals), self.options)

    def plan(self, crystals: CrystalSet) -> BatchPlan:
        """Which of `crystals`, the same ones in every call, each step takes."""
        if self._plan is None:
            self._plan = BatchPlan(
                crystals.batch.num_atoms**2,
                max_size=self.options.batch_edges,
                max_crystals=self.options.batch_crystals,
                seed=self.options.seed,
            )
        return self._plan

    def loss(self, batch: NoisedBatch) -> Tensor:
        return total(losses(self.model(*batch[:5]), batch))

    def validate(self, batch: CrystalBatch) -> dict[str, Any]:
        """The losses, over noise levels spread evenly from 1 to T, the same ones every time."""
        generator = torch.Generator().manual_seed(0)
        order = torch.randperm(batch.n_crystals, generator=generator)
        time = 1 + (order * self.options.timesteps) // batch.n_crystals
        sums, count = torch.zeros(3), 0
        for first in range(0, batch.n_crystals, self.options.batch_crystals):
            chosen = range(first, min(first + self.options.batch_crystals, batch.n_crystals))
            noised = add_noise(
                self._levels, batch.select(chosen), time[list(chosen)], generator, one_hot=self.options.one_hot
            ).to(self.fabric.device)
            with torch.no_grad():
                found = losses(self.average(*noised[:5]), noised)
            sums += len(chosen) * torch.stack([torch.zeros(()) if x is None else x.cpu() for x in found])
            count += len(chosen)
        of_lattice, of_coords, of_species = (round(x, 5) for x in (sums / count).tolist())
        metrics = {"val_loss": 0.0, "lattice_loss": of_lattice, "coord_loss": of_coords}
        if self.options.kind == "w_type":
            metrics["type_loss"] = of_species
        return {**metrics, "val_loss": round(of_lattice + of_coords + SPECIES_COST * of_species, 5)}


def total(parts: Losses) -> Tensor:
    """The published weighting."""
    known = parts.lattice + parts.coords
    return known if parts.species is None else known + SPECIES_COST * parts.species


def initial_denoiser(options: TrainingOptions, source: Path | None = None) -> Denoiser:
    """Network with the initial weights of the seed, or with those of a checkpoint of the same size.

    Raises:
        CheckpointError: when `source` cannot be read, or holds another network.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        denoiser = Denoiser(
            options.network,
            timesteps=options.timesteps,
            sigma_begin=options.sigma_begin,
            sigma_end=options.sigma_end,
        )
    if source is not None:
        checkpoint = load_checkpoint(source)
        if checkpoint.settings.network != options.network:
            raise CheckpointError(
                f"The checkpoint {source} holds the network {checkpoint.settings.network}, the run wants "
                f"{options.network}. Give the options of that network, or train from scratch."
            )
        denoiser.decoder.load_state_dict(checkpoint.network.state_dict())
    return denoiser
