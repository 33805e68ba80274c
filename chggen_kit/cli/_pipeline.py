"""Options that the verbs of the pipeline share, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from chggen_kit.cli._judging import JUDGE_PARAMETERS, Bench, judge_and_print, judge_options
from chggen_kit.cli._shared import (
    assignments_option,
    backend_option,
    checkpoint_option,
    cli_state,
    out_option,
    potential_option,
    seed_option,
)
from chggen_kit.errors import InputError

if TYPE_CHECKING:
    from chggen_kit.interfaces import Progress
    from chggen_kit.plugins import Registry
    from chggen_kit.workflow.result import RunResult

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])
Outcome = TypeVar("Outcome")
FilePath = click.Path(path_type=Path)
FORMATS = ("cif", "extxyz", "poscar", "json")
POLICIES = ("free", "fixed-cell", "fixed-host", "keep-symmetry")
_POLICY_SETTINGS = {
    "relax_policy": "name",
    "relax_symprec_A": "symprec_A",
    "relax_angle_tolerance_deg": "angle_tolerance_deg",
    "relax_min_gain": "min_gain",
}
"""Values of a command that make up the policy of relaxations, and what they are called there."""
_DISPLAY = ("out", "top", *JUDGE_PARAMETERS)
"""Values of a command that don't concern what is computed."""


def stack(*decorators: Callable[[Any], Any]) -> Callable[[AnyFunction], AnyFunction]:
    """One decorator of many; the first one's option is listed first in the help."""

    def apply(function: AnyFunction) -> AnyFunction:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply


def plugin_option(name: str, default: str, what: str) -> Callable[[AnyFunction], AnyFunction]:
    """`--NAME PLUGIN`; None means the default."""
    return stack(
        click.option(f"--{name}", name.replace("-", "_"), metavar="NAME", help=f"{what} [{default}].", default=None),
        assignments_option(f"--{name}-option", what=name.replace("-", " ")),
    )


def stage_option() -> Callable[[AnyFunction], AnyFunction]:
    """Which stage of a run is meant."""
    stages = click.Choice(["unconditional", "inpainted", "projected", "annealed"])
    return click.option("--stage", type=stages, help="Those of one stage only.")


def relaxation_options() -> Callable[[AnyFunction], AnyFunction]:
    """Options of relaxations."""
    return stack(
        potential_option(),
        assignments_option("--potential-option", what="potential"),
        plugin_option("relaxer", "fire", "Optimiser"),
        click.option("--fmax", type=float, help="Force limit of relaxations in eV/Å [0.1]."),
        click.option("--max-steps", type=int, help="Steps after which a relaxation ends unconverged [500]."),
    )


def policy_options() -> Callable[[AnyFunction], AnyFunction]:
    """What may move in relaxations."""
    return stack(
        click.option(
            "--relax-policy",
            "--policy",
            "relax_policy",
            type=click.Choice(POLICIES),
            help="What moves: all; atoms alone; guests alone; all, but within the start's space group [free].",
        ),
        click.option(
            "--relax-symprec",
            "relax_symprec_A",
            type=float,
            help="Tolerance in Å of the space group that keep-symmetry keeps [0.1].",
        ),
        click.option(
            "--relax-angle-tolerance",
            "relax_angle_tolerance_deg",
            type=float,
            help="Its angle tolerance in degrees [10].",
        ),
        click.option(
            "--relax-min-gain",
            type=float,
            metavar="EV",
            help="Relax freely after keep-symmetry as well, and keep that if it gains more than this, in eV/atom.",
        ),
    )


def symmetry_options() -> Callable[[AnyFunction], AnyFunction]:
    """Tolerances of the space groups that are reported and counted."""
    return stack(
        click.option("--symprec", "symprec_A", type=float, help="Tolerance of space groups in Å [0.1]."),
        click.option(
            "--angle-tolerance", "angle_tolerance_deg", type=float, help="Their angle tolerance in degrees [10]."
        ),
    )


def references_options() -> Callable[[AnyFunction], AnyFunction]:
    """What E_d is measured from."""
    return stack(
        click.option(
            "--references",
            metavar="auto|none|mp|PATH",
            help="Phases that E_d is measured from: packaged ones, none, the Materials Project (MP_API_KEY), a phase "
            "diagram in JSON, or structures (a file or a folder), which are relaxed with the potential once [auto].",
        ),
        click.option(
            "--references-frame",
            metavar="FRAME",
            help="Energy frame of a phase diagram that does not tell, e.g. mp2020-corrected.",
        ),
        click.option(
            "--exclude-composition",
            is_flag=True,
            help="Leave references of a structure's own reduced formula out of its hull.",
        ),
    )


def run_options() -> Callable[[AnyFunction], AnyFunction]:
    """Options of `generate` and `inpaint`."""
    return stack(
        seed_option(),
        backend_option(),
        assignments_option("--backend-option", what="backend"),
        checkpoint_option(),
        plugin_option("sampler", "repaint", "Draws the guests; `random` is the baseline"),
        relaxation_options(),
        policy_options(),
        symmetry_options(),
        click.option(
            "--excluded-groups", metavar="N,N", help="Space group numbers that do not count as symmetric [1,2]."
        ),
        click.option(
            "--rattle/--no-rattle",
            default=None,
            help="Displace symmetric structures by 0.03 Å and relax again: saddles do not count as symmetric [no].",
        ),
        click.option(
            "--min-distance",
            "min_distance_A",
            type=float,
            help="Structures with a shorter distance, in Å, are not relaxed [0.7].",
        ),
        click.option("--micro-batch-atoms", type=int, help="Atoms drawn and relaxed together [128]."),
        click.option(
            "--null-rates", type=int, help="Random structures for the null of each success rate; 0: none [50]."
        ),
        click.option(
            "--threads",
            type=click.IntRange(min=1),
            help="Threads; name them to repeat a run exactly on another machine [torch's choice, recorded].",
        ),
        references_options(),
        judge_options(),
        out_option(required=False),
        click.option(
            "--top", type=click.IntRange(min=1), default=20, show_default=True, help="Candidates listed at the end."
        ),
    )


def parse_whole_numbers(text: str | None, flag: str) -> tuple[int, ...] | None:
    """`1,2` as numbers; None stays None.

    Raises:
        InputError: when an entry is not a whole number.
    """
    if text is None:
        return None
    try:
        return tuple(int(entry) for entry in text.split(","))
    except ValueError as error:
        raise InputError(f"Cannot read {flag} {text!r}: write whole numbers with commas, as in 1,2.") from error


def settings_of(values: Mapping[str, Any], plugins: Sequence[str]) -> dict[str, Any]:
    """The values of a command as settings of a configuration: names and options of `plugins` become choices.

    Raises:
        InputError: when a value cannot be read.
    """
    settings = {name: value for name, value in values.items() if name not in _DISPLAY}
    for plugin in plugins:
        name, options = settings.pop(plugin), settings.pop(f"{plugin}_options")
        # Options without a name belong to the default plug-in.
        choice = {"options": options, **({} if name is None else {"name": name})}
        settings[plugin] = choice if name is not None or options else None
    if "relax_policy" in settings:
        given = {name: settings.pop(value) for value, name in _POLICY_SETTINGS.items()}
        settings["relax_policy"] = {name: value for name, value in given.items() if value is not None} or None
    if "excluded_groups" in settings:
        settings["excluded_groups"] = parse_whole_numbers(settings["excluded_groups"], "--excluded-groups")
    return settings


def run_and_print(
    run: Callable[[Registry, Progress], RunResult], top: int, *, description: str, bench: Bench | None = None
) -> None:
    """Do a run, with progress on standard error, print its result, and let the judges on `bench` follow."""
    from rich.console import Console

    from chggen_kit.workflow.table import print_result

    state = cli_state()
    with state.make_progress(description) as progress:
        result = run(state.registry(), progress)
    console = result_console(Console)
    print_result(result, console, top)
    if bench is not None and any(record.energy is not None for record in result.records):
        judge_and_print(result.path, bench, console)


def result_console(kind: type[Any]) -> Any:  # noqa: ANN401  rich is imported by the caller, when there is something to print
    """Console for tables: as wide as they need where the output is not a terminal."""
    console = kind(highlight=False)
    if not console.is_terminal:
        console.width = 200
    return console
