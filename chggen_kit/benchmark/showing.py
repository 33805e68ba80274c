"""Plans and results as tables in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from chggen_kit.benchmark.cells import Plan
from chggen_kit.benchmark.driver import in_words
from chggen_kit.benchmark.estimate import CellCost, total

if TYPE_CHECKING:
    from chggen_kit.benchmark.benchmark import BenchmarkResult

_MISSING = "-"


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="left" if column in {"system", "method", "stage", "of", "basis"} else "right")
    return table


def print_plan(plan: Plan, costs: Sequence[CellCost], workers: int, console: Console) -> None:
    """What will be run, and what it will cost."""
    grouped: dict[tuple[str, str], list[CellCost]] = {}
    for lane, cost in zip(plan.lanes, costs, strict=True):
        grouped.setdefault((lane.system, lane.method), []).append(cost)
    table = _table(plan.spec.name, ("system", "atoms", "method", "stage", "runs", "starts", "CPU left", "basis"))
    for (system, method), mine in grouped.items():
        lane = mine[0].cell.lane
        bases = ", ".join(dict.fromkeys(one.basis for one in mine))
        spent = sum(one.cpu_seconds for one in mine)
        left = in_words(spent) if spent else _MISSING
        starts = str(lane.config.n) if plan.spec.budget.cpu_seconds is None else "by time"
        table.add_row(system, str(lane.n_atoms), method, lane.stage, str(len(mine)), starts, left, bases)
    console.print(table)
    for one in plan.left_out:
        console.print(f"Left out: {one.system}, {one.method}: {one.reason}", soft_wrap=True, markup=False)
    cpu, wall = total(costs, workers)
    console.print(
        f"{len(plan.lanes)} runs, about {in_words(cpu)} of CPU time, {in_words(wall)} with {workers} workers. "
        "Estimates called rough are no more than that; they are better once a run of each method is there.",
        soft_wrap=True,
        markup=False,
    )


def print_result(result: BenchmarkResult, console: Console) -> None:
    """Symmetry success rates, and where everything is."""
    console.print(rate_table(result), markup=False)
    for row in _records(result.cells):
        if row["status"] != "done":
            seed = "" if row["seed"] is None else f", seed {row['seed']}"
            about = f"{row['status']}: {row['system']}, {row['method']}{seed}: {row['reason']}"
            console.print(about, soft_wrap=True, markup=False)
    console.print(f"Tables: {result.path}/*.csv; structures: {result.path}/structures", soft_wrap=True, markup=False)


def rate_table(result: BenchmarkResult) -> Table:
    """The rates by which methods are judged, with their nulls, E_d and cost."""
    table = _table(
        "Symmetric structures (in brackets: 95 %)",
        (
            *("system", "method", "stage", "symmetric", "of", "null", "of starts", "E_d < 0.1, symmetric"),
            *("median E_d", "best E_d", "CPU s/start"),
        ),
    )
    rates: dict[tuple[Any, ...], dict[str, dict[str, Any]]] = {}
    for row in _records(result.rates):
        if row["counted"] and row["scope"] in {"system", "pooled"}:
            rates.setdefault((row["scope"], row["system"], row["method"]), {}).setdefault(row["metric"], row)
    quantities = {
        (row["scope"], row["system"], row["method"], row["quantity"]): row
        for row in _records(result.quantities)
        if row["counted"]
    }
    # All methods of a system stand together; what is pooled comes last.
    places = {key[:2]: index for index, key in enumerate(rates)}
    order = sorted(rates, key=lambda key: (key[0] == "pooled", places[key[:2]] if key[0] == "system" else 0))
    order.sort(key=lambda key: (key[0] == "pooled", [k[1] for k in rates].index(key[1])))
    for scope, system, method in order:
        mine = rates[scope, system, method]
        if "symmetric" not in mine:
            continue
        shown = mine["symmetric"]
        e_d = quantities.get((scope, system, method, "E_d"), {})
        cpu = quantities.get((scope, system, method, "cpu_seconds_per_start"), {})
        table.add_row(
            system or "all",
            method,
            shown["stage"],
            _rate(shown),
            shown["denominator_name"],
            _percent(shown["null_rate"]),
            _rate(mine.get("symmetric_start")),
            _rate(mine.get("symmetric_stable_100_start") or mine.get("symmetric_stable_100")),
            _number(e_d.get("median")),
            _number(e_d.get("best")),
            _number(cpu.get("mean"), 1),
        )
    return table


def _records(frame: Any) -> list[dict[str, Any]]:  # noqa: ANN401  a pandas frame
    plain = frame.astype(object).where(frame.notna(), None)
    records: list[dict[str, Any]] = plain.to_dict("records")
    return records


def _percent(value: float | None) -> str:
    return _MISSING if value is None else f"{100 * value:.0f} %"


def _number(value: float | None, digits: int = 3) -> str:
    return _MISSING if value is None else f"{value:.{digits}f}"


def _rate(row: dict[str, Any] | None) -> str:
    if row is None or row["rate"] is None:
        return _MISSING
    ends = "" if row["low"] is None else f" ({100 * row['low']:.0f} to {100 * row['high']:.0f})"
    return f"{row['numerator']}/{row['denominator']} = {100 * row['rate']:.0f} %{ends}"
