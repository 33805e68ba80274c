"""`chggen export`: results as structure files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from chggen_kit.cli._pipeline import FORMATS, FilePath


@click.command("export")
@click.argument("source", type=FilePath)
@click.option("--format", "form", type=click.Choice(FORMATS), default="cif", show_default=True)
@click.option(
    "--which",
    type=click.Choice(["relaxed", "generated", "symmetrised"]),
    default="relaxed",
    show_default=True,
    help="As relaxed, as drawn (hosts bit for bit), or with the space group imposed in the standard cell.",
)
@click.option("--stage", type=click.Choice(["unconditional", "inpainted"]), help="Those of one stage only.")
@click.option("--top", type=click.IntRange(min=1), help="The lowest energies per atom only.")
@click.option("--out", type=FilePath, required=True, help="Directory; for extxyz also a file name.")
def command(source: Path, form: Any, which: Any, stage: Any, top: int | None, out: Path) -> None:  # noqa: ANN401  click's values
    """Write the structures of SOURCE, a run directory or its results.db, numbered by energy per atom."""
    from chggen_kit.workflow.export import export_results

    written = export_results(source, out, form, which=which, stage=stage, top=top)
    click.echo(f"{len(written)} file{'s' if len(written) != 1 else ''} written to {out}")
