"""Rows of the table `quantities`: distributions of what was measured on structures, and what they cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from chggen_kit.benchmark.counting import Row, start_of
from chggen_kit.benchmark.rates import Counted, Scope, interval_columns, scopes
from chggen_kit.benchmark.statistics import median_interval
from chggen_kit.workflow.records import Stage

_UNITS: Mapping[str, str] = {
    "energy_per_atom": "eV/atom",
    "E_d": "eV/atom",
    "energy_change": "eV/atom",
    "max_displacement_A": "Å",
    "host_drift_A": "Å",
    "relax_steps": "steps",
}
_OF_ONE_SYSTEM = frozenset({"energy_per_atom"})
"""Means nothing over several compositions."""


def quantity_rows(
    counted: Sequence[Counted], cells: Sequence[Mapping[str, Any]], stages: Mapping[str, Stage]
) -> list[dict[str, Any]]:
    """Rows of the table `quantities`.

    Args:
        counted: all groups, in the order of systems and methods.
        cells: rows of the table `cells`.
        stages: the stage by which each method is judged.
    """
    by_method: dict[str, list[Counted]] = {}
    for one in counted:
        by_method.setdefault(one.group.method, []).append(one)
    rows = []
    for method, mine in by_method.items():
        for scope in scopes(mine):
            for stage in dict.fromkeys(stage for one in scope.members for stage in one.group.stages):
                about = {
                    **scope.columns,
                    "method": method,
                    "stage": stage,
                    "counted": stage == stages[method],
                }
                rows += [{**about, **row} for row in _of_structures(scope, stage)]
            names = {one.group.system for one in scope.members}
            spent = [
                row for row in cells if row["method"] == method and row["system"] in names and row["status"] == "done"
            ]
            about = {**scope.columns, "method": method, "stage": stages[method], "counted": True}
            rows += [{**about, **row} for row in _costs(spent)]
    return rows


def _of_structures(scope: Scope, stage: Stage) -> Iterator[dict[str, Any]]:
    rows: list[tuple[str, Row]] = [
        (one.group.system, row) for one in scope.members for row in one.group.of_stage(stage)
    ]
    systems = len({system for system, _ in rows})
    for name, unit in _UNITS.items():
        if scope.scope != "system" and name in _OF_ONE_SYSTEM:
            continue
        kept = [(system, row) for system, row in rows if row[name] is not None]
        if not kept:
            continue
        values = np.array([row[name] for _, row in kept], dtype=np.float64)
        clusters = [system if systems > 1 else _draw(scope, row) for system, row in kept]
        quartiles = np.quantile(values, [0.25, 0.5, 0.75])
        yield {
            "quantity": name,
            "unit": unit,
            "count": len(values),
            "best": float(values.min()),
            "quartile_1": float(quartiles[0]),
            "median": float(quartiles[1]),
            "quartile_3": float(quartiles[2]),
            "mean": float(values.mean()),
            **interval_columns(median_interval(values, clusters, systems=systems)),
        }


def _draw(scope: Scope, row: Row) -> tuple[Any, ...]:
    return (row["cell"], row["structure"]) if scope.members[0].group.given_host else start_of(row)


def _costs(cells: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    starts = sum(row["starts"] for row in cells)
    symmetric = sum(row["symmetric"] for row in cells)
    if not starts:
        return
    calls, cpu = sum(row["network_calls"] for row in cells), sum(row["cpu_seconds"] for row in cells)
    yield _mean("network_calls_per_start", "calls", calls / starts, len(cells))
    yield _mean("cpu_seconds_per_start", "s", cpu / starts, len(cells))
    if symmetric:
        yield _mean("cpu_seconds_per_symmetric", "s", cpu / symmetric, len(cells))


def _mean(name: str, unit: str, value: float, cells: int) -> dict[str, Any]:
    return {"quantity": name, "unit": unit, "count": cells, "mean": value, "interval": "none"}
