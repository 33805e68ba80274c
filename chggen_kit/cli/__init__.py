"""The command line, one file a verb. Nothing heavy is imported before a verb runs."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import click

from chggen_kit import __version__
from chggen_kit.cli._groups import VerbGroup
from chggen_kit.cli._state import global_options

VERBS = {
    "generate": ("chggen_kit.cli.generate:command", "From a composition to ranked symmetric candidates."),
    "inpaint": ("chggen_kit.cli.inpaint:command", "Put guests into a given host."),
    "relax": ("chggen_kit.cli.relax:command", "Relax structures with a potential."),
    "refine": ("chggen_kit.cli.refine:command", "Find and impose the symmetry of structures."),
    "hull": ("chggen_kit.cli.hull:command", "Print and draw a phase diagram, with candidates."),
    "symmetry": ("chggen_kit.cli.symmetry:command", "Report the symmetry of structures over tolerances."),
    "environments": ("chggen_kit.cli.environments:command", "Compare local environments with those of references."),
    "report": ("chggen_kit.cli.report:command", "Show a benchmark or a run as one page."),
    "export": ("chggen_kit.cli.export:command", "Write the structures of a run to files."),
    "judge": ("chggen_kit.cli.judge:command", "Ask other potentials about the best structures of a run."),
    "dft-inputs": ("chggen_kit.cli.dft_inputs:command", "Write VASP inputs for the best structures of a run."),
    "train": ("chggen_kit.cli.train:command", "Train a backend."),
    "evaluate": ("chggen_kit.cli.evaluate:command", "Measure how good a backend is."),
    "benchmark": ("chggen_kit.cli.benchmark:command", "Compare methods over systems and seeds."),
    "campaign": ("chggen_kit.cli.campaign:command", "Screen many compositions, here or on a cluster."),
    "env": ("chggen_kit.cli.env:command", "Environments for plug-ins that cannot share this one."),
    "plugins": ("chggen_kit.cli.plugins:command", "List and explain what is installed."),
}
"""Import string and short help of every verb; a verb's module is imported when it is called."""
RESUMABLE = ("generate", "inpaint", "judge", "train", "evaluate", "benchmark", "campaign")
"""Verbs that go on where they were when they are given again after an interruption."""

cli = VerbGroup(
    name="chggen",
    verbs=VERBS,
    resumable=RESUMABLE,
    params=[*global_options()],
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Host-guided crystal structure prediction with swappable generative backends and potentials.",
    epilog="The global options may stand before or after the command.",
)
cli = click.version_option(__version__, "--version", prog_name="chggen")(cli)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line on `args` (the process's by default) and exit.

    Exit codes: 0, 2 for what the user can mend (options, input, checkpoints, plug-ins, output directories), 130 after
    Ctrl-C, 1 for anything else.
    """
    # Threads that spin while they wait for each other are a hundred times slower as soon as a core has other work to do
    # (measured); sleeping ones cost next to nothing. It must be said before torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        cli.main(args=None if args is None else list(args), prog_name="chggen")
    except Exception:  # noqa: BLE001 - the last line of defence: whatever it is, the user gets a sentence with it
        traceback.print_exc()
        click.echo(
            "\nThis is an error that chggen did not foresee. Please report it with the lines above, the command, "
            "and the output of `chggen plugins`.",
            err=True,
        )
        sys.exit(1)
