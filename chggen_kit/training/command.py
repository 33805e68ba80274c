"""What the commands `chggen train NAME` share: options, preparation of the data, and the run with its progress bar."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from chggen_kit.training.loop import TrainingLoop
    from chggen_kit.training.options import LoopOptions
    from chggen_kit.training.run_data import DataRules, RunData

_DIRECTORY = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path, exists=True)
_Function = TypeVar("_Function", bound=Callable[..., Any])
OPTIMISATION = ("steps", "seed", "learning_rate", "decay", "average_decay")
"""Options of the commands that are fields of `LoopOptions`."""
SETTINGS = ("device", "precision", "compile_network", "workers", "save_every", "validate_every", "init_from")
"""Options of the commands that are fields of `TrainingSettings`."""


def _file_or_none(ctx: click.Context, param: click.Parameter, value: str | None) -> Path | str | None:
    """A file that exists, or the word that stands for no file."""
    from chggen_kit.training.held_out import NOTHING

    return value if value in {None, NOTHING} else Path(_FILE.convert(value, param, ctx))


def data_options(*, max_atoms: int) -> Callable[[_Function], _Function]:
    """Options that say which structures to train on, for `prepare_run`.

    Args:
        max_atoms: default of the largest crystal.
    """
    return _all(
        click.option(
            "--data",
            "data",
            type=_FILE,
            multiple=True,
            required=True,
            help="Structures: .jsonl[.gz], .extxyz, .csv with a column cif, or a folder of CIF files. May be repeated.",
        ),
        click.option("--split", default="train", show_default=True, help="Rows to train on, where rows name a split."),
        click.option("--validation-split", default="val", show_default=True, help="Rows to measure the error on."),
        click.option(
            "--validation-data",
            type=_FILE,
            default=None,
            help="Structures to measure the error on (default: rows of the validation split in --data; where no row "
            "names a split, those of 5 % of the formulas).",
        ),
        click.option(
            "--held-out",
            metavar="FILE|none",
            callback=_file_or_none,
            default=None,
            help="Formulas never to train on, one a line (default: the shipped list of benchmark formulas); `none` "
            "leaves out no formula, not even those of validation rows, for data whose splits a benchmark prescribes.",
        ),
        click.option(
            "--max-atoms",
            type=click.IntRange(min=1),
            default=max_atoms,
            show_default=True,
            help="Largest crystal.",
        ),
        click.option(
            "--max-above-hull", type=float, default=0.1, show_default=True, help="Energy above the hull, eV/atom."
        ),
    )


def run_options(*, steps: int, learning_rate: float) -> Callable[[_Function], _Function]:
    """Options of the optimisation and of the way it is carried out.

    Args:
        steps: default number of them.
        learning_rate: default.
    """
    return _all(
        click.option("--out", type=_DIRECTORY, required=True, help="Output directory; a run found there is continued."),
        click.option("--steps", type=click.IntRange(min=1), default=steps, show_default=True, help="Optimiser steps."),
        click.option(
            "--seed",
            type=click.IntRange(min=0),
            default=0,
            show_default=True,
            help="Seed of weights, order and noise.",
        ),
        click.option("--learning-rate", type=float, default=learning_rate, show_default=True, help="At its highest."),
        click.option(
            "--decay",
            type=click.FloatRange(0, 1),
            default=1.0,
            show_default=True,
            help="Share of the steps, at the end, in which the learning rate falls.",
        ),
        click.option(
            "--average-decay",
            type=click.FloatRange(0, 1),
            default=0.999,
            show_default=True,
            help="Decay a step of the moving average of the weights.",
        ),
        click.option("--init-from", type=_FILE, default=None, help="Checkpoint whose weights to start from."),
        click.option(
            "--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True, help="Where to train."
        ),
        click.option(
            "--precision",
            type=click.Choice(["32-true", "bf16-mixed", "16-mixed"]),
            default="32-true",
            show_default=True,
            help="Lightning's name.",
        ),
        click.option("--compile/--no-compile", "compile_network", default=False, help="Use torch.compile."),
        click.option(
            "--workers", type=click.IntRange(min=0), default=0, show_default=True, help="Processes preparing batches."
        ),
        click.option("--save-every", type=click.IntRange(min=1), default=500, show_default=True, help="In steps."),
        click.option("--validate-every", type=click.IntRange(min=1), default=2000, show_default=True, help="In steps."),
    )


def _all(*options: Callable[[Any], Any]) -> Callable[[_Function], _Function]:
    def decorate(function: _Function) -> _Function:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def check_splits(given: dict[str, Any]) -> None:
    """Refuse to measure the error on the rows that are trained on.

    Raises:
        click.BadParameter: when the two splits are one.
    """
    if given["validation_data"] is None and given["validation_split"] == given["split"]:
        raise click.BadParameter("must differ from --split.", param_hint="--validation-split")


def prepare_run(data: Sequence[Path], out: Path, given: dict[str, Any], *, trainer: str, rules: DataRules) -> RunData:
    """Select the data of a run, or load those that `out` holds, and say so.

    Args:
        data: data sets to train on.
        out: the run's directory, made when it does not exist.
        given: the options of `data_options`.
        trainer: its name.
        rules: what the backend asks of its training set.

    Raises:
        InputError: when a data set or list cannot be read, or no structure is left.
        RunDirectoryError: when `out` holds something else, or a run on other data.
    """
    from chggen_kit.training.run_data import prepare
    from chggen_kit.training.run_directory import check_directory

    check_directory(out, trainer)
    out.mkdir(parents=True, exist_ok=True)
    prepared = prepare(data, out, given, rules)
    note = prepared.note
    if prepared.fresh:
        click.echo(f"Training on {note['used']} structures; left out: {note['left_out']}.")
        click.echo(f"Validation on {note['validation']} structures: {note['validation_source']}.")
    if prepared.validation is None:
        click.echo(
            "Warning: there is no validation row, so errors by noise level are not measured. Give --validation-data.",
            err=True,
        )
    return prepared


def carry_out(
    training: TrainingLoop[Any, Any],
    options: LoopOptions,
    prepared: RunData,
    *,
    export: Callable[[], Path],
    describe: Callable[[dict[str, Any]], str],
) -> None:
    """Train to the end, from the saved state if there is one, with progress on the terminal.

    Args:
        training: the run, at its first step.
        options: of the run.
        prepared: its data.
        export: writes the checkpoint, and returns its path; called when the state is saved, and at the end.
        describe: words for the validation metrics.
    """
    import torch

    from chggen_kit.training.loop import STATE_FILE

    if (training.settings.out / STATE_FILE).exists():
        training.resume()
        click.echo(f"Going on from step {training.step} in {training.settings.out}.")
    # Weights that have decayed to denormal numbers make a CPU crawl. The mode is the process's, so it is put back.
    torch.set_flush_denormal(True)
    try:
        _train(training, options, prepared, export, describe)
    finally:
        torch.set_flush_denormal(False)


def _train(
    training: TrainingLoop[Any, Any],
    options: LoopOptions,
    prepared: RunData,
    export: Callable[[], Path],
    describe: Callable[[dict[str, Any]], str],
) -> None:
    from rich.console import Console
    from rich.progress import Progress, TextColumn

    console = Console()
    columns = (*Progress.get_default_columns(), TextColumn("loss {task.fields[loss]}"))
    started, first = time.monotonic(), training.step
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("training", total=options.steps, completed=training.step, loss="-")

        def report(step: int, metrics: dict[str, Any]) -> None:
            progress.update(task, completed=step, loss=f"{metrics['smooth_loss']:.4f}")
            if "validation" in metrics:
                progress.console.print(f"step {step}: {describe(metrics['validation'])}", soft_wrap=True)
            if not console.is_terminal and step % 500 == 0:
                pace = (step - first) / (time.monotonic() - started)
                click.echo(f"step {step}/{options.steps}: loss {metrics['smooth_loss']:.4f}, {pace:.2f} steps/s")
            if step % training.settings.save_every == 0:
                export()

        training.run(prepared.crystals, prepared.validation, report=report)
    click.echo(f"Wrote {export()}.")
