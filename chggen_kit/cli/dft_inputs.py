"""`chggen dft-inputs`: the best structures of a run on their way to DFT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from chggen_kit.cli._pipeline import FilePath, result_console, stage_option
from chggen_kit.cli._shared import cli_state


@click.command("dft-inputs")
@click.argument("source", type=FilePath)
@click.option("--out", type=FilePath, metavar="DIR", help="Folder to be made [dft-inputs in the run directory].")
@click.option(
    "--threshold",
    "threshold_meV",
    type=float,
    default=30.0,
    show_default=True,
    help="Largest E_d in meV/atom; without E_d, largest energy above the best of the run.",
)
@click.option(
    "--kspacing",
    type=click.Choice(["auto", "metallic", "insulating"]),
    default="auto",
    show_default=True,
    help="KSPACING 0.22 (metallic) or 0.44 (insulating); auto takes 0.44 for plain insulators only.",
)
@click.option(
    "--which",
    type=click.Choice(["relaxed", "symmetrised"]),
    default="relaxed",
    show_default=True,
    help="As relaxed, or with the space group imposed, in the primitive standard cell.",
)
@stage_option()
@click.option("--top", type=click.IntRange(min=1), help="At most so many, lowest energies first.")
@click.option("--keep-duplicates", is_flag=True, help="Write equal structures too.")
@click.option(
    "--potcar",
    type=click.Choice(["auto", "spec"]),
    default="auto",
    show_default=True,
    help="auto: POTCAR where pymatgen finds pseudopotentials; spec: their names only.",
)
@click.option("--flow", is_flag=True, help="Write an atomate2 flow as well (extra atomate2).")
def command(
    source: Path,
    out: Path | None,
    threshold_meV: float,
    kspacing: Any,  # noqa: ANN401  one of the choices
    which: Any,  # noqa: ANN401  one of the choices
    stage: Any,  # noqa: ANN401  one of the choices
    top: int | None,
    keep_duplicates: bool,
    potcar: Any,  # noqa: ANN401  one of the choices
    flow: bool,
) -> None:
    """Write VASP inputs for the best structures of SOURCE, a run directory or its results.db.

    One folder for each distinct structure within the threshold, with the settings of the paper (MPScanRelaxSet:
    r2SCAN, ENCUT 680, EDIFF 1e-6, EDIFFG -0.02), and a manifest that says where each comes from.
    """
    from rich.console import Console

    from chggen_kit.dft import write_dft_inputs
    from chggen_kit.dft.table import handoff_table

    with cli_state().make_progress("dft-inputs") as progress:
        done = write_dft_inputs(
            source,
            out,
            threshold_meV=threshold_meV,
            kspacing=kspacing,
            which=which,
            stage=stage,
            top=top,
            merge=not keep_duplicates,
            potcar=potcar,
            with_flow=flow,
            progress=progress,
        )
    console = result_console(Console)
    console.print(handoff_table(done))
    for note in done.notes:
        console.print(note, soft_wrap=True)
    console.print(f"Results: {done.path}", soft_wrap=True)
