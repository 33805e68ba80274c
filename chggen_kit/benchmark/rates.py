"""Rows of the tables `rates` and `differences`: over one system, over all, over those with one number of atoms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median
from typing import Any

from chggen_kit.benchmark.counting import Group, Key, Tally, tallies
from chggen_kit.benchmark.statistics import (
    Count,
    Interval,
    mean_difference,
    rate_difference,
    rate_interval,
    wilson_ends,
)
from chggen_kit.workflow.records import Stage

COMPARED = (
    "symmetric",
    "symmetric_start",
    "hosts",
    "stable_100",
    "symmetric_stable_100",
    "symmetric_stable_100_start",
    "unique_symmetric",
    "matched_start",
)
"""Metrics of which the differences between methods are given."""


@dataclass(frozen=True)
class Counted:
    """A group with its rates.

    Attributes:
        group: all cells of a method in a system.
        tallies: its rates.
    """

    group: Group
    tallies: Mapping[Key, Tally]


def count_all(groups: Sequence[Group]) -> list[Counted]:
    """The rates of all groups."""
    return [Counted(group, dict(tallies(group))) for group in groups]


@dataclass(frozen=True)
class Scope:
    """Over what a row is.

    Attributes:
        scope: system, pooled or n_atoms.
        system: its name, for a system.
        n_atoms: atoms in the cell, for a system and for systems of one size.
        members: the groups.
    """

    scope: str
    system: str | None
    n_atoms: int | None
    members: tuple[Counted, ...]

    @property
    def columns(self) -> dict[str, Any]:
        """Columns that say so."""
        return {"scope": self.scope, "system": self.system, "n_atoms": self.n_atoms}


def scopes(counted: Sequence[Counted]) -> Iterator[Scope]:
    """Each system of one method; all of them, and those of each size, where there are several."""
    for one in counted:
        yield Scope("system", one.group.system, one.group.n_atoms, (one,))
    if len(counted) < 2:
        return
    yield Scope("pooled", None, None, tuple(counted))
    sizes = sorted({one.group.n_atoms for one in counted})
    if len(sizes) > 1:
        for size in sizes:
            yield Scope("n_atoms", None, size, tuple(one for one in counted if one.group.n_atoms == size))


def rate_rows(
    counted: Sequence[Counted], baselines: Mapping[str, str | None], stages: Mapping[str, Stage]
) -> list[dict[str, Any]]:
    """Rows of the table `rates`.

    Args:
        counted: all groups, in the order of systems and methods.
        baselines: for each method the one whose rates stand beside its own, or None.
        stages: the stage by which each method is judged.
    """
    by_method: dict[str, list[Counted]] = {}
    for one in counted:
        by_method.setdefault(one.group.method, []).append(one)
    rows = []
    for method, mine in by_method.items():
        baseline = baselines.get(method)
        others = {one.group.system: one for one in by_method.get(baseline or "", [])}
        for scope in scopes(mine):
            # Keys in the order of the first group that has them.
            keys = dict.fromkeys(key for one in scope.members for key in one.tallies)
            for key in keys:
                found = [one.tallies[key] for one in scope.members if key in one.tallies]
                null, null_name = _null(scope, key, baseline, others, stages)
                rows.append(_rate_row(scope, method, key, found, stages[method], null, null_name))
    return rows


def _rate_row(
    scope: Scope,
    method: str,
    key: Key,
    found: Sequence[Tally],
    stage: Stage,
    null: Count | None,
    null_name: str,
) -> dict[str, Any]:
    counts = [one.count for one in found]
    numerator = sum(one.numerator for one in counts)
    denominator = sum(one.denominator for one in counts)
    row: dict[str, Any] = {
        **scope.columns,
        "method": method,
        "stage": key.stage,
        "counted": key.stage == stage,
        "metric": key.metric,
        "state": key.state or None,
        "tolerance_A": key.tolerance_A,
        "numerator": numerator,
        "denominator": denominator,
        "denominator_name": found[0].denominator_name,
        "rate": numerator / denominator if denominator else None,
        **interval_columns(rate_interval(counts)),
    }
    if null is not None and null.denominator:
        low, high = wilson_ends(null.numerator / null.denominator, null.denominator)
        row |= {
            "null_numerator": null.numerator,
            "null_denominator": null.denominator,
            "null_rate": null.rate,
            "null_low": low,
            "null_high": high,
            "null_name": null_name,
        }
    return row


def interval_columns(interval: Interval) -> dict[str, Any]:
    """Columns of an interval."""
    return {"low": interval.low, "high": interval.high, "interval": interval.kind, "systems": interval.systems}


def _null(
    scope: Scope, key: Key, baseline: str | None, others: Mapping[str, Counted], stages: Mapping[str, Stage]
) -> tuple[Count | None, str]:
    """The null of a rate: that of another method, or what the runs measured on random structures."""
    if baseline is not None and baseline in stages:
        found = []
        for one in scope.members:
            other = others.get(one.group.system)
            # A method of another stage is compared with what the baseline is judged by.
            stage = stages[baseline] if key.stage == one.group.stage else key.stage
            same = None if other is None else other.tallies.get(Key(stage, key.metric, key.state, key.tolerance_A))
            if same is not None:
                found.append(same.count)
        return _sum(found), f"method {baseline}"
    measured = [one.tallies[key].null for one in scope.members if key in one.tallies]
    means = next((one.group.null_means for one in scope.members if one.group.null_means), "")
    return _sum([one for one in measured if one is not None]), means


def _sum(counts: Sequence[Count]) -> Count | None:
    if not counts:
        return None
    return Count(sum(one.numerator for one in counts), sum(one.denominator for one in counts))


def difference_rows(counted: Sequence[Counted], methods: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of the table `differences`, for each two methods in the order of `methods`."""
    by_method: dict[str, dict[str, Counted]] = {method: {} for method in methods}
    for one in counted:
        by_method[one.group.method][one.group.system] = one
    rows = []
    for first, second in combinations(methods, 2):
        mine, theirs = by_method[first], by_method[second]
        systems = [name for name in mine if name in theirs]
        pairs = [(mine[name], theirs[name]) for name in systems]
        for metric in COMPARED:
            row = _difference_row(metric, first, second, pairs)
            if row is not None:
                rows.append(row)
        row = _median_row(first, second, pairs)
        if row is not None:
            rows.append(row)
    return rows


def _find(one: Counted, metric: str) -> tuple[Key, Tally] | None:
    return next(
        ((key, tally) for key, tally in one.tallies.items() if key.metric == metric and key.stage == one.group.stage),
        None,
    )


def _difference_row(
    metric: str, first: str, second: str, pairs: Sequence[tuple[Counted, Counted]]
) -> dict[str, Any] | None:
    both = [(a, b) for one, other in pairs if (a := _find(one, metric)) and (b := _find(other, metric))]
    both = [(a, b) for a, b in both if a[1].count.denominator and b[1].count.denominator]
    if not both:
        return None
    mine, theirs = [a[1].count for a, _ in both], [b[1].count for _, b in both]
    value, interval = rate_difference(mine, theirs)
    return {
        "metric": metric,
        "tolerance_A": both[0][0][0].tolerance_A,
        "method": first,
        "other": second,
        "rate": _pooled(mine),
        "other_rate": _pooled(theirs),
        "difference": value,
        **interval_columns(interval),
        "excludes_zero": _excludes_zero(interval),
    }


def _pooled(counts: Sequence[Count]) -> float | None:
    total = _sum(counts)
    return None if total is None else total.rate


def _excludes_zero(interval: Interval) -> bool | None:
    if interval.low is None or interval.high is None:
        return None
    return interval.low > 0 or interval.high < 0


def _median_row(first: str, second: str, pairs: Sequence[tuple[Counted, Counted]]) -> dict[str, Any] | None:
    """Mean over systems of the difference of the median E_d."""
    both = [
        (a, b)
        for one, other in pairs
        if (a := _median_energy(one)) is not None and (b := _median_energy(other)) is not None
    ]
    if not both:
        return None
    mine, theirs = [a for a, _ in both], [b for _, b in both]
    value, interval = mean_difference(mine, theirs)
    return {
        "metric": "median_E_d",
        "method": first,
        "other": second,
        "rate": sum(mine) / len(mine),
        "other_rate": sum(theirs) / len(theirs),
        "difference": value,
        **interval_columns(interval),
        "excludes_zero": _excludes_zero(interval),
    }


def _median_energy(one: Counted) -> float | None:
    found = [row["E_d"] for row in one.group.of_stage(one.group.stage) if row["E_d"] is not None]
    return median(found) if found else None
