"""`chggen train diffcsp`: train a model of the DiffCSP family on structure data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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


@click.command("diffcsp")
@data_options(max_atoms=20)
@run_options(steps=50_000, learning_rate=1e-3)
@click.option(
    "--kind",
    type=click.Choice(["csp", "w_type"]),
    default="csp",
    show_default=True,
    help="csp: species are given; w_type: they are generated too.",
)
@click.option(
    "--batch-crystals", type=click.IntRange(min=1), default=256, show_default=True, help="Most crystals in a batch."
)
@click.option(
    "--batch-edges",
    type=click.IntRange(min=1),
    default=6400,
    show_default=True,
    help="Most pairs of atoms in a batch; a crystal of n atoms has n^2.",
)
@click.option("--hidden", type=int, default=256, show_default=True, help="Features of an atom.")
@click.option("--layers", type=int, default=4, show_default=True, help="Rounds of message passing.")
@click.option("--frequencies", type=int, default=64, show_default=True, help="Of the Fourier features.")
@click.option("--time-dim", type=int, default=128, show_default=True, help="Size of the time embedding, even.")
@click.option("--layer-norm/--no-layer-norm", default=True, show_default=True, help="Normalise before each layer.")
def command(
    *,
    data: tuple[Path, ...],
    out: Path,
    **given: Any,  # noqa: ANN401 (click's options, each with its type above)
) -> None:
    """Train DiffCSP's network on crystals, each in its Niggli-reduced cell.

    The run can be stopped at any time; the same command goes on with it, to the same end, step for step. OUT is a run
    directory in the layout of the published code (hparams.yaml, epoch=...ckpt, scalers), with metrics.jsonl and
    state.pt beside it; `--checkpoint` of the other commands takes it.
    """
    check_splits(given)
    from chggen_diffcsp.reduction import niggli_reduced
    from chggen_diffcsp.run_layout import write_run
    from chggen_diffcsp.training import Training, TrainingOptions
    from chggen_kit.training.options import TrainingSettings
    from chggen_kit.training.run_data import DataRules

    names = (*OPTIMISATION, "kind", "hidden", "layers", "frequencies", "time_dim")
    options = TrainingOptions(**{name: given[name] for name in (*names, "layer_norm", "batch_crystals", "batch_edges")})
    settings = TrainingSettings(out=out, **{name: given[name] for name in SETTINGS})
    rules = DataRules(options.network.max_atoms, niggli_reduced, {"trainer": "diffcsp"})
    prepared = prepare_run(data, out, given, trainer="diffcsp", rules=rules)
    training = Training(options, settings)

    def export() -> Path:
        return write_run(training, prepared)

    def describe(metrics: dict[str, Any]) -> str:
        return ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())

    carry_out(training, options, prepared, export=export, describe=describe)
