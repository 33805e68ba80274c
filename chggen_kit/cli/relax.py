"""`chggen relax`: structures to their nearest minimum."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from chggen_kit.cli._pipeline import (
    FORMATS,
    FilePath,
    policy_options,
    relaxation_options,
    result_console,
    settings_of,
    symmetry_options,
)
from chggen_kit.cli._shared import cli_state
from chggen_kit.errors import InputError


@click.command("relax")
@click.argument("files", type=FilePath, nargs=-1, required=True)
@click.option("--out", type=FilePath, metavar="DIR", required=True, help="Directory for the relaxed structures.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="cif", show_default=True)
@relaxation_options()
@policy_options()
@click.option("--fixed-cell", is_flag=True, help="The same as --policy fixed-cell.")
@click.option("--guests", metavar="EL,EL", help="With --policy fixed-host: the elements that move; the others stay.")
@symmetry_options()
def command(files: tuple[Path, ...], out: Path, form: Any, fixed_cell: bool, **values: Any) -> None:  # noqa: ANN401  click's values
    """Relax the structures of FILES with an interatomic potential, all together.

    DIR gets one file for each, and relaxed.json with energies and outcomes. Files that cannot be used are left out
    and listed there with the reason; it is an error only when that leaves none.
    """
    from rich.console import Console

    from chggen_kit.workflow.config import RelaxConfig, build_config
    from chggen_kit.workflow.relaxing import UnusableFile, relax_files, relaxation_table

    state = cli_state()
    if fixed_cell:
        if values["relax_policy"] not in {None, "fixed-cell"}:
            raise InputError(f"--fixed-cell contradicts --policy {values['relax_policy']}. Give one of them.")
        values["relax_policy"] = "fixed-cell"
    config = build_config(RelaxConfig, settings_of(values, ("potential", "relaxer")), state.registry())
    with state.make_progress("relax") as progress:
        results = relax_files(files, out, form, config, registry=state.registry(), progress=progress)
    console = result_console(Console)
    console.print(relaxation_table(results))
    for result in results:
        if isinstance(result, UnusableFile):
            click.echo(f"Left out: {result.problem}", err=True)
    console.print(f"Results: {out}", soft_wrap=True)
