"""`chggen environments`: local environments of structures compared with those of references."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from chggen_kit.cli._environments import environment_options, environment_settings
from chggen_kit.cli._pipeline import FilePath, result_console
from chggen_kit.cli._shared import cli_state


@click.command("environments")
@click.argument("structures", type=FilePath, metavar="STRUCTURES")
@click.argument("reference", metavar="REFERENCE|packaged")
@click.option("--generated", "as_generated", is_flag=True, help="Structures of runs as drawn [as relaxed].")
@environment_options()
@click.option("--out", type=FilePath, metavar="DIR", help="Draw both figures into this folder, as PNG and SVG.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, with the distributions.")
def command(
    structures: Path,
    reference: str,
    as_generated: bool,
    out: Path | None,
    as_json: bool,
    **values: Any,  # noqa: ANN401  click's values
) -> None:
    """Compare the local environments of STRUCTURES with those of REFERENCE.

    Both are a structure file, a folder of them, a run or a benchmark; REFERENCE may be `packaged`: the phases of the
    same elements that the kit ships. Radial distribution functions and coordination numbers each give a Wasserstein
    distance, beside which stands what random halves of the references differ by.
    """
    from rich.console import Console

    from chggen_kit.metrics.environments import EnvironmentSet, compare
    from chggen_kit.report.environment_sets import reference_structures, structures_in
    from chggen_kit.report.environment_table import comparison_table
    from chggen_kit.report.write import draw_environments

    settings = environment_settings(**values)
    ours = structures_in(structures, "generated" if as_generated else "relaxed")
    theirs, name = reference_structures(reference, ours)
    with cli_state().make_progress("environments") as progress:
        sets = [EnvironmentSet.of(one, settings, progress) for one in (ours, theirs)]
    comparison = compare(*sets)
    written = [] if out is None else draw_environments(comparison, out)
    if as_json:
        click.echo(json.dumps({**comparison.as_json(), "reference": name}, indent=2))
        return
    console = result_console(Console)
    console.print(comparison_table(comparison, name))
    if written:
        console.print(f"Figures: {', '.join(str(one) for one in written)}", soft_wrap=True)
