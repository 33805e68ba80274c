"""`chggen evaluate`: how good a backend is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chggen_kit.cli._pipeline import (
    FilePath,
    plugin_option,
    relaxation_options,
    result_console,
    settings_of,
)
from chggen_kit.cli._shared import assignments_option, checkpoint_option, cli_state, out_option, seed_option
from chggen_kit.errors import InputError
from chggen_kit.evaluation import EVALUATIONS

if TYPE_CHECKING:
    from chggen_kit.evaluation.report import Report

_PLUGINS = ("sampler", "unconditional_sampler", "potential", "relaxer")


@click.command("evaluate")
@click.argument("backend")
@click.option("--data", type=FilePath, required=True, help="Structures that name their split (JSON lines, CSV, ...).")
@out_option()
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(list(EVALUATIONS)),
    help="Run this evaluation alone; may be repeated [all of them].",
)
@click.option("--split", help="Rows that are used: choose on val, measure once on test [test].")
@click.option("--max-atoms", type=int, help="Largest structure of denoising and recovery [20].")
@seed_option()
@checkpoint_option()
@assignments_option("--backend-option", what="backend")
@click.option("--rows", type=int, help="denoising: crystals [512].")
@click.option("--levels", metavar="T,T", help="denoising: noise levels, in the model's unit of time [six of them].")
@click.option("--compounds", type=int, help="recovery: known compounds [200].")
@click.option("--samples", type=int, help="recovery: drawn by the model, and by each baseline, for a compound [10].")
@click.option(
    "--baselines", metavar="NAME,NAME", help="recovery: samplers to compare with; '' for none [random,voronoi]."
)
@plugin_option("sampler", "repaint", "recovery: draws the guests")
@relaxation_options()
@click.option(
    "--relax/--no-relax", default=True, show_default=True, help="recovery: relax samples; else compare them as drawn."
)
@click.option(
    "--references",
    type=int,
    help="csp: structures with a formula of their own, beside the 15 tagged ones; 0: every row of the split [100].",
)
@click.option("--polymorphs", type=int, help="csp: formulas with several structures, all taken [20].")
@click.option("--csp-max-atoms", type=int, help="csp: largest structure [12].")
@click.option("--per-reference", type=int, help="csp: predictions by each method for a reference [20].")
@click.option(
    "--cells",
    metavar="NAME,NAME",
    help="csp: where cells come from: given, searched, generated [all that the model can do].",
)
@click.option("--csp-baselines", metavar="NAME,NAME", help="csp: samplers to compare with; '' for none [random].")
@click.option("--csp-relax", is_flag=True, help="csp: score predictions after relaxation as well.")
@plugin_option("unconditional-sampler", "predictor-corrector", "csp: draws whole structures")
@click.option("--micro-batch-atoms", type=int, help="recovery, csp: atoms drawn together [256].")
@click.option("--threads", type=click.IntRange(min=1), help="Threads [torch's choice, recorded].")
def command(
    backend: str,
    data: Path,
    out: Path,
    only: tuple[str, ...],
    backend_options: dict[str, Any],
    levels: str | None,
    baselines: str | None,
    csp_baselines: str | None,
    cells: str | None,
    **values: Any,  # noqa: ANN401  click's values
) -> None:
    """Measure how good the score model BACKEND is on known structures.

    denoising: how well one network call tells where noise went, by noise level and chemical family.
    recovery: how often guests that were taken out of known compounds come back, against placements without a model.
    csp: how often known structures are predicted from their composition, in their own cell or in cells that are
    searched or generated, against random placement.

    DIR gets one NAME.json for each evaluation, with intervals by bootstrap over compounds. An evaluation that was
    interrupted goes on when the same command is given again.
    """
    from rich.console import Console

    from chggen_kit.evaluation.config import EvaluateConfig
    from chggen_kit.evaluation.suite import evaluate
    from chggen_kit.workflow.config import build_config

    state = cli_state()
    settings = {
        **settings_of(values, _PLUGINS),
        "backend": {"name": backend, "options": backend_options},
        "levels": None if levels is None else _numbers(levels),
        "baselines": _names(baselines),
        "csp_baselines": _names(csp_baselines),
        "cells": _names(cells),
    }
    config = build_config(EvaluateConfig, settings, state.registry())
    console = result_console(Console)

    def show(report: Report) -> None:
        for one in report.tables():
            console.print(one)

    with state.make_progress(f"evaluate {backend}") as progress:
        evaluate(config, data, out, only=only, registry=state.registry(), progress=progress, then=show)
    console.print(f"Results: {out}", soft_wrap=True)


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def _numbers(text: str) -> list[float]:
    try:
        return [float(entry) for entry in text.split(",")]
    except ValueError as error:
        raise InputError(f"Cannot read --levels {text!r}: write numbers with commas, as in 0.1,0.3.") from error
