"""The tables at the head of a report: rates with their denominators and nulls, and energies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chggen_kit.report.content import ReportContent
from chggen_kit.report.figure_rates import METRIC, plain_rates

if TYPE_CHECKING:
    import pandas as pd

_LABELS = {
    "symmetric": "symmetric",
    "symmetric_relaxed": "symmetric, of those relaxed",
    "symmetric_host": "hosts with a symmetric structure",
    "symmetric_start": "starts with a symmetric structure",
    "symmetric_stable_100_start": "starts with a symmetric structure of E_d < 100 meV/atom",
    "hosts": "hosts symmetrised",
    "matched_start": "starts with a structure that matches",
}
_OF_A_BENCHMARK = ("symmetric", "symmetric_start", "symmetric_stable_100_start", "matched_start")
"""Rates at the head of a benchmark; the others are in the table of all rates."""
_INTERVALS = {
    "wilson": "Wilson",
    "wilson-starts": "Wilson, over starts",
    "wilson-systems": "Wilson, over systems",
    "newcombe": "Newcombe",
    "bootstrap": "bootstrap over systems",
    "bootstrap-starts": "bootstrap over starts",
    "none": "",
}
_QUANTITIES = {
    "E_d": "E_d",
    "energy_change": "energy change on relaxation",
    "max_displacement_A": "largest displacement on relaxation",
    "host_drift_A": "host drift",
}


@dataclass(frozen=True)
class RateRow:
    """One line of the table of rates, as text."""

    method: str
    what: str
    where: str
    count: str
    rate: str
    interval: str
    null: str
    denominator: str


@dataclass(frozen=True)
class EnergyRow:
    """One line of the table of energies, as text."""

    method: str
    quantity: str
    where: str
    count: str
    best: str
    median: str
    quartiles: str


def rate_rows(content: ReportContent) -> list[RateRow]:
    """Rates over all systems where there are several, else of the system; of a run all, of a benchmark the main ones.

    Of a benchmark, `symmetric_start` has one denominator for all methods, all starts, which `symmetric` has not.
    """
    rates = content.rates
    if content.kind != "benchmark":
        groups = [rates[rates["rate"].notna()]]
    else:
        groups = [plain_rates(rates, metric) for metric in _OF_A_BENCHMARK]
    return [_rate(row) for group in groups for _, row in _widest(group).iterrows()]


def _widest(frame: pd.DataFrame) -> pd.DataFrame:
    pooled = frame[frame["scope"] == "pooled"]
    return pooled if len(pooled) else frame[frame["scope"] == "system"]


def _rate(row: Any) -> RateRow:  # noqa: ANN401  a row of a frame
    metric = str(row["metric"])
    tolerance = "" if _missing(row["tolerance_A"]) else f" at {row['tolerance_A']:g} Å"
    null = ""
    if not _missing(row["null_rate"]):
        null = f"{100 * row['null_rate']:.1f} %{_ends(row['null_low'], row['null_high'])}"
    return RateRow(
        method=str(row["method"]),
        what=_LABELS.get(metric, metric.replace("_", " ")) + (tolerance if metric.startswith(METRIC) else ""),
        where="all systems" if _missing(row["system"]) else str(row["system"]),
        count=f"{row['numerator']} of {row['denominator']}",
        rate=f"{100 * row['rate']:.1f} %{_ends(row['low'], row['high'])}",
        interval="" if _missing(row["interval"]) else _INTERVALS.get(str(row["interval"]), str(row["interval"])),
        null=null,
        denominator="" if _missing(row["denominator_name"]) else str(row["denominator_name"]),
    )


def _ends(low: Any, high: Any) -> str:  # noqa: ANN401  numbers, or pandas' missing value
    return "" if _missing(low) or _missing(high) else f" ({100 * low:.0f} to {100 * high:.0f})"


def _missing(value: Any) -> bool:  # noqa: ANN401  whatever a frame holds
    import pandas as pd

    return bool(pd.isna(value))


def energy_rows(content: ReportContent) -> list[EnergyRow]:
    """Best, median and quartiles of the quantities that every report has, in the widest scope that there is."""
    frame = content.quantities
    chosen = frame[frame["quantity"].isin(list(_QUANTITIES)) & frame["counted"].fillna(value=False)]
    rows = []
    for name, label in _QUANTITIES.items():
        for _, row in _widest(chosen[chosen["quantity"] == name]).iterrows():
            unit = "" if _missing(row["unit"]) else f" ({row['unit']})"
            rows.append(
                EnergyRow(
                    method=str(row["method"]),
                    quantity=label + unit,
                    where="all systems" if _missing(row["system"]) else str(row["system"]),
                    count=str(row["count"]),
                    best=_number(row["best"]),
                    median=_number(row["median"]),
                    quartiles=f"{_number(row['quartile_1'])} to {_number(row['quartile_3'])}",
                )
            )
    return rows


def _number(value: Any) -> str:  # noqa: ANN401  a number, or pandas' missing value
    return "–" if _missing(value) else f"{value:.3f}"
