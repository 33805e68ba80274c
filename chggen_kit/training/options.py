"""What decides a training run (optimiser, schedule, seed), and how and where it is carried out."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from chggen_kit.errors import InputError
from chggen_kit.training.checks import check_number

PRECISIONS: tuple[Literal["32-true", "bf16-mixed", "16-mixed"], ...] = ("32-true", "bf16-mixed", "16-mixed")
"""Fabric's names of those that keep the weights, and so the checkpoint, in float32."""


@dataclass(frozen=True, kw_only=True)
class LoopOptions:
    """What decides the optimisation; a trainer's own options derive from it.

    Attributes:
        steps: total number of optimiser steps.
        seed: of the initial weights, the order of the data and the noise.
        learning_rate: at its highest.
        warm_up: steps of linear increase from zero.
        decay: share of `steps`, at the end, in which the rate falls along a cosine to 2 %.
        clip: largest norm of the gradient.
        average_decay: decay a step of the moving average of the weights.

    Raises:
        InputError: for a value out of range.
    """

    steps: int = 30_000
    seed: int = 0
    learning_rate: float = 1e-3
    warm_up: int = 200
    decay: float = 1.0
    clip: float = 1.0
    average_decay: float = 0.999

    def __post_init__(self) -> None:
        try:
            self.check()
        except (TypeError, ValueError) as error:
            raise InputError(f"The training options cannot be used: {error}.") from error

    def check(self) -> None:
        """Check the values.

        Raises:
            TypeError: for one that is no number.
            ValueError: for one out of range.
        """
        check_number("learning_rate", self.learning_rate, above=0)
        check_number("clip", self.clip, above=0)
        check_number("decay", self.decay, low=0, high=1)
        check_number("average_decay", self.average_decay, low=0, high=1)

    def rate(self, step: int) -> float:
        """Learning rate of `step` (from 0)."""
        decay_steps = max(self.decay * self.steps, 1)
        progress = min(max((step - (self.steps - decay_steps)) / decay_steps, 0), 1)
        falling = 0.02 + 0.98 * (1 + math.cos(math.pi * progress)) / 2
        return self.learning_rate * min((step + 1) / max(self.warm_up, 1), 1) * falling

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


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
