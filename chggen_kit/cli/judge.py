"""`chggen judge`: second opinions on a run that is done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from chggen_kit.cli._judging import Bench, judge_and_print, judge_options
from chggen_kit.cli._pipeline import FilePath, result_console
from chggen_kit.cli._shared import cli_state


@click.command("judge")
@click.argument("directory", type=FilePath, metavar="RUN_DIR")
@judge_options(required=True)
@click.option("--fmax", type=float, help="Force limit of the judges' relaxations in eV/Å [the run's].")
@click.option("--max-steps", type=int, help="Steps after which such a relaxation ends unconverged [the run's].")
@click.option(
    "--references",
    metavar="auto|none|mp|PATH",
    help="What the judges' E_d is measured from, each judge in its own energy frame [auto: packaged phases].",
)
@click.option("--references-frame", metavar="FRAME", help="Energy frame of a phase diagram that does not tell.")
@click.option(
    "--exclude-composition/--include-composition",
    default=None,
    help="Leave references of a structure's own reduced formula out, or not [as the run did].",
)
def command(
    directory: Path,
    judges: list[dict[str, Any]],
    judge_top: int | None,
    judge_margin: float | None,
    **values: Any,  # noqa: ANN401  click's values
) -> None:
    """Let other potentials judge the best candidates of RUN_DIR.

    Each is evaluated as the run relaxed it, relaxed on, and placed against references of the judge's own energies.
    Candidates whose rank depends on the potential are marked. What was judged before is not done again.
    """
    from rich.console import Console

    from chggen_kit.judging.judges import make_judges
    from chggen_kit.judging.run import build_settings

    settings = build_settings({"judges": judges, "top": judge_top, "margin_meV": judge_margin, **values})
    bench = Bench(settings, make_judges(settings.judges, cli_state().registry()))
    judge_and_print(directory, bench, result_console(Console))
