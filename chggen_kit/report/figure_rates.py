"""Success rates as bars (Fig. 6 of Zhong et al. (2025)), and over the tolerance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chggen_kit.report.drawing import FigureSpec, Looks, add_legend, ink, plain

if TYPE_CHECKING:
    import pandas as pd

METRIC = "symmetric"
_SHOWN = (
    (METRIC, "success", "Symmetry success rate", "Share of generated structures above the excluded space groups"),
    (
        "symmetric_start",
        "yield",
        "Symmetric yield of all starts",
        "Share of starts with at least one structure above the excluded space groups, the same denominator for all",
    ),
)
"""Metric, name of files, title and caption of each pair of bar charts."""
MOST_BARS = 90
MOST_BANDS = 3
"""Methods whose intervals are drawn over the tolerance: more of them cover each other."""
_NULL_NAME = "at random"


def plain_rates(rates: pd.DataFrame, metric: str = METRIC) -> pd.DataFrame:
    """Rows of `metric` of the stages by which methods are judged, outside the ladder of tolerances."""
    chosen = (rates["metric"] == metric) & rates["counted"].fillna(value=False) & rates["state"].isna()
    return rates[chosen & rates["rate"].notna()]


def ladder_rates(rates: pd.DataFrame) -> pd.DataFrame:
    """Rates over the ladder of tolerances of relaxed structures: pooled, or of the only system."""
    chosen = rates[(rates["state"] == "relaxed") & rates["counted"].fillna(value=False) & rates["rate"].notna()]
    pooled = chosen[chosen["scope"] == "pooled"]
    return pooled if len(pooled) else chosen[chosen["scope"] == "system"]


def methods_of(frame: pd.DataFrame) -> list[str]:
    """Methods in their order of appearance."""
    return list(dict.fromkeys(frame["method"].dropna()))


def success_figures(rates: pd.DataFrame, looks: Looks) -> list[FigureSpec]:
    """Bars by system, by number of atoms where there are several, and curves over tolerances; those that have data."""
    found = []
    for metric, prefix, title, about in _SHOWN:
        plain = plain_rates(rates, metric)
        # Of several rates of one name (a run at two tolerances) the usual, looser one is drawn.
        plain = plain.sort_values("tolerance_A", ascending=False, kind="stable").drop_duplicates(
            ["scope", "system", "n_atoms", "method", "stage"]
        )
        plain = plain.sort_index()
        for scope, name in (("system", "system"), ("n_atoms", "size")):
            rows = plain[plain["scope"] == scope]
            groups = list(dict.fromkeys(rows[scope].dropna()))
            bars = len(groups) * len(methods_of(rows))
            if not groups or (scope == "n_atoms" and len(groups) < 2) or (scope == "system" and bars > MOST_BARS):
                continue
            if scope == "n_atoms":
                groups.sort()
            found.append(_grouped(rows, looks, scope, groups, f"{prefix}-by-{name}", f"{title} by {name}", about))
    ladder = ladder_rates(rates)
    if len(set(ladder["tolerance_A"].dropna())) > 1:
        found.append(_curves(ladder, looks))
    return found


def _grouped(
    rows: pd.DataFrame, looks: Looks, key: str, groups: Sequence[Any], name: str, title: str, about: str
) -> FigureSpec:
    """Bars; where they would be too many, points with lines between them."""
    methods = methods_of(rows)
    label = "system" if key == "system" else "atoms in the cell"
    crowded = len(groups) * len(methods) > MOST_BARS

    def draw(figure: Any) -> None:  # noqa: ANN401  matplotlib's
        axes = figure.add_subplot()
        width = 0.82 / len(methods)
        marked = False
        for number, method in enumerate(methods):
            shift = (number - (len(methods) - 1) / 2) * width
            mine = [rows[(rows["method"] == method) & (rows[key] == group)] for group in groups]
            there = [(place + shift, one.iloc[0]) for place, one in enumerate(mine) if len(one)]
            if crowded:
                at, shares = [x for x, _ in there], [100 * float(row["rate"]) for _, row in there]
                axes.plot(at, shares, color=looks.colour(method), marker="o", markersize=4, linewidth=1.0)
            for x, row in there:
                _bar(axes, x, 0 if crowded else width, looks, row)
                marked |= not crowded and _null_mark(axes, x, width, row)
        axes.set_xticks(range(len(groups)), [plain(one) for one in groups], **_slanted(groups))
        axes.set(xlabel=label, ylabel="symmetric (%)", ylim=(0, None))
        axes.set_ylim(0, max(axes.get_ylim()[1], 5))
        axes.grid(visible=False, axis="x")
        _legend(figure, looks, methods, with_null=marked)

    lines = [
        f"{row['method']}, {label} {row[key]}: {100 * row['rate']:.0f} % of {row['denominator']}"
        for _, row in rows.iterrows()
        if row[key] in groups
    ]
    return FigureSpec(
        name,
        title,
        f"Bar chart of symmetry success rates. {'; '.join(lines[:24])}.",
        f"{about}, with 95 % intervals."
        + ("" if crowded else " The dotted line across a bar is the rate of random structures in the same steps."),
        draw,
        (max(5.0, min(11.0, 1.6 + 0.32 * len(groups) * len(methods))), 3.9),
    )


def _legend(figure: Any, looks: Looks, methods: Sequence[str], *, with_null: bool) -> None:  # noqa: ANN401  matplotlib's
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [Patch(**looks.bar(method), label=plain(method)) for method in methods]
    if with_null:
        handles.append(Line2D([], [], color=ink(), linestyle=":", linewidth=2, label=_NULL_NAME))
    add_legend(figure, handles)


def _bar(axes: Any, x: float, width: float, looks: Looks, row: Any) -> None:  # noqa: ANN401  matplotlib's, a row
    rate = 100 * float(row["rate"])
    if width:
        axes.bar(x, rate, 0.92 * width, **looks.bar(str(row["method"])))
    low, high = _percent(row["low"]), _percent(row["high"])
    if math.isfinite(low) and math.isfinite(high):
        reach = [[max(0.0, rate - low)], [max(0.0, high - rate)]]
        line = ink() if width else looks.colour(str(row["method"]))
        axes.errorbar(x, rate, yerr=reach, color=line, capsize=2.5, linewidth=1.0 if width else 0.6)


def _null_mark(axes: Any, x: float, width: float, row: Any) -> bool:  # noqa: ANN401  matplotlib's, a row
    null = _percent(row["null_rate"])
    if not math.isfinite(null):
        return False
    axes.plot([x - 0.46 * width, x + 0.46 * width], [null, null], color=ink(), linestyle=":", linewidth=2)
    return True


def _percent(value: Any) -> float:  # noqa: ANN401  a number, or pandas' missing value
    import pandas as pd

    return math.nan if pd.isna(value) else 100 * float(value)


def _slanted(groups: Sequence[Any]) -> dict[str, Any]:
    """Long or many names would run into each other."""
    if max(len(plain(one)) for one in groups) * len(groups) <= 60:
        return {}
    return {"rotation": 35, "ha": "right", "rotation_mode": "anchor"}


def _curves(rows: pd.DataFrame, looks: Looks) -> FigureSpec:
    systems = list(dict.fromkeys(rows["system"].dropna()))
    shown = rows[rows["system"].isna()] if rows["system"].isna().any() else rows[rows["system"] == systems[0]]
    methods = methods_of(shown)

    def draw(figure: Any) -> None:  # noqa: ANN401  matplotlib's
        axes = figure.add_subplot()
        for method in methods:
            mine = shown[shown["method"] == method].sort_values("tolerance_A")
            at = mine["tolerance_A"].to_numpy(dtype=float, na_value=np.nan)
            axes.plot(
                at,
                100 * mine["rate"].to_numpy(dtype=float),
                marker="o",
                color=looks.colour(method),
                label=plain(method),
            )
            if len(methods) > MOST_BANDS:
                continue
            low, high = (mine[end].to_numpy(dtype=float, na_value=np.nan) * 100 for end in ("low", "high"))
            axes.fill_between(at, low, high, color=looks.colour(method), alpha=0.15, linewidth=0)
        axes.set(xscale="log", xlabel="tolerance (Å)", ylabel="symmetric structures (%)")
        axes.set_ylim(0, max(axes.get_ylim()[1], 5))
        add_legend(figure, axes.get_lines())

    where = "over all systems" if rows["system"].isna().any() else f"of {systems[0]}"
    ends = []
    for method in methods:
        mine = shown[shown["method"] == method].sort_values("tolerance_A")
        first, last = mine.iloc[0], mine.iloc[-1]
        ends.append(
            f"{method} from {100 * first['rate']:.0f} % at {first['tolerance_A']:g} Å to {100 * last['rate']:.0f} % at "
            f"{last['tolerance_A']:g} Å"
        )
    return FigureSpec(
        "success-by-tolerance",
        "Symmetry success rate by tolerance",
        f"Curves of the share of symmetric structures over the tolerance, {where}: {'; '.join(ends)}.",
        f"Relaxed structures {where}" + ("; bands are 95 % intervals." if len(methods) <= MOST_BANDS else "."),
        draw,
    )
