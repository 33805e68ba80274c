"""`chggen plugins check`: the laws of an installed plug-in, measured."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chggen_kit.cli._shared import assignments_option, cli_state
from chggen_kit.errors import PluginError

if TYPE_CHECKING:
    from chggen_kit.plugins import PluginEntry, Registry
    from chggen_kit.testing import ConformanceReport, LawResult

CHECKED_KINDS = ("score-model", "sampler", "host-refiner", "relaxer", "potential")
_DETAIL_WIDTH = 110


@click.command(name="check")
@click.argument("name")
@click.option("--kind", type=click.Choice(CHECKED_KINDS), default=None, help="Which, where several have the name.")
@click.option("--checkpoint", type=click.Path(path_type=Path), default=None, help="Its option `checkpoint`.")
@assignments_option("--option", what="plug-in")
@click.option(
    "--crystals",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="Crystals that a score model or potential is checked on, in place of textbook ones; repeatable.",
)
@click.option(
    "--known",
    multiple=True,
    metavar="FILE|textbook",
    help="Crystals that a trained score model should know: measures the sign and size of its scores; repeatable.",
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def check_command(
    name: str,
    kind: str | None,
    checkpoint: Path | None,
    options: dict[str, Any],
    crystals: tuple[Path, ...],
    known: tuple[str, ...],
    as_json: bool,
) -> None:
    """Measure whether the plug-in NAME keeps the laws of its kind.

    One line a law: what was measured, the limit, and the verdict. A law that does not hold makes the exit code 1.
    NAME may be NAME@ENVIRONMENT.
    """
    from chggen_kit.testing.by_name import check_entry

    registry = cli_state().registry()
    entry = _entry(registry, name, kind)
    if checkpoint is not None:
        options = {**options, "checkpoint": str(checkpoint)}
    report = check_entry(registry, entry, options, crystals=crystals, known=known)
    if as_json:
        click.echo(json.dumps(_facts(report, entry), indent=2, ensure_ascii=False))
    else:
        _print(report, entry)
    if not report.ok:
        click.get_current_context().exit(1)


def _entry(registry: Registry, name: str, kind: str | None) -> PluginEntry:
    """The plug-in of that name, which must leave no choice.

    Raises:
        PluginError: when there is none, or several kinds have the name.
    """
    if kind is not None:
        return registry.get(kind, name)
    found = [entry for entry in registry.find(name) if entry.kind in CHECKED_KINDS]
    if not found:
        other = registry.find(name)
        if other:
            raise PluginError(f"{name!r} is a {other[0].kind}, and there are no laws for that kind.")
        raise PluginError(registry.explain_unknown(name))
    if len(found) > 1:
        raise PluginError(f"{name!r} is the name of a {' and a '.join(e.kind for e in found)}: choose with --kind.")
    return found[0]


def _facts(report: ConformanceReport, entry: PluginEntry) -> dict[str, Any]:
    return {
        "kind": entry.kind,
        "name": entry.name,
        "distribution": str(entry.origin),
        "subject": report.subject,
        "passed": report.ok,
        "laws": [
            {
                "law": result.law,
                "measured": _number(result.measured),
                "limit": _number(result.limit),
                "passed": result.passed,
                "detail": result.detail,
            }
            for result in report
        ],
    }


def _number(value: float) -> float | None:
    """`value`, or None where JSON has no word for it."""
    return float(value) if math.isfinite(value) else None


def _print(report: ConformanceReport, entry: PluginEntry) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, 160)  # a pipe has no width: wrap late rather than at 80
    console.print(f"{entry.kind} {entry.name} of {entry.origin}: {report.subject}", markup=False, soft_wrap=True)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for title in ("law", "measured", "limit", "verdict", ""):
        table.add_column(title, justify="right" if title in ("measured", "limit") else "left", overflow="fold")
    for result in report:
        table.add_row(*map(Text, _cells(result)), style="" if result.passed else "red")
    console.print(table)
    broken = [result.law for result in report.failures]
    verdict = f"{len(report) - len(broken)} of {len(report)} laws hold."
    console.print(f"{verdict} Broken: {', '.join(broken)}." if broken else verdict, markup=False, soft_wrap=True)


def _cells(result: LawResult) -> tuple[str, str, str, str, str]:
    # A law without a number counts violations: none is allowed, and a column of zeros would say nothing.
    plain = result.limit == 0 and result.measured in (0, 1)
    measured, limit = ("", "") if plain else (f"{result.measured:.3g}", f"{result.limit:.3g}")
    detail = result.detail
    if result.passed and len(detail) > _DETAIL_WIDTH:
        detail = detail[: _DETAIL_WIDTH - 1] + "…"
    return result.law, measured, limit, "holds" if result.passed else "BROKEN", detail
