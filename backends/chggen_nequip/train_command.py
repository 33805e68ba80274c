"""`chggen train nequip`: train the score model on structure data sets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chggen_kit.training.command import (
    OPTIMISATION,
    SETTINGS,
    carry_out,
    check_splits,
    data_options,
    prepare_run,
    run_options,
)

if TYPE_CHECKING:
    from chggen_nequip.network import Architecture


@click.command("nequip")
@data_options(max_atoms=32)
@run_options(steps=30_000, learning_rate=2e-3)
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
    check_splits(given)
    if not given["sigma_min"] < given["sigma_max"]:
        raise click.BadParameter("must be above --sigma-min.", param_hint="--sigma-max")
    from chggen_kit.training.options import TrainingSettings
    from chggen_kit.training.run_data import DataRules
    from chggen_nequip.network import MAX_ATOMIC_NUMBER
    from chggen_nequip.training import CHECKPOINT_FILE, Training, TrainingOptions

    options = TrainingOptions(
        architecture=_architecture(hidden, given["layers"], given["cutoff"], given["product_channels"]),
        **{
            name: given[name]
            for name in (
                *OPTIMISATION,
                "batch_atoms",
                "sigma_min",
                "sigma_max",
                "noise_median",
                "noise_spread",
                "weighting",
            )
        },
    )
    settings = TrainingSettings(out=out, **{name: given[name] for name in SETTINGS})
    prepared = prepare_run(data, out, given, trainer="nequip", rules=DataRules(MAX_ATOMIC_NUMBER))
    training = Training(options, settings)
    facts = {"data": [p.name for p in data], "crystals": len(prepared.crystals)}

    def export() -> Path:
        path = out / CHECKPOINT_FILE
        training.export(path, prepared.crystals, facts)
        return path

    def describe(metrics: dict[str, Any]) -> str:
        return f"relative errors by sigma in Å {json.dumps(metrics['relative_errors'])}"

    carry_out(training, options, prepared, export=export, describe=describe)


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
