"""Denoising score matching with Lightning Fabric, resumable to the step."""

from __future__ import annotations

import copy
import json
import math
import pickle
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from chggen_kit.errors import CheckpointError, InputError, RunDirectoryError, unknown_name
from chggen_kit.state import CrystalBatch
from chggen_nequip.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from chggen_nequip.checks import check_number
from chggen_nequip.dataset import BatchPlan, CrystalSet, generator_of
from chggen_nequip.metrics_log import metrics_log
from chggen_nequip.network import Architecture, ScoreNetwork
from chggen_nequip.objective import LevelWeights, NoisyBatch, add_noise, log_normal, log_uniform, relative_errors

STATE_FILE = "state.pt"
METRICS_FILE = "metrics.jsonl"
CHECKPOINT_FILE = "checkpoint.safetensors"
PRECISIONS: tuple[Literal["32-true", "bf16-mixed", "16-mixed"], ...] = ("32-true", "bf16-mixed", "16-mixed")
"""Fabric's names of those that keep the weights, and so the checkpoint, in float32."""


@dataclass(frozen=True)
class TrainingOptions:
    """Everything that decides what a training run computes.

    Attributes:
        architecture: of the network.
        steps: total number of optimiser steps.
        seed: of the initial weights, the order of the data and the noise.
        learning_rate: at its highest.
        warm_up: steps of linear increase from zero.
        decay: share of `steps`, at the end, in which the rate falls along a cosine to 2 %.
        batch_atoms: most atoms in a batch.
        sigma_min: smallest and
        sigma_max: largest noise level in Å.
        noise_median: median of log-normal noise levels in Å; None draws them log-uniform.
        noise_spread: standard deviation of log sigma of log-normal levels.
        weighting: `level` makes every noise level count alike (see `LevelWeights`), `none` every atom.
        average_decay: decay a step of the moving average of the weights.
        clip: largest norm of the gradient.

    Raises:
        InputError: for a value out of range.
    """

    architecture: Architecture = field(default_factory=Architecture)
    steps: int = 30_000
    seed: int = 0
    learning_rate: float = 2e-3
    warm_up: int = 200
    decay: float = 1.0
    batch_atoms: int = 128
    sigma_min: float = 0.01
    sigma_max: float = 3.0
    noise_median: float | None = None
    noise_spread: float = 1.2
    weighting: Literal["none", "level"] = "none"
    average_decay: float = 0.999
    clip: float = 1.0

    def __post_init__(self) -> None:
        try:
            for name in ("learning_rate", "sigma_min", "sigma_max", "noise_spread", "clip"):
                check_number(name, getattr(self, name), above=0)
            if self.noise_median is not None:
                check_number("noise_median", self.noise_median, above=0)
            check_number("average_decay", self.average_decay, low=0, high=1)
            check_number("decay", self.decay, low=0, high=1)
            check_number("sigma_max", self.sigma_max, above=self.sigma_min)
        except (TypeError, ValueError) as error:
            raise InputError(f"The training options cannot be used: {error}.") from error

    def rate(self, step: int) -> float:
        """Learning rate of `step` (from 0)."""
        decay_steps = max(self.decay * self.steps, 1)
        progress = min(max((step - (self.steps - decay_steps)) / decay_steps, 0), 1)
        falling = 0.02 + 0.98 * (1 + math.cos(math.pi * progress)) / 2
        return self.learning_rate * min((step + 1) / max(self.warm_up, 1), 1) * falling

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "architecture": self.architecture.to_dict()}

    def noise_levels(self, count: int, generator: torch.Generator) -> Tensor:
        """Noise levels of `count` crystals in Å `[count]`."""
        low, high = self.sigma_min, self.sigma_max
        if self.noise_median is None:
            return log_uniform(count, low, high, generator)
        return log_normal(count, low, high, self.noise_median, self.noise_spread, generator)


@dataclass(frozen=True)
class TrainingSettings:
    """Where and how a run is carried out, and which weights it starts from.

    Attributes:
        out: output directory.
        device: `cpu` or `cuda`.
        precision: Fabric's name of it.
        compile_network: whether to run the network through `torch.compile`.
        workers: processes that prepare batches; 0 does it in the training process.
        save_every: steps between saved states.
        validate_every: steps between validations.
        init_from: checkpoint whose weights to start from.
    """

    out: Path
    device: str = "cpu"
    precision: str = "32-true"
    compile_network: bool = False
    workers: int = 0
    save_every: int = 500
    validate_every: int = 2000
    init_from: Path | None = None


class StepBatches(Dataset[NoisyBatch]):
    """Noisy batches by step: item i belongs to step `first + i`."""

    def __init__(self, crystals: CrystalSet, options: TrainingOptions, first: int, last: int) -> None:
        self._crystals, self._options, self._first, self._last = crystals, options, first, last
        self._plan = BatchPlan(crystals.batch.num_atoms, max_atoms=options.batch_atoms, seed=options.seed)

    def __len__(self) -> int:
        return self._last - self._first

    def __getitem__(self, item: int) -> NoisyBatch:
        step, options = self._first + item, self._options
        batch = self._crystals.batch.select(self._plan.crystals(step))
        generator = generator_of(options.seed, "noise", step)
        sigma = options.noise_levels(batch.n_crystals, generator)
        return add_noise(batch, sigma, options.architecture.cutoff, generator)


class Training:
    """One run: the network, its moving average, the optimiser, and the step that they have reached."""

    def __init__(self, options: TrainingOptions, settings: TrainingSettings) -> None:
        from lightning.fabric import Fabric

        self.options, self.settings = options, settings
        if settings.device == "cuda" and not torch.cuda.is_available():
            raise InputError("Training was to run on `cuda`, but PyTorch finds no GPU. Give --device cpu.")
        if settings.precision not in PRECISIONS:
            raise InputError(unknown_name("precision", settings.precision, PRECISIONS))
        self.fabric = Fabric(accelerator=settings.device, devices=1, precision=settings.precision)
        self.network = self._initial_network()
        self.average = copy.deepcopy(self.network).to(self.fabric.device).requires_grad_(requires_grad=False)
        optimizer = torch.optim.AdamW(self.network.parameters(), lr=options.learning_rate, weight_decay=0.0)
        self.model, self.optimizer = self.fabric.setup(
            torch.compile(self.network, dynamic=True) if settings.compile_network else self.network, optimizer
        )
        self.weights = LevelWeights(options.sigma_min, options.sigma_max)
        self.step = 0

    def _initial_network(self) -> ScoreNetwork:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.options.seed)
            network = ScoreNetwork(self.options.architecture)
        if self.settings.init_from is None:
            return network
        source = load_checkpoint(self.settings.init_from).network
        wanted = self.options.architecture
        if replace(wanted, product_channels=source.architecture.product_channels) != source.architecture or (
            source.architecture.product_channels not in {0, wanted.product_channels}
        ):
            raise CheckpointError(
                f"The checkpoint {self.settings.init_from} has the architecture {source.architecture}, the run "
                f"wants {wanted}. Give the options of that architecture (products may be added), or train from scratch."
            )
        # Products that the checkpoint lacks start at zero: the network is the checkpoint's until they are trained.
        network.load_state_dict({**network.state_dict(), **source.state_dict()})
        return network

    def run(
        self,
        crystals: CrystalSet,
        validation: CrystalBatch | None,
        *,
        report: Callable[[int, dict[str, Any]], None],
    ) -> None:
        """Train to the last step.

        Args:
            crystals: training set.
            validation: clean crystals to measure the error on, or None.
            report: called after every step with the step's number (from 1) and its metrics.
        """
        started, first, smooth = time.monotonic(), self.step, math.nan
        with metrics_log(self.settings.out / METRICS_FILE, self.step) as write:
            for batch in self._batches(crystals):
                loss = self.optimise(batch)
                smooth = loss if math.isnan(smooth) else 0.99 * smooth + 0.01 * loss
                metrics: dict[str, Any] = {
                    "loss": loss,
                    "smooth_loss": smooth,
                    "rate": self.options.rate(self.step - 1),
                }
                last = self.step == self.options.steps
                if self.step % 50 == 0 or last:
                    metrics["steps_per_second"] = (self.step - first) / (time.monotonic() - started)
                    write({"step": self.step, **metrics})
                if validation is not None and (self.step % self.settings.validate_every == 0 or last):
                    metrics["relative_errors"] = self.validate(validation)
                    write({"step": self.step, "relative_errors": metrics["relative_errors"]})
                if self.step % self.settings.save_every == 0 or last:
                    self.save()
                report(self.step, metrics)

    def _batches(self, crystals: CrystalSet) -> Iterator[NoisyBatch]:
        data = StepBatches(crystals, self.options, self.step, self.options.steps)
        workers = self.settings.workers
        loader = DataLoader(data, batch_size=None, num_workers=workers, prefetch_factor=4 if workers else None)
        for batch in loader:
            yield batch.to(self.fabric.device)

    def optimise(self, batch: NoisyBatch) -> float:
        """One step of the optimiser on `batch`; the loss before it."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.rate(self.step)
        predicted = self.model(batch.species, batch.crystal_index, batch.graph, batch.sigma)
        loss = self._loss(predicted, batch)
        if not bool(torch.isfinite(loss)):
            raise RunDirectoryError(
                f"The loss is {float(loss)} at step {self.step}. Lower the learning rate, and start again from the "
                f"last saved state in {self.settings.out}."
            )
        self.fabric.backward(loss)
        self.fabric.clip_gradients(self.model, self.optimizer, max_norm=self.options.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        weight = 1 - min(self.options.average_decay, self.step / (self.step + 100))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), weight)
        return float(loss.detach())

    def _loss(self, predicted: Tensor, batch: NoisyBatch) -> Tensor:
        by_atom = (predicted - batch.target).square().mean(dim=1)
        if self.options.weighting == "level":
            by_atom = by_atom * self.weights.update(batch.sigma[batch.crystal_index], by_atom.detach().float())
        return by_atom.mean()

    def validate(self, batch: CrystalBatch) -> dict[str, float]:
        """Relative errors of the averaged network."""
        cutoff = self.options.architecture.cutoff
        errors = relative_errors(self.average, batch, cutoff=cutoff, device=self.fabric.device)
        return {str(sigma): round(error, 4) for sigma, error in errors.items()}

    def save(self) -> None:
        """Write the state, through a temporary name."""
        out = self.settings.out
        state = {
            "options": json.dumps(self.options.to_dict()),
            "step": self.step,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "level_means": self.weights.means,
        }
        temporary = out / f".{STATE_FILE}.partial"
        torch.save(state, temporary)
        temporary.replace(out / STATE_FILE)

    def resume(self) -> None:
        """Go on from the saved state of the output directory; `steps` and `decay` may differ, nothing else.

        Raises:
            RunDirectoryError: when the saved run has other options, or its state cannot be read.
            InputError: when it has gone beyond `steps` already.
        """
        path = self.settings.out / STATE_FILE
        try:
            state = torch.load(path, weights_only=True, map_location=self.fabric.device)
        # The last is what torch raises for anything but tensors and plain values: nothing is unpickled.
        except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
            raise RunDirectoryError(
                f"The saved state {path} cannot be read ({error}). It is damaged or not ours; start again in another "
                "--out, with --init-from the run's checkpoint.safetensors to keep its weights."
            ) from error
        saved, wanted = json.loads(state["options"]), json.loads(json.dumps(self.options.to_dict()))
        different = [key for key in wanted if key not in {"steps", "decay"} and wanted[key] != saved.get(key)]
        if different:
            raise RunDirectoryError(
                f"{path} belongs to a run with other options: {', '.join(different)}. Give the same options to go on "
                "with it, or another --out."
            )
        if int(state["step"]) > self.options.steps:
            raise InputError(
                f"The run in {self.settings.out} has reached step {state['step']} already, --steps asks for "
                f"{self.options.steps}. Give at least {state['step']}, or another --out."
            )
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.weights.means = state["level_means"]
        self.step = int(state["step"])

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
