"""`chggen report`: the results of a benchmark or a run as one page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from chggen_kit.cli._environments import environment_options, environment_settings
from chggen_kit.cli._pipeline import FilePath
from chggen_kit.cli._shared import cli_state


@click.command("report")
@click.argument("folder", type=FilePath, metavar="DIR")
@click.option("--out", type=FilePath, metavar="DIR", help="Where the page and its figures go [DIR itself].")
@click.option(
    "--diagrams/--no-diagrams", default=True, show_default=True, help="Draw phase diagrams, which load the potential."
)
@click.option(
    "--references",
    metavar="auto|mp|PATH",
    default="auto",
    show_default=True,
    help="Of phase diagrams: what the results were measured from.",
)
@click.option(
    "--environments",
    "reference",
    metavar="PATH|packaged",
    help="Compare local environments with these structures: a file, a folder, a run, or the packaged phases.",
)
@click.option("--generated", "as_generated", is_flag=True, help="Compare structures as drawn [as relaxed].")
@environment_options()
def command(
    folder: Path,
    out: Path | None,
    diagrams: bool,
    references: str,
    reference: str | None,
    as_generated: bool,
    **values: Any,  # noqa: ANN401  click's values
) -> None:
    """Write report.html, and its figures as PNG and SVG, for DIR: a benchmark or a run.

    The page opens from disk and loads nothing. It can be made again at any time, and replaces the one before.
    """
    from chggen_kit.report.write import write_report

    state = cli_state()
    with state.make_progress("report") as progress:
        written = write_report(
            folder,
            out=out,
            registry=state.registry() if diagrams else None,
            references=references,
            reference=reference,
            which="generated" if as_generated else "relaxed",
            settings=environment_settings(**values),
            progress=progress,
        )
    click.echo(f"Report: {written.page} ({len(written.figures) // 2} figures beside it)")
