"""Options for draws that keep a symmetry, or start from a structure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from chggen_kit.cli._pipeline import AnyFunction, FilePath, parse_whole_numbers, stack


def start_options(*, whole: bool) -> Callable[[AnyFunction], AnyFunction]:
    """`--start-from` and `--start-level`; `whole` where whole structures are drawn."""
    of = "the composition" if whole else "the host with its guests"
    return stack(
        click.option("--start-from", type=FilePath, metavar="FILE", help=f"A structure of {of} to start from."),
        click.option(
            "--start-level",
            metavar="SIGMA|FRACTION",
            help="Noise that it is given before it is denoised: in Å, as 0.5A, or as a part of the time grid, as 40%.",
        ),
    )


def symmetry_of_draws() -> Callable[[AnyFunction], AnyFunction]:
    """`--symmetry` and what belongs to it, for whole structures."""
    return stack(
        click.option(
            "--symmetry",
            type=click.Choice(["none", "host", "wyckoff", "given"]),
            help="Symmetry that draws keep: the host's for guests; also random groups and Wyckoff positions for whole "
            "structures (wyckoff), or those of --start-from (given) [none].",
        ),
        click.option("--symmetry-groups", metavar="N,N", help="wyckoff: space groups to choose from [all above P-1]."),
        click.option(
            "--symmetry-prior",
            type=click.Choice(["chemistry", "uniform"]),
            help="wyckoff: groups and positions as known crystals of the family have them, or all alike [chemistry].",
        ),
    )


def read_drawing(settings: dict[str, Any]) -> None:
    """Read, in place, what the values of these options name.

    Raises:
        InputError: when the file or a number cannot be read.
    """
    from chggen_kit.io.files import read_structure
    from chggen_kit.workflow.records import StructureData

    path: Path | None = settings.get("start_from")
    if path is not None:
        settings["start_from"] = StructureData.of(read_structure(path))
    if "symmetry_groups" in settings:
        settings["symmetry_groups"] = parse_whole_numbers(settings["symmetry_groups"], "--symmetry-groups")
