"""Options of second opinions, and what becomes of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from chggen_kit.cli._shared import cli_state, parse_assignments
from chggen_kit.errors import InputError

if TYPE_CHECKING:
    from chggen_kit.judging import JudgeSettings
    from chggen_kit.judging.judges import Judge
    from chggen_kit.workflow.config import PluginChoice

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])
JUDGE_PARAMETERS = ("judges", "judge_top", "judge_margin")
"""Parameters of a command that `judge_options` adds."""

_WITH_OPTIONS = re.compile(r"(?P<name>.+?):(?P<options>[A-Za-z_]\w*=.*)")
_BETWEEN_OPTIONS = re.compile(r",(?=[A-Za-z_]\w*=)")


@dataclass(frozen=True)
class Bench:
    """Judges that wait for a run to end."""

    settings: JudgeSettings
    judges: Sequence[Judge]


def judge_options(*, required: bool = False) -> Callable[[AnyFunction], AnyFunction]:
    """`--judge`, `--judge-top` and `--judge-margin`."""

    def apply(function: AnyFunction) -> AnyFunction:
        for option in (
            click.option(
                "--judge-margin",
                type=float,
                help="Differences in meV/atom up to this size do not count as an order of two candidates [10].",
            ),
            click.option("--judge-top", type=int, help="Candidates that are judged, best first [10]."),
            click.option(
                "--judge",
                "judges",
                metavar="NAME[:OPTION=VALUE,...]",
                multiple=True,
                required=required,
                callback=lambda _, __, texts: [parse_judge(text) for text in texts],
                help="Let another potential judge the best candidates; repeatable. For example chgnet:weights=r2scan, "
                "or sevennet@/path/to/environment.",
            ),
        ):
            function = option(function)
        return function

    return apply


def parse_judge(text: str) -> dict[str, Any]:
    """Name and options of `NAME[@WHERE][:OPTION=VALUE,...]`.

    Raises:
        InputError: when there is no name, or an option cannot be read.
    """
    found = _WITH_OPTIONS.fullmatch(text)
    name, options = (text, "") if found is None else (found["name"], found["options"])
    if not name.strip() or name.startswith(":") or name.endswith(":"):
        raise InputError(
            f"--judge {text!r} is not of the form NAME or NAME:OPTION=VALUE,... (for example chgnet:weights=r2scan)."
        )
    return {"name": name.strip(), "options": parse_assignments(_BETWEEN_OPTIONS.split(options) if options else ())}


def seat_judges(
    values: Mapping[str, Any], symbols: Collection[str], own: PluginChoice, *, relaxes: bool = True
) -> Bench | None:
    """Make the judges that the values of a command name; None where nobody asked for them.

    `own` is the run's potential, which is no judge of itself, and `symbols` are the elements of the run. The judges'
    references are those of the run, with the energies of each judge.

    Before the run, so that a judge that cannot be had, or knows too few elements, says so before hours of work.

    Raises:
        InputError: for options that do not fit, elements that a judge does not cover, or a run without relaxations.
        PluginError: for unknown or broken plug-ins.
    """
    if not values["judges"]:
        if values["judge_top"] is not None or values["judge_margin"] is not None:
            raise InputError("--judge-top and --judge-margin are about judges: name one with --judge.")
        return None
    if not relaxes:
        raise InputError("Judges compare relaxed structures: leave --no-relax out, or --judge.")
    from chggen_kit.judging.judges import check_another, check_covered, make_judges
    from chggen_kit.judging.run import build_settings

    settings = build_settings(
        {
            "judges": values["judges"],
            "top": values["judge_top"],
            "margin_meV": values["judge_margin"],
            "references": values.get("references"),
            "references_frame": values.get("references_frame"),
            # Otherwise as the rows of the run say.
            "exclude_composition": True if values.get("exclude_composition") else None,
        }
    )
    registry = cli_state().registry()
    judges = make_judges(settings.judges, registry)
    check_another(judges, own, registry)
    check_covered(judges, symbols)
    return Bench(settings, judges)


def judge_and_print(path: Path, bench: Bench, console: Any) -> None:  # noqa: ANN401  rich is imported by the caller
    """Let the judges say what they think of the run in `path`, with progress, and print it."""
    from chggen_kit.judging import judge_run
    from chggen_kit.judging.table import print_judgement

    state = cli_state()
    with state.make_progress(f"judge {path}") as progress:
        judgement = judge_run(path, bench.settings, judges=bench.judges, registry=state.registry(), progress=progress)
    print_judgement(judgement, console)
