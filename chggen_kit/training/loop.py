"""The training loop of all backends, with Lightning Fabric, resumable to the step."""

from __future__ import annotations

import copy
import json
import math
import pickle
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, Generic, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from chggen_kit.errors import InputError, RunDirectoryError, unknown_name
from chggen_kit.state import CrystalBatch
from chggen_kit.training.dataset import CrystalSet
from chggen_kit.training.metrics_log import metrics_log
from chggen_kit.training.options import PRECISIONS, LoopOptions, TrainingSettings

STATE_FILE = "state.pt"
METRICS_FILE = "metrics.jsonl"


class Movable(Protocol):
    """A batch of training examples."""

    def to(self, device: torch.device | str) -> Self:
        """Copy on `device`."""
        ...


BatchT = TypeVar("BatchT", bound=Movable)
NetworkT = TypeVar("NetworkT", bound=nn.Module)


class StepBatches(Dataset[BatchT]):
    """Batches by step, made when asked for: item i belongs to step `first + i`.

    Args:
        make: batch of a step; a function of the step alone, so that training can be resumed at any.
        first: step of the first item.
        last: one past the step of the last item.
    """

    def __init__(self, make: Callable[[int], BatchT], first: int, last: int) -> None:
        self._make, self._first, self._last = make, first, last

    def __len__(self) -> int:
        return self._last - self._first

    def __getitem__(self, item: int) -> BatchT:
        return self._make(self._first + item)


class TrainingLoop(ABC, Generic[NetworkT, BatchT]):
    """One run: the network, its moving average, the optimiser, and the step that they have reached.

    Args:
        options: what decides the result.
        settings: where and how to train.
        network: with its initial weights, on the CPU.

    Raises:
        InputError: when the device or the precision cannot be had.
    """

    def __init__(self, options: LoopOptions, settings: TrainingSettings, network: NetworkT) -> None:
        from lightning.fabric import Fabric

        self._options, self.settings = options, settings
        if settings.device == "cuda" and not torch.cuda.is_available():
            raise InputError("Training was to run on `cuda`, but PyTorch finds no GPU. Give --device cpu.")
        if settings.precision not in PRECISIONS:
            raise InputError(unknown_name("precision", settings.precision, PRECISIONS))
        self.fabric = Fabric(accelerator=settings.device, devices=1, precision=settings.precision)
        self.network = network
        self.average = copy.deepcopy(self.network).to(self.fabric.device).requires_grad_(requires_grad=False)
        optimizer = torch.optim.AdamW(self.network.parameters(), lr=options.learning_rate, weight_decay=0.0)
        self.model, self.optimizer = self.fabric.setup(
            torch.compile(self.network, dynamic=True) if settings.compile_network else self.network, optimizer
        )
        self.step = 0

    @abstractmethod
    def batch_maker(self, crystals: CrystalSet) -> Callable[[int], BatchT]:
        """Function that makes the batch of a step, on the CPU, from the seed and the step alone."""

    @abstractmethod
    def loss(self, batch: BatchT) -> Tensor:
        """Loss of `self.model` on `batch`, a scalar."""

    @abstractmethod
    def validate(self, batch: CrystalBatch) -> dict[str, Any]:
        """Metrics of the averaged network on clean crystals, by name, plain values."""

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
            report: called after every step with the step's number (from 1) and its metrics; those of `validate` are
                under `validation`.
        """
        started, first, smooth = time.monotonic(), self.step, math.nan
        with metrics_log(self.settings.out / METRICS_FILE, self.step) as write:
            for batch in self._batches(crystals):
                loss = self.optimise(batch)
                smooth = loss if math.isnan(smooth) else 0.99 * smooth + 0.01 * loss
                metrics: dict[str, Any] = {
                    "loss": loss,
                    "smooth_loss": smooth,
                    "rate": self._options.rate(self.step - 1),
                }
                last = self.step == self._options.steps
                if self.step % 50 == 0 or last:
                    metrics["steps_per_second"] = (self.step - first) / (time.monotonic() - started)
                    write({"step": self.step, **metrics})
                if validation is not None and (self.step % self.settings.validate_every == 0 or last):
                    metrics["validation"] = self.validate(validation)
                    write({"step": self.step, **metrics["validation"]})
                if self.step % self.settings.save_every == 0 or last:
                    self.save()
                report(self.step, metrics)

    def _batches(self, crystals: CrystalSet) -> Iterator[BatchT]:
        data = StepBatches(self.batch_maker(crystals), self.step, self._options.steps)
        workers = self.settings.workers
        loader = DataLoader(data, batch_size=None, num_workers=workers, prefetch_factor=4 if workers else None)
        for batch in loader:
            yield batch.to(self.fabric.device)

    def optimise(self, batch: BatchT) -> float:
        """One step of the optimiser on `batch`; the loss before it."""
        for group in self.optimizer.param_groups:
            group["lr"] = self._options.rate(self.step)
        loss = self.loss(batch)
        if not bool(torch.isfinite(loss)):
            raise RunDirectoryError(
                f"The loss is {float(loss)} at step {self.step}. Lower the learning rate, and start again from the "
                f"last saved state in {self.settings.out}."
            )
        self.fabric.backward(loss)
        self.fabric.clip_gradients(self.model, self.optimizer, max_norm=self._options.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        weight = 1 - min(self._options.average_decay, self.step / (self.step + 100))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), weight)
        return float(loss.detach())

    def save(self) -> None:
        """Write the state, through a temporary name."""
        out = self.settings.out
        state = {
            "options": json.dumps(self._options.to_dict()),
            "step": self.step,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            **self.more_state(),
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
                "--out, with --init-from the run's checkpoint to keep its weights."
            ) from error
        saved, wanted = json.loads(state["options"]), json.loads(json.dumps(self._options.to_dict()))
        different = [key for key in wanted if key not in {"steps", "decay"} and wanted[key] != saved.get(key)]
        if different:
            raise RunDirectoryError(
                f"{path} belongs to a run with other options: {', '.join(different)}. Give the same options to go on "
                "with it, or another --out."
            )
        if int(state["step"]) > self._options.steps:
            raise InputError(
                f"The run in {self.settings.out} has reached step {state['step']} already, --steps asks for "
                f"{self._options.steps}. Give at least {state['step']}, or another --out."
            )
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.restore_more(state)
        self.step = int(state["step"])

    def more_state(self) -> dict[str, Tensor]:
        """What a trainer keeps from step to step beyond network, average and optimiser, by name."""
        return {}

    def restore_more(self, state: dict[str, Any]) -> None:
        """Take back what `more_state` gave."""
