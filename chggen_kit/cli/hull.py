"""`chggen hull`: the phase diagram of a chemical system."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from chggen_kit.cli._pipeline import FilePath, references_options, result_console
from chggen_kit.cli._shared import assignments_option, cli_state, potential_option


@click.command("hull")
@click.argument("targets", nargs=-1, metavar="[SYSTEM|FILE]...")
@click.option("--candidates", "run", type=FilePath, metavar="RUN", help="Place the structures of a run, too.")
@potential_option()
@assignments_option("--potential-option", what="potential")
@references_options()
@click.option(
    "--out", type=FilePath, metavar="FILE", help="Draw the diagram: .png, .svg or .pdf; two or three elements."
)
@click.option("--top", type=click.IntRange(min=1), default=20, show_default=True, help="Candidates listed.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(
    targets: tuple[str, ...],
    run: Path | None,
    potential: str | None,
    potential_options: dict[str, Any],
    out: Path | None,
    top: int,
    as_json: bool,
    **values: Any,  # noqa: ANN401  click's values
) -> None:
    """Show the phase diagram of SYSTEM, e.g. Zn-P-S.

    FILES, and folders of files, hold structures that are relaxed and placed in it. E_f is the formation energy, E_hull
    the distance from the hull, E_d that from the hull of the references alone; for a phase on that hull, E_d is
    measured against the other compositions. With --candidates the potential is that of the run.
    """
    from rich.console import Console

    from chggen_kit.workflow.config import PluginChoice
    from chggen_kit.workflow.phase_diagram import HullRequest, diagram_of, diagram_table
    from chggen_kit.workflow.phase_plot import check_target, plot_diagram

    if out is not None:
        check_target(out)
    state = cli_state()
    registry = state.registry()
    choice: PluginChoice | None = None
    if potential is not None or potential_options:
        choice = PluginChoice(name=potential or registry.default_name("potential"), options=potential_options)
    given = {name: value for name, value in values.items() if value is not None}
    request = HullRequest(targets, run, choice, **given)
    with state.make_progress("hull") as progress:
        diagram = diagram_of(request, registry, progress)
    if out is not None:
        plot_diagram(diagram, out)
    if as_json:
        click.echo(json.dumps(diagram.as_json(), indent=2))
        return
    console = result_console(Console)
    console.print(diagram_table(diagram, top))
    if out is not None:
        console.print(f"Diagram: {out}", soft_wrap=True)
