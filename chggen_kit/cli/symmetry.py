"""`chggen symmetry`: how symmetric structures are, and at what tolerance."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from chggen_kit.cli._pipeline import FilePath, relaxation_options, result_console, settings_of
from chggen_kit.cli._shared import cli_state


@click.command("symmetry")
@click.argument("targets", nargs=-1, type=FilePath, metavar="FILE|RUN...")
@click.option("--generated", "as_generated", is_flag=True, help="Structures of runs as drawn [as relaxed].")
@click.option("--guests", metavar="El,El", help="Take these elements out first: the symmetry of the hosts alone.")
@click.option("--relax-hosts", is_flag=True, help="With --guests: relax the hosts without them first (a baseline).")
@relaxation_options()
@click.option("--moyopy/--no-moyopy", default=None, help="Let moyopy name the groups as well [where it is installed].")
@click.option(
    "--time-limit",
    "time_limit_s",
    type=click.FloatRange(min=0, min_open=True),
    default=5.0,
    show_default=True,
    help="Seconds for one answer of moyopy.",
)
@click.option("--top", type=click.IntRange(min=0), default=40, show_default=True, help="Structures listed.")
@click.option("--out", type=FilePath, metavar="FILE", help="Draw the shares: .png, .svg or .pdf.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, with all structures.")
def command(
    targets: tuple[Path, ...],
    as_generated: bool,
    moyopy: bool | None,
    time_limit_s: float,
    top: int,
    out: Path | None,
    as_json: bool,
    guests: str | None,
    relax_hosts: bool,
    **values: Any,  # noqa: ANN401  click's values
) -> None:
    """Report the symmetry of structure files, or of the structures of runs.

    Space groups over tolerances from 0.001 to 0.3 Å, the smallest displacement of an atom that makes each group exact,
    and the share of structures above P-1, and above P-1 and Pm.
    """
    from rich.console import Console

    from chggen_kit.workflow.config import RelaxConfig, build_config
    from chggen_kit.workflow.formula import check_symbol
    from chggen_kit.workflow.hosts_only import HostRelaxation
    from chggen_kit.workflow.symmetry_files import report_on
    from chggen_kit.workflow.symmetry_tables import check_target, draw, notes, share_table, structure_table

    if out is not None:
        check_target(out)
    state = cli_state()
    relaxation = None
    if relax_hosts:
        registry = state.registry()
        relaxation = HostRelaxation(
            build_config(RelaxConfig, settings_of(values, ("potential", "relaxer")), registry), registry
        )
    with state.make_progress("symmetry") as progress:
        report = report_on(
            targets,
            as_generated=as_generated,
            guests=[check_symbol(one.strip(), "--guests") for one in guests.split(",")] if guests else (),
            relaxation=relaxation,
            moyopy=moyopy,
            time_limit_s=time_limit_s,
            progress=progress,
        )
    if out is not None:
        draw(report, out)
    if as_json:
        click.echo(json.dumps(report.as_json(), indent=2))
        return
    console = result_console(Console)
    if top and report.ladders:
        console.print(structure_table(report, top))
    console.print(share_table(report))
    for line in notes(report):
        console.print(line, soft_wrap=True)
    if out is not None:
        console.print(f"Picture: {out}", soft_wrap=True)
