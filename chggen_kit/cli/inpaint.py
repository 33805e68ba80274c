"""`chggen inpaint`: guests into a host that the user has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from chggen_kit.cli._drawing import read_drawing, start_options
from chggen_kit.cli._judging import seat_judges
from chggen_kit.cli._pipeline import FilePath, run_and_print, run_options, settings_of
from chggen_kit.cli._shared import cli_state

_PLUGINS = ("backend", "sampler", "potential", "relaxer")


@click.command("inpaint")
@click.argument("host", type=FilePath)
@click.option(
    "--guest", "guests", metavar="El=COUNT", multiple=True, required=True, help="Atoms to be drawn; may be repeated."
)
@click.option("-n", "n", type=int, help="Structures drawn [8].")
@click.option("--relax/--no-relax", default=True, show_default=True, help="Relax what was drawn.")
@click.option(
    "--symmetry",
    type=click.Choice(["none", "host"]),
    help="Symmetry that draws keep: the host's, or that of a subgroup that can hold the guests [none].",
)
@start_options(whole=False)
@run_options()
def command(
    host: Path,
    guests: tuple[str, ...],
    out: Path | None,
    top: int,
    **values: Any,  # noqa: ANN401  click's values
) -> None:
    """Draw guests into HOST (CIF, POSCAR, extended XYZ or pymatgen JSON).

    What is drawn holds the host bit for bit, in its own cell and atom order (with --symmetry host, as it is exactly
    symmetric, which moves no atom by more than 0.01 Å); how far relaxation moves the host is
    reported as its drift. A run that was interrupted goes on when the same command is given again.
    """
    from chggen_kit.io.files import read_structure
    from chggen_kit.workflow.config import InpaintConfig, build_config
    from chggen_kit.workflow.formula import parse_guest_counts
    from chggen_kit.workflow.pipeline import default_directory, run_inpaint
    from chggen_kit.workflow.records import StructureData

    counts = parse_guest_counts(",".join(guests))
    settings = settings_of(values, _PLUGINS)
    read_drawing(settings)
    structure = StructureData.of(read_structure(host))
    config = build_config(
        InpaintConfig, {"host": structure, "guest_counts": counts, **settings}, cli_state().registry()
    )
    directory = default_directory(config, out)
    bench = seat_judges(values, {*config.host.species, *counts}, config.potential, relaxes=config.relax)
    run_and_print(
        lambda registry, progress: run_inpaint(config, directory, registry=registry, progress=progress),
        top,
        description=f"inpaint {host.name}",
        bench=bench,
    )
