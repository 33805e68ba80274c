"""Campaigns for people: plan, status and results as tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from chggen_kit.campaign.campaign import Counted
    from chggen_kit.campaign.cost import MethodCost
    from chggen_kit.campaign.status import Status

_ORDER = ("done", "running", "waiting", "failed", "set-aside", "cancelled", "left-out")


def in_words(seconds: float) -> str:
    """A time, roughly: `40 s`, `12 min`, `3.5 h`, `6.2 d`; a dash for one that is not known."""
    if math.isnan(seconds):
        return "-"
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 2 * 86400 else f"{seconds / 86400:.1f} d"


def status_table(status: Status) -> Table:
    """The status as a table of shards, then lines."""
    table = Table(box=None, pad_edge=False)
    for column in ("shards", "number", "share of the work"):
        table.add_column(column, justify="left" if column == "shards" else "right")
    work = sum(atoms for state, atoms in status.atoms.items() if state != "left-out") or 1
    for state in _ORDER:
        if number := status.shards.get(state, 0):
            share = "" if state == "left-out" else f"{status.atoms[state] / work:.1%}"
            table.add_row(state, str(number), share)
    return table


def print_status(status: Status, console: Console) -> None:
    """The status."""
    console.print(status_table(status))
    console.print(f"{status.structures} structures, {status.candidates} of them symmetric candidates.")
    if status.out_of_memory:
        console.print(f"{status.out_of_memory} structures did not fit into memory (docs/relaxation.md).")
    if status.retried:
        console.print(f"{status.retried} shards were begun more than once.")
    for reason, number in status.reasons:
        console.print(f"{number} x {reason}", markup=False, highlight=False)
    sitting = status.sitting
    if sitting is None:
        return
    if sitting["ended"]:
        console.print(f"No driver works on it: the last one {_ENDS.get(sitting['ended'], sitting['ended'])}.")
    else:
        console.print(f"Driver: process {sitting['pid']} on {sitting['host']}, or it was killed (`run` goes on then).")
    if not math.isnan(status.structures_per_hour):
        console.print(
            f"{status.structures_per_hour:.0f} structures and {status.candidates_per_hour:.0f} candidates per hour; "
            f"about {in_words(status.seconds_left)} left."
        )


_ENDS = {"finished": "came to the end", "cancelled": "was cancelled", "interrupted": "was interrupted"}


def print_plan(counted: Counted, costs: Sequence[MethodCost], places: int, console: Console) -> None:
    """Numbers of a plan, and costs where shards have been run."""
    console.print(
        f"{counted.targets} compositions and hosts, {counted.lanes} with methods and seeds, {counted.starts} starts in "
        f"{counted.shards} shards."
    )
    if not costs:
        console.print("What it costs is not known before shards have been run: --calibrate runs one of each method.")
        return
    table = Table(box=None, pad_edge=False)
    for column in ("workflow", "backend", "potential", "shards to do", "CPU time", "longest shard"):
        table.add_column(column)
    for cost in costs:
        table.add_row(
            cost.workflow,
            cost.backend,
            cost.potential,
            str(cost.shards),
            "-" if cost.cpu_seconds is None else in_words(cost.cpu_seconds),
            "-" if cost.longest_seconds is None else in_words(cost.longest_seconds),
        )
    console.print(table)
    known = [cost.cpu_seconds for cost in costs if cost.cpu_seconds is not None]
    if len(known) == len(costs):
        console.print(f"About {in_words(sum(known) / places)} with {places} workers.")
