"""Success rates as bars (Fig. 6 of Zhong et al. (2025)), and over the tolerance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chggen_kit.report.drawing import HATCHES, FigureSpec, colour, ink, plain

if TYPE_CHECKING:
    import pandas as pd

METRIC = "symmetric"
_NULL_NAME = "random structures in the same steps"


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


def success_figures(rates: pd.DataFrame) -> list[FigureSpec]:
    """Bars by system, by number of atoms where there are several, and curves over tolerances; those that have data."""
    found = []
    plain = plain_rates(rates)
    # Of several rates of one name (a run at two tolerances) the usual, looser one is drawn.
    plain = plain.sort_values("tolerance_A", ascending=False, kind="stable").drop_duplicates(
        ["scope", "system", "n_atoms", "method", "stage"]
    )
    plain = plain.sort_index()
    for scope, key, name, title, label in (
        ("system", "system", "success-by-system", "Symmetry success rate by system", "system"),
        ("n_atoms", "n_atoms", "success-by-size", "Symmetry success rate by size", "atoms in the cell"),
    ):
        rows = plain[plain["scope"] == scope]
        groups = list(dict.fromkeys(rows[key].dropna()))
        if not groups or (scope == "n_atoms" and len(groups) < 2):
            continue
        if scope == "n_atoms":
            groups.sort()
        found.append(_bars(rows, key, groups, name, title, label))
    ladder = ladder_rates(rates)
    if len(set(ladder["tolerance_A"].dropna())) > 1:
        found.append(_curves(ladder))
    return found


def _bars(rows: pd.DataFrame, key: str, groups: Sequence[Any], name: str, title: str, label: str) -> FigureSpec:
    methods = methods_of(rows)

    def draw(figure: Any) -> None:  # noqa: ANN401  matplotlib's
        axes = figure.add_subplot()
        width = 0.82 / len(methods)
        marked = False
        for number, method in enumerate(methods):
            for place, group in enumerate(groups):
                mine = rows[(rows["method"] == method) & (rows[key] == group)]
                if not len(mine):
                    continue
                row = mine.iloc[0]
                x = place + (number - (len(methods) - 1) / 2) * width
                _bar(axes, x, width, number, row)
                marked |= _null_mark(axes, x, width, row)
        for number, method in enumerate(methods):
            axes.bar(
                0, 0, color=colour(number), hatch=HATCHES[number % len(HATCHES)], edgecolor=ink(), label=plain(method)
            )
        if marked:
            axes.plot([], [], color=ink(), linestyle=":", linewidth=2, label=_NULL_NAME)
        axes.set_xticks(range(len(groups)), [plain(one) for one in groups], **_slanted(groups))
        axes.set(xlabel=label, ylabel="symmetric structures (%)", ylim=(0, None))
        axes.set_ylim(0, max(axes.get_ylim()[1], 5))
        axes.grid(visible=False, axis="x")
        figure.legend(loc="outside upper center", ncols=min(3, len(methods) + marked), fontsize=9)

    lines = [
        f"{row['method']}, {label} {row[key]}: {100 * row['rate']:.0f} % of {row['denominator']}"
        for _, row in rows.iterrows()
        if row[key] in groups
    ]
    return FigureSpec(
        name,
        title,
        f"Bar chart of symmetry success rates. {'; '.join(lines[:24])}.",
        "Share of structures above the excluded space groups, with 95 % intervals. The dotted line across a bar is the "
        "rate of random structures in the same steps.",
        draw,
        (max(5.0, min(11.0, 1.6 + 0.32 * len(groups) * len(methods))), 3.9),
    )


def _bar(axes: Any, x: float, width: float, number: int, row: Any) -> None:  # noqa: ANN401  matplotlib's, a row
    rate = 100 * float(row["rate"])
    axes.bar(
        x,
        rate,
        0.92 * width,
        color=colour(number),
        hatch=HATCHES[number % len(HATCHES)],
        edgecolor=ink(),
        linewidth=0.5,
    )
    low, high = _percent(row["low"]), _percent(row["high"])
    if math.isfinite(low) and math.isfinite(high):
        reach = [[max(0.0, rate - low)], [max(0.0, high - rate)]]
        axes.errorbar(x, rate, yerr=reach, color=ink(), capsize=2.5, linewidth=1.0)


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


def _curves(rows: pd.DataFrame) -> FigureSpec:
    systems = list(dict.fromkeys(rows["system"].dropna()))
    shown = rows[rows["system"].isna()] if rows["system"].isna().any() else rows[rows["system"] == systems[0]]
    methods = methods_of(shown)

    def draw(figure: Any) -> None:  # noqa: ANN401  matplotlib's
        axes = figure.add_subplot()
        for number, method in enumerate(methods):
            mine = shown[shown["method"] == method].sort_values("tolerance_A")
            at = mine["tolerance_A"].to_numpy(dtype=float, na_value=np.nan)
            axes.plot(
                at, 100 * mine["rate"].to_numpy(dtype=float), marker="o", color=colour(number), label=plain(method)
            )
            low, high = (mine[end].to_numpy(dtype=float, na_value=np.nan) * 100 for end in ("low", "high"))
            axes.fill_between(at, low, high, color=colour(number), alpha=0.15, linewidth=0)
        axes.set(xscale="log", xlabel="tolerance (Å)", ylabel="symmetric structures (%)")
        axes.set_ylim(0, max(axes.get_ylim()[1], 5))
        figure.legend(loc="outside upper center", ncols=min(3, len(methods)), fontsize=9)

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
        f"Relaxed structures {where}; bands are 95 % intervals.",
        draw,
    )
