"""The symmetry report as tables and as a picture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table

from chggen_kit.errors import InputError
from chggen_kit.metrics.symmetry import SpaceGroup
from chggen_kit.metrics.symmetry_ladder import EXCLUSIONS, Outcome, Reach, SymmetryLadder, SymmetryReport
from chggen_kit.workflow.targets import refuse_existing

SUFFIXES = (".png", ".svg", ".pdf")
_MISSING = "-"


def _symbol(outcome: Outcome) -> str:
    return outcome.symbol if isinstance(outcome, SpaceGroup) else outcome.reason


def _reach(one: Reach) -> str:
    return f"{one.symbol} {one.max_displacement_A:.3f}"


def structure_table(report: SymmetryReport, most: int | None = None) -> Table:
    """Groups at each tolerance, one line for each structure and library, at most `most` structures.

    A further library has a line of its own only where it differs. The last column is the smallest displacement in Å
    that reaches each group.
    """
    shown = report.ladders if most is None else report.ladders[:most]
    table = Table(
        title=f"Space groups by tolerance in Å ({len(shown)} of {len(report.ladders)} structures)",
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    for heading in ("structure", "formula", "library", *(f"{symprec:g}" for symprec, _ in report.rungs)):
        table.add_column(heading)
    table.add_column("displacement (Å) that reaches")
    for ladder in shown:
        for line in _lines(ladder):
            table.add_row(*line)
    return table


def _lines(ladder: SymmetryLadder) -> Iterator[tuple[str, ...]]:
    reached = ", ".join(_reach(one) for one in ladder.reached) or _MISSING
    first: list[str] = []
    for library, found in ladder.groups.items():
        symbols = [_symbol(one) for one in found]
        short = library.split()[0]
        if not first:
            first = symbols
            yield (ladder.name, ladder.formula, short, *symbols, reached)
        elif symbols != first:
            yield ("", "", short, *symbols, "")


def share_table(report: SymmetryReport) -> Table:
    """Shares of symmetric structures by tolerance, with Wilson's intervals."""
    title = "Symmetric structures of all started (in brackets: 95 %, Wilson)"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("source", "library", "Å", *EXCLUSIONS):
        table.add_column(heading)
    for source in report.sources:
        for library in report.libraries:
            for rung, (symprec_A, _) in enumerate(report.rungs):
                shares = [report.share(source, library, rung, excluded) for excluded in EXCLUSIONS.values()]
                first = (source, library.split()[0]) if rung == 0 else ("", "")
                table.add_row(*first, f"{symprec_A:g}", *(share.text() for share in shares))
    return table


def notes(report: SymmetryReport) -> list[str]:
    """What a reader must know of the shares."""
    lines = []
    for source in report.sources:
        structures, formulas = sum(report.formulas(source).values()), len(report.formulas(source))
        if report.missing.get(source):
            lines.append(f"{source}: {report.missing[source]} did not come through and count as not symmetric.")
        if formulas < structures:
            lines.append(
                f"{source}: {structures} structures of {formulas} formula{'s' if formulas != 1 else ''} are no "
                "independent trials: the interval says how far chance reaches for these formulas, not for others."
            )
    return lines


def check_target(out: Path) -> None:
    """Refuse a file that cannot be written as a picture, before any work.

    Raises:
        InputError: for other suffixes, or a file that is there.
    """
    if out.suffix.lower() not in SUFFIXES:
        raise InputError(f"The symmetry cannot be drawn to {out}: its name must end in {', '.join(SUFFIXES)}.")
    refuse_existing([out])


def draw(report: SymmetryReport, out: Path) -> None:
    """Draw shares over tolerances, and the displacements that reach any group above P-1 (PNG, SVG or PDF by suffix).

    Raises:
        InputError: as `check_target`.
    """
    check_target(out)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # No pyplot: it keeps global state and looks for a display.
    figure = Figure(figsize=(10.0, 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    tolerances = np.array([symprec for symprec, _ in report.rungs])
    styles = dict(zip(EXCLUSIONS, ("-", "--"), strict=True))
    for source in report.sources:
        for library in report.libraries:
            for name, excluded in EXCLUSIONS.items():
                shares = [report.share(source, library, rung, excluded) for rung in range(len(tolerances))]
                rates = np.array([np.nan if share.rate is None else share.rate for share in shares])
                lows = np.array([np.nan if share.low is None else share.low for share in shares])
                highs = np.array([np.nan if share.high is None else share.high for share in shares])
                spread = np.clip([rates - lows, highs - rates], 0, None)
                label = f"{source}, {library.split()[0]}, {name}"
                left.errorbar(tolerances, rates, spread, label=label, linestyle=styles[name], marker="o", capsize=2)
    left.set(xscale="log", ylim=(-0.02, 1.02), xlabel="tolerance (Å)", ylabel="share of all started")
    left.legend(fontsize="x-small")
    for source in report.sources:
        mine = [one for one in report.ladders if one.source == source]
        cost = [one.smallest_displacement_A() for one in mine]
        reached = np.sort([one for one in cost if one is not None])
        if len(reached):
            of = len(mine) + report.missing.get(source, 0)
            right.step(reached, np.arange(1, len(reached) + 1) / of, where="post", label=source)
            right.legend(fontsize="x-small")
    right.set(
        xlabel="displacement to the nearest group above P-1 (Å)", ylabel="share of all started", ylim=(-0.02, 1.02)
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=150)
