"""`chggen plugins new`: a package of one's own to begin with."""

from __future__ import annotations

from pathlib import Path

import click

from chggen_kit.cli.plugins.check import CHECKED_KINDS


@click.command(name="new")
@click.argument("name")
@click.option("--kind", type=click.Choice(CHECKED_KINDS), required=True, help="What the plug-in is to be.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    default=None,
    help="Folder to write into, new or empty [chggen-NAME].",
)
def new_command(name: str, kind: str, out: Path | None) -> None:
    """Write a package with a plug-in NAME that works, keeps every law, and marks the lines to make yours.

    The package has a pyproject with its entry point, one module, and a test that runs the checks of its kind.
    """
    from chggen_kit.plugins.scaffold import write_package

    package = write_package(name, kind, out)
    click.echo(f"Written: {package.folder}")
    click.echo(f"  yours to fill in, between the marks: {package.module}")
    click.echo("Then:")
    click.echo(f"  pip install -e {package.folder}")
    click.echo(f"  chggen plugins check {package.name}")
