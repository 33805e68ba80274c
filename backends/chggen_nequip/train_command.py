"""`chggen train nequip`: train the score model on structure data sets."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from chggen_kit.state import CrystalBatch
    from chggen_nequip.dataset import CrystalSet
    from chggen_nequip.network import Architecture
    from chggen_nequip.training import Training, TrainingOptions

_PATH = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path, exists=True)


@click.command("nequip")
@click.option(
    "--data",
    "data",
    type=_FILE,
    multiple=True,
    required=True,
    help="Structures: .jsonl[.gz], .extxyz, .csv with a column cif, or a folder of CIF files. May be repeated.",
)
@click.option("--out", type=_PATH, required=True, help="Output directory; a run found there is continued.")
@click.option("--steps", type=click.IntRange(min=1), default=30_000, show_default=True, help="Optimiser steps.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of weights, order and noise."
)
@click.option("--split", default="train", show_default=True, help="Rows to train on, where rows name a split.")
@click.option("--validation-split", default="val", show_default=True, help="Rows to measure the error on.")
@click.option(
    "--validation-data",
    type=_FILE,
    default=None,
    help="Structures to measure the error on (default: rows of the validation split in --data; where no row names a "
    "split, those of 5 % of the formulas).",
)
@click.option(
    "--held-out",
    type=_FILE,
    default=None,
    help="Formulas never to train on, one a line (default: the shipped list of benchmark formulas).",
)
@click.option("--max-atoms", type=click.IntRange(min=1), default=32, show_default=True, help="Largest crystal.")
@click.option("--max-above-hull", type=float, default=0.1, show_default=True, help="Energy above the hull, eV/atom.")
@click.option("--batch-atoms", type=click.IntRange(min=1), default=128, show_default=True, help="Atoms in a batch.")
@click.option("--hidden", default="64,32,16", show_default=True, help="Channels for l = 0, 1, ... .")
@click.option("--layers", type=click.IntRange(min=1), default=4, show_default=True, help="Interaction layers.")
@click.option("--cutoff", type=click.FloatRange(min=0, min_open=True), default=5.0, show_default=True, help="In Å.")
@click.option(
    "--product-channels",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Channels of the products of messages with themselves.",
)
@click.option("--sigma-min", type=click.FloatRange(min=0, min_open=True), default=0.01, show_default=True, help="In Å.")
@click.option("--sigma-max", type=click.FloatRange(min=0, min_open=True), default=3.0, show_default=True, help="In Å.")
@click.option(
    "--noise-median",
    type=click.FloatRange(min=0, min_open=True),
    default=None,
    help="Median in Å of log-normal noise levels [log-uniform ones].",
)
@click.option(
    "--noise-spread",
    type=click.FloatRange(min=0, min_open=True),
    default=1.2,
    show_default=True,
    help="Standard deviation of log sigma of log-normal levels.",
)
@click.option(
    "--weighting",
    type=click.Choice(["none", "level"]),
    default="none",
    show_default=True,
    help="`level`: every noise level counts alike, whatever its loss.",
)
@click.option(
    "--average-decay",
    type=click.FloatRange(0, 1),
    default=0.999,
    show_default=True,
    help="Decay a step of the moving average of the weights.",
)
@click.option("--learning-rate", type=float, default=2e-3, show_default=True, help="At its highest.")
@click.option(
    "--decay",
    type=click.FloatRange(0, 1),
    default=1.0,
    show_default=True,
    help="Share of the steps, at the end, in which the learning rate falls.",
)
@click.option("--init-from", type=_FILE, default=None, help="Checkpoint whose weights to start from.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True, help="Where to train.")
@click.option(
    "--precision",
    type=click.Choice(["32-true", "bf16-mixed", "16-mixed"]),
    default="32-true",
    show_default=True,
    help="Lightning's name.",
)
@click.option("--compile/--no-compile", "compile_network", default=False, help="Use torch.compile.")
@click.option(
    "--workers", type=click.IntRange(min=0), default=0, show_default=True, help="Processes preparing batches."
)
@click.option("--save-every", type=click.IntRange(min=1), default=500, show_default=True, help="In steps.")
@click.option("--validate-every", type=click.IntRange(min=1), default=2000, show_default=True, help="In steps.")
def command(
    *,
    data: tuple[Path, ...],
    out: Path,
    hidden: str,
    **given: Any,  # noqa: ANN401 (click's options, each with its type above)
) -> None:
    """Train the equivariant score network by denoising.

    The run can be stopped at any time; the same command goes on with it, to the same end, step for step. OUT holds
    metrics.jsonl (loss, and the error per noise level relative to predicting zero), state.pt, and
    checkpoint.safetensors, which `--checkpoint` of the other commands takes.
    """
    import torch

    if given["validation_data"] is None and given["validation_split"] == given["split"]:
        raise click.BadParameter("must differ from --split.", param_hint="--validation-split")
    from chggen_nequip.run_data import prepare
    from chggen_nequip.run_directory import check_directory

    if not given["sigma_min"] < given["sigma_max"]:
        raise click.BadParameter("must be above --sigma-min.", param_hint="--sigma-max")
    from chggen_nequip.training import Training, TrainingOptions, TrainingSettings

    options = TrainingOptions(
        architecture=_architecture(hidden, given["layers"], given["cutoff"], given["product_channels"]),
        **{
            name: given[name]
            for name in (
                "steps",
                "seed",
                "learning_rate",
                "decay",
                "batch_atoms",
                "sigma_min",
                "sigma_max",
                "noise_median",
                "noise_spread",
                "weighting",
                "average_decay",
            )
        },
    )
    settings = TrainingSettings(
        out=out,
        **{
            name: given[name]
            for name in (
                "device",
                "precision",
                "compile_network",
                "workers",
                "save_every",
                "validate_every",
                "init_from",
            )
        },
    )
    check_directory(out)
    out.mkdir(parents=True, exist_ok=True)
    crystals, validation, note, fresh = prepare(data, out, given)
    if fresh:
        click.echo(f"Training on {note['used']} structures; left out: {note['left_out']}.")
        click.echo(f"Validation on {note['validation']} structures: {note['validation_source']}.")
    if validation is None:
        click.echo(
            "Warning: there is no validation row, so errors by noise level are not measured. Give --validation-data.",
            err=True,
        )
    training = Training(options, settings)
    if (out / "state.pt").exists():
        training.resume()
        click.echo(f"Going on from step {training.step} in {out}.")
    facts = {"data": [p.name for p in data], "crystals": len(crystals)}
    # Weights that have decayed to denormal numbers make a CPU crawl. The mode is the process's, so it is put back.
    torch.set_flush_denormal(True)
    try:
        _train(training, options, crystals, validation, facts)
    finally:
        torch.set_flush_denormal(False)


def _train(
    training: Training,
    options: TrainingOptions,
    crystals: CrystalSet,
    validation: CrystalBatch | None,
    facts: dict[str, Any],
) -> None:
    from rich.console import Console
    from rich.progress import Progress, TextColumn

    from chggen_nequip.training import CHECKPOINT_FILE

    console = Console()
    columns = (*Progress.get_default_columns(), TextColumn("loss {task.fields[loss]}"))
    started, first = time.monotonic(), training.step
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("training", total=options.steps, completed=training.step, loss="-")

        def report(step: int, metrics: dict[str, Any]) -> None:
            progress.update(task, completed=step, loss=f"{metrics['smooth_loss']:.4f}")
            if "relative_errors" in metrics:
                line = f"step {step}: relative errors by sigma in Å {json.dumps(metrics['relative_errors'])}"
                progress.console.print(line, soft_wrap=True)
            if not console.is_terminal and step % 500 == 0:
                pace = (step - first) / (time.monotonic() - started)
                click.echo(f"step {step}/{options.steps}: loss {metrics['smooth_loss']:.4f}, {pace:.2f} steps/s")
            if step % training.settings.save_every == 0:
                training.export(training.settings.out / CHECKPOINT_FILE, crystals, facts)

        training.run(crystals, validation, report=report)
    path = training.settings.out / CHECKPOINT_FILE
    training.export(path, crystals, facts)
    click.echo(f"Wrote {path}.")


def _architecture(hidden: str, layers: int, cutoff: float, product_channels: int) -> Architecture:
    from chggen_kit.errors import InputError
    from chggen_nequip.network import Architecture

    try:
        return Architecture(hidden=_channels(hidden), layers=layers, cutoff=cutoff, product_channels=product_channels)
    except ValueError as error:
        raise InputError(f"There is no network with these options: {error}.") from error


def _channels(hidden: str) -> tuple[int, ...]:
    try:
        channels = tuple(int(part) for part in hidden.split(","))
    except ValueError:
        channels = ()
    if not channels or min(channels) < 1:
        raise click.BadParameter(
            f"{hidden!r} is not a list of positive numbers such as 64,32,16.", param_hint="--hidden"
        )
    return channels
