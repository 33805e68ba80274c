"""Small plug-ins for the tests of the manager; they draw and relax nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import click
from pydantic import BaseModel, Field

from chggen_kit import hookimpl
from chggen_kit.errors import InputError
from chggen_kit.interfaces import (
    Potential,
    Progress,
    Relaxation,
    Relaxer,
    Sampler,
    SampleResult,
    SamplingTask,
    ScoreModel,
)


class ToyOptions(BaseModel):
    steps: int = Field(default=10, ge=1, description="Levels of noise")
    mode: str = "plain"


class ToySampler(Sampler):
    def __init__(self, options: ToyOptions) -> None:
        self.options = options

    def sample(
        self, model: ScoreModel | None, task: SamplingTask, *, seed: int, progress: Progress | None = None
    ) -> SampleResult:
        del model, seed, progress
        return SampleResult(task.templates, (None,) * task.templates.n_crystals, 0)


class ToyRelaxer(Relaxer):
    def __init__(self, potential: Potential) -> None:
        self.potential = potential

    def relax(self, structures: Sequence[Any], **_: Any) -> list[Relaxation]:
        del structures
        return []


@click.command()
@click.option("--epochs", default=1)
def train_toy(epochs: int) -> None:
    """Train the toy."""
    click.echo(f"trained for {epochs}")


def build_relaxer(*, potential: Potential) -> ToyRelaxer:
    return ToyRelaxer(potential)


def refuse(options: ToyOptions) -> ToySampler:
    raise InputError(f"{options.mode} is not for me.")


def crash(options: ToyOptions) -> ToySampler:
    raise ZeroDivisionError(options.mode)


def plugin(kind: str, *calls: tuple[tuple[Any, ...], dict[str, Any]], name: str = "toy") -> ModuleType:
    """Plug-in whose hook of `kind` (as in the hook's name) calls `register` with each of `calls`."""

    def implementation(register: Callable[..., None]) -> None:
        for args, kwargs in calls:
            register(*args, **kwargs)

    module = ModuleType(name)
    setattr(module, f"chggen_kit_register_{kind}", hookimpl(implementation))
    return module


def call(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return args, kwargs
