"""`chggen inpaint`: guests into a host that the user has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from chggen_kit.cli._drawing import read_drawing, start_options
from chggen_kit.cli._judging import seat_judges
from chggen_kit.cli._pipeline import FilePath, parse_whole_numbers, run_and_print, run_options, settings_of
from chggen_kit.cli._shared import cli_state

_PLUGINS = ("backend", "sampler", "potential", "relaxer")


@click.command("inpaint")
@click.argument("host", type=FilePath)
@click.option(
    "--guest",
    "guests",
    metavar="El=COUNT",
    multiple=True,
    help="Atoms to be drawn; may be repeated [of a disordered host: what is partially occupied].",
)
@click.option("--supercell", metavar="N,N,N", help="Repetitions of the host along its axes [1,1,1].")
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
    supercell: str | None,
    out: Path | None,
    top: int,
    **values: Any,  # noqa: ANN401  click's values
) -> None:
    """Draw guests into HOST (CIF, POSCAR, extended XYZ or pymatgen JSON).

    Of a disordered HOST (partial occupancies) the fully occupied sites are the host. Without --guest the partially
    occupied species are drawn, in the numbers that their occupancies add up to.

    What is drawn holds the host bit for bit, in its own cell and atom order (with --symmetry host, as it is exactly
    symmetric, which moves no atom by more than 0.01 Å); how far relaxation moves the host is
    reported as its drift. A run that was interrupted goes on when the same command is given again.
    """
    from chggen_kit.errors import InputError
    from chggen_kit.io.disorder import read_host
    from chggen_kit.workflow.config import InpaintConfig, build_config
    from chggen_kit.workflow.formula import parse_guest_counts
    from chggen_kit.workflow.pipeline import default_directory, run_inpaint
    from chggen_kit.workflow.records import StructureData

    given = parse_guest_counts(",".join(guests)) if guests else None
    repetitions = parse_whole_numbers(supercell, "--supercell") or (1, 1, 1)
    if len(repetitions) != 3:
        raise InputError(f"--supercell takes three whole numbers, as in 2,1,1, not {supercell!r}.")
    settings = settings_of(values, _PLUGINS)
    read_drawing(settings)
    filled, counts = read_host(host, given, (repetitions[0], repetitions[1], repetitions[2]))
    structure = StructureData.of(filled)
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
