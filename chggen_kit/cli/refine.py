"""`chggen refine`: the symmetry of a structure, or of the host in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from chggen_kit.cli._pipeline import FORMATS, FilePath, plugin_option, result_console
from chggen_kit.cli._shared import cli_state


@click.command("refine")
@click.argument("file", type=FilePath)
@click.option("--guests", metavar="El,El", help="Elements that are taken out first.")
@click.option("--out", type=FilePath, metavar="DIR", help="Directory for the symmetrised hosts.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="cif", show_default=True)
@plugin_option("refiner", "ladder", "Symmetrises the host")
def command(
    file: Path,
    guests: str | None,
    out: Path | None,
    form: Any,  # noqa: ANN401  one of FORMATS
    refiner: str | None,
    refiner_options: dict[str, Any],
) -> None:
    """Symmetrise the structure of FILE, without its guests.

    Lists the hosts that were found, best first, with the guests that belong into the cell of each.
    """
    from rich.console import Console

    from chggen_kit.workflow.refining import host_table, refine_file

    hosts = refine_file(
        file, guests, refiner or "ladder", refiner_options, registry=cli_state().registry(), out=out, form=form
    )
    console = result_console(Console)
    if not hosts:
        console.print(f"No symmetry above the excluded space groups was found in {file}.", soft_wrap=True)
        return
    console.print(host_table(hosts))
    if out is not None:
        console.print(f"Results: {out}", soft_wrap=True)
