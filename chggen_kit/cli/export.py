"""`chggen export`: results as structure files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from chggen_kit.cli._pipeline import FORMATS, FilePath, stage_option


@click.command("export")
@click.argument("source", type=FilePath)
@click.option("--format", "form", type=click.Choice([*FORMATS, "csv"]), default="cif", show_default=True)
@click.option(
    "--which",
    type=click.Choice(["relaxed", "generated", "symmetrised"]),
    default="relaxed",
    show_default=True,
    help="As relaxed, as drawn (hosts bit for bit), or with the space group imposed in the standard cell.",
)
@stage_option()
@click.option("--top", type=click.IntRange(min=1), help="The best only, by E_d, or energy per atom.")
@click.option("--out", type=FilePath, required=True, help="Directory; for extxyz and csv also a file name.")
def command(source: Path, form: Any, which: Any, stage: Any, top: int | None, out: Path) -> None:  # noqa: ANN401  click's values
    """Write the structures of SOURCE, a run directory or its results.db, numbered by E_d, or energy per atom.

    The format csv is a table of all that is known of them, without the structures.
    """
    from chggen_kit.workflow.export import export_results, export_table

    if form == "csv":
        click.echo(f"Table written to {export_table(source, out, stage=stage, top=top)}")
        return
    written = export_results(source, out, form, which=which, stage=stage, top=top)
    click.echo(f"{len(written)} file{'s' if len(written) != 1 else ''} written to {out}")
