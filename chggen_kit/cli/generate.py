"""`chggen generate`: a composition in, ranked candidates out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from chggen_kit.cli._annealing import anneal_options, anneal_settings
from chggen_kit.cli._drawing import read_drawing, start_options, symmetry_of_draws
from chggen_kit.cli._judging import seat_judges
from chggen_kit.cli._pipeline import parse_whole_numbers, plugin_option, run_and_print, run_options, settings_of
from chggen_kit.cli._shared import cli_state

_PLUGINS = ("backend", "sampler", "unconditional_sampler", "refiner", "potential", "relaxer")


@click.command("generate")
@click.argument("formula", required=False)
@click.option("--composition", metavar="FORMULA", help="The same as FORMULA.")
@click.option(
    "--chemical-system",
    metavar="El-El",
    help="In place of FORMULA: let a backend that can (mattergen) make compositions of these elements, e.g. Zn-P-S.",
)
@click.option(
    "--atoms", metavar="N,N", help="With --chemical-system: atoms of the starts, in turn [as in the training set]."
)
@click.option("--formula-units", metavar="N,N", help="Numbers of formula units in the cell; each gets -n starts [1].")
@click.option("-n", "n", type=int, help="Starts (cells) for each number of formula units [8].")
@click.option(
    "--guests",
    metavar="El,El",
    help="Elements that are taken out and drawn again [the cation with the broadest coordination].",
)
@click.option("--inpaintings", type=int, help="Structures drawn into each host [3].")
@click.option("--volume-per-atom", type=float, help="Å³ per atom of the cells [estimated from the composition].")
@click.option(
    "--lattice",
    type=click.Choice(["search", "generate"]),
    help="Random cells, or cells drawn by the score model [generate where it can].",
)
@click.option(
    "--workflow",
    type=click.Choice(["paper", "anneal"]),
    help="Take out and inpaint guests, or project on near symmetric structures and anneal those [paper].",
)
@symmetry_of_draws()
@start_options(whole=True)
@anneal_options()
@run_options()
@plugin_option("unconditional-sampler", "predictor-corrector", "Draws whole structures")
@plugin_option("refiner", "ladder", "Symmetrises the hosts")
def command(
    formula: str | None,
    composition: str | None,
    out: Path | None,
    top: int,
    **values: Any,  # noqa: ANN401  click's values
) -> None:
    """Predict structures of FORMULA, e.g. ZnP2S6.

    Whole structures are drawn, in random cells or in cells that the score model draws with them, and relaxed. Workflow
    `paper`: the guests are taken out, the host that is left is symmetrised, guests are drawn into it again, and the
    result is relaxed. Workflow `anneal`: what was relaxed is projected on near symmetric structures, and the best are
    noised and denoised within their symmetry. A run that was interrupted goes on when the same command is given again.
    """
    from chggen_kit.errors import InputError
    from chggen_kit.workflow.config import GenerateConfig, build_config
    from chggen_kit.workflow.formula import atom_counts, parse_composition
    from chggen_kit.workflow.pipeline import default_directory, run_generate

    settings = settings_of(values, _PLUGINS)
    read_drawing(settings)
    if settings["start_from"] is not None and formula is None and composition is None:
        formula = settings["start_from"].structure().composition.formula.replace(" ", "")
    if sum(given is not None for given in (formula, composition, settings["chemical_system"])) != 1:
        raise InputError("Give one of FORMULA (or --composition) and --chemical-system, for example: generate ZnP2S6.")
    formula = composition if formula is None else formula
    settings["atoms"] = parse_whole_numbers(settings["atoms"], "--atoms")
    settings["anneal"] = anneal_settings(settings)
    settings["formula_units"] = parse_whole_numbers(settings["formula_units"], "--formula-units")
    config = build_config(GenerateConfig, {"formula": formula, **settings}, cli_state().registry())
    directory = default_directory(config, out)
    symbols = config.chemical_system if config.formula is None else atom_counts(parse_composition(config.formula))
    bench = seat_judges(values, symbols, config.potential)
    run_and_print(
        lambda registry, progress: run_generate(config, directory, registry=registry, progress=progress),
        top,
        description=f"generate {formula or settings['chemical_system']}",
        bench=bench,
    )
