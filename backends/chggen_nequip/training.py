"""Denoising score matching of the in-house network."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from chggen_kit.errors import CheckpointError
from chggen_kit.state import CrystalBatch
from chggen_kit.training.checks import check_number
from chggen_kit.training.dataset import BatchPlan, CrystalSet, generator_of
from chggen_kit.training.loop import TrainingLoop
from chggen_kit.training.options import LoopOptions, TrainingSettings
from chggen_nequip.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from chggen_nequip.network import Architecture, ScoreNetwork
from chggen_nequip.objective import LevelWeights, NoisyBatch, add_noise, log_normal, log_uniform, relative_errors

CHECKPOINT_FILE = "checkpoint.safetensors"


@dataclass(frozen=True, kw_only=True)
class TrainingOptions(LoopOptions):
    """Everything that decides what a training run computes.

    Attributes:
        architecture: of the network.
        batch_atoms: most atoms in a batch.
        sigma_min: smallest and
        sigma_max: largest noise level in Å.
        noise_median: median of log-normal noise levels in Å; None draws them log-uniform.
        noise_spread: standard deviation of log sigma of log-normal levels.
        weighting: `level` makes every noise level count alike (see `LevelWeights`), `none` every atom.

    Raises:
        InputError: for a value out of range.
    """

    architecture: Architecture = field(default_factory=Architecture)
    learning_rate: float = 2e-3
    batch_atoms: int = 128
    sigma_min: float = 0.01
    sigma_max: float = 3.0
    noise_median: float | None = None
    noise_spread: float = 1.2
    weighting: Literal["none", "level"] = "none"

    def check(self) -> None:
        super().check()
        check_number("sigma_min", self.sigma_min, above=0)
        check_number("sigma_max", self.sigma_max, above=self.sigma_min)
        check_number("noise_spread", self.noise_spread, above=0)
        if self.noise_median is not None:
            check_number("noise_median", self.noise_median, above=0)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**super().to_dict(), "architecture": self.architecture.to_dict()}

    def noise_levels(self, count: int, generator: torch.Generator) -> Tensor:
        """Noise levels of `count` crystals in Å `[count]`."""
        low, high = self.sigma_min, self.sigma_max
        if self.noise_median is None:
            return log_uniform(count, low, high, generator)
        return log_normal(count, low, high, self.noise_median, self.noise_spread, generator)


class BatchMaker:
    """Noisy batches by step.

    Args:
        crystals: training set.
        options: of the run.
    """

    def __init__(self, crystals: CrystalSet, options: TrainingOptions) -> None:
        self._crystals, self._options = crystals, options
        self._plan = BatchPlan(crystals.batch.num_atoms, max_size=options.batch_atoms, seed=options.seed)

    def __call__(self, step: int) -> NoisyBatch:
        options = self._options
        batch = self._crystals.batch.select(self._plan.crystals(step))
        generator = generator_of(options.seed, "noise", step)
        sigma = options.noise_levels(batch.n_crystals, generator)
        return add_noise(batch, sigma, options.architecture.cutoff, generator)


class Training(TrainingLoop[ScoreNetwork, NoisyBatch]):
    """One run of `chggen train nequip`."""

    def __init__(self, options: TrainingOptions, settings: TrainingSettings) -> None:
        super().__init__(options, settings, _initial_network(options, settings))
        self.options = options
        self.weights = LevelWeights(options.sigma_min, options.sigma_max)

    def batch_maker(self, crystals: CrystalSet) -> Callable[[int], NoisyBatch]:
        return BatchMaker(crystals, self.options)

    def loss(self, batch: NoisyBatch) -> Tensor:
        predicted = self.model(batch.species, batch.crystal_index, batch.graph, batch.sigma)
        by_atom = (predicted - batch.target).square().mean(dim=1)
        if self.options.weighting == "level":
            by_atom = by_atom * self.weights.update(batch.sigma[batch.crystal_index], by_atom.detach().float())
        return by_atom.mean()

    def more_state(self) -> dict[str, Tensor]:
        return {"level_means": self.weights.means}

    def restore_more(self, state: dict[str, Any]) -> None:
        self.weights.means = state["level_means"]

    def validate(self, batch: CrystalBatch) -> dict[str, Any]:
        """Relative errors by noise level."""
        cutoff = self.options.architecture.cutoff
        errors = relative_errors(self.average, batch, cutoff=cutoff, device=self.fabric.device)
        return {"relative_errors": {str(sigma): round(error, 4) for sigma, error in errors.items()}}

    def export(self, path: Path, crystals: CrystalSet, facts: dict[str, Any]) -> None:
        """Write the averaged network as a checkpoint."""
        average = copy.deepcopy(self.average).cpu().eval()
        checkpoint = Checkpoint(
            network=average,
            sigma_min=self.options.sigma_min,
            sigma_max=self.options.sigma_max,
            elements=frozenset(torch.unique(crystals.batch.species).tolist()),
            max_atoms=int(crystals.batch.num_atoms.max()),
            facts={**facts, "options": self.options.to_dict(), "step": self.step},
        )
        save_checkpoint(checkpoint, path)


def _initial_network(options: TrainingOptions, settings: TrainingSettings) -> ScoreNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        network = ScoreNetwork(options.architecture)
    if settings.init_from is None:
        return network
    source = load_checkpoint(settings.init_from).network
    wanted = options.architecture
    if replace(wanted, product_channels=source.architecture.product_channels) != source.architecture or (
        source.architecture.product_channels not in {0, wanted.product_channels}
    ):
        raise CheckpointError(
            f"The checkpoint {settings.init_from} has the architecture {source.architecture}, the run "
            f"wants {wanted}. Give the options of that architecture (products may be added), or train from scratch."
        )
    # Products that the checkpoint lacks start at zero: the network is the checkpoint's until they are trained.
    network.load_state_dict({**network.state_dict(), **source.state_dict()})
    return network
