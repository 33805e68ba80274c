"""Distributions over structures: changes on relaxation (Fig. 4 a-b of Zhong et al. (2025)), E_d (4 c), and the cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chggen_kit.report.drawing import FigureSpec, Looks, add_legend, ink, plain
from chggen_kit.report.figure_rates import methods_of
from chggen_kit.workflow.records import OK

if TYPE_CHECKING:
    import pandas as pd

BINS = 24
MOST_OVERLAID = 3
"""Histograms over each other; of more methods each has a row of its own."""
_KEPT = (0.02, 0.98)
"""Quantiles between which the axis lies: a few exploded structures would squeeze all others into one bin."""


@dataclass(frozen=True)
class _Quantity:
    column: str
    name: str
    title: str
    label: str
    unit: str
    caption: str


_QUANTITIES = (
    _Quantity(
        "energy_change",
        "energy-change",
        "Energy change on relaxation",
        "energy change (eV/atom)",
        "eV/atom",
        "Relaxed minus as drawn; dashed lines are medians.",
    ),
    _Quantity(
        "max_displacement_A",
        "displacement",
        "Largest displacement on relaxation",
        "largest displacement of an atom (Å)",
        "Å",
        "Drift removed; dashed lines are medians.",
    ),
    _Quantity(
        "E_d",
        "decomposition-energy",
        "Decomposition energy",
        "E_d (eV/atom)",
        "eV/atom",
        "Against the hull of the references: structures left of zero lie below it. Dashed lines are medians.",
    ),
)


def distribution_figures(structures: pd.DataFrame, looks: Looks) -> list[FigureSpec]:
    """A histogram for each quantity that structures have."""
    counted = structures[structures["counted"].fillna(value=False) & (structures["outcome"] == OK)]
    found = []
    for quantity in _QUANTITIES:
        rows = counted[counted[quantity.column].notna()]
        if len(rows):
            found.append(_histogram(rows, quantity, looks))
    return found


def _histogram(rows: pd.DataFrame, quantity: _Quantity, looks: Looks) -> FigureSpec:
    methods = methods_of(rows)
    values = {
        method: rows.loc[rows["method"] == method, quantity.column].to_numpy(dtype=float, na_value=np.nan)
        for method in methods
    }
    edges = _edges(np.concatenate(list(values.values())))
    outside = sum(int(((one < edges[0]) | (one > edges[-1])).sum()) for one in values.values())

    overlaid = len(methods) <= MOST_OVERLAID

    def draw(figure: Any) -> None:  # noqa: ANN401  matplotlib's
        axes = figure.add_subplot()
        (_overlay if overlaid else _rows)(axes, values, edges, looks)
        if edges[0] < 0 < edges[-1]:
            axes.axvline(0.0, color=ink(), linewidth=0.8)
        axes.set(xlabel=quantity.label, xlim=(edges[0], edges[-1]))
        if overlaid:
            add_legend(figure, axes.get_legend_handles_labels()[0])

    medians = "; ".join(
        f"{method}: median {np.median(one):.3f} {quantity.unit} of {len(one)}" for method, one in values.items()
    )
    left_out = f" {outside} of them outside the axis." if outside else ""
    return FigureSpec(
        quantity.name,
        quantity.title,
        f"{'Histogram' if overlaid else 'Box plot'} of the {quantity.title.lower()} by method. {medians}.{left_out}",
        f"{quantity.caption} {sum(map(len, values.values()))} structures.{left_out}",
        draw,
        (5.4, 3.6 if overlaid else 1.1 + 0.42 * len(methods)),
    )


def _overlay(
    axes: Any,  # noqa: ANN401  matplotlib's
    values: Mapping[str, NDArray[np.float64]],
    edges: NDArray[np.float64],
    looks: Looks,
) -> None:
    """Histograms over each other."""
    for method, mine in values.items():
        weights = np.full(len(mine), 100 / len(mine))
        axes.hist(
            mine, edges, weights=weights, histtype="stepfilled", color=looks.colour(method), alpha=0.25, linewidth=0
        )
        axes.hist(
            mine,
            edges,
            weights=weights,
            histtype="step",
            color=looks.colour(method),
            linewidth=1.6,
            label=plain(method),
        )
        median = float(np.median(mine))
        if edges[0] <= median <= edges[-1]:
            axes.axvline(median, color=looks.colour(method), linestyle="--", linewidth=1.2)
    axes.set_ylabel("structures (%)")


def _rows(
    axes: Any,  # noqa: ANN401  matplotlib's
    values: Mapping[str, NDArray[np.float64]],
    edges: NDArray[np.float64],
    looks: Looks,
) -> None:
    """A row for each method: every structure as a dot, quartiles as a box, the median dashed as in `_overlay`."""
    places = np.arange(len(values))[::-1]
    for place, (method, mine) in zip(places, values.items(), strict=True):
        # Dots of equal height would cover each other; this spread is the same every time.
        spread = 0.26 * np.sin(2.4 * np.arange(len(mine)))
        axes.scatter(mine, place + spread, s=7, color=looks.colour(method), alpha=0.55, linewidths=0)
        low, median, high = np.quantile(mine, [0.25, 0.5, 0.75])
        axes.barh(
            place, high - low, 0.62, left=low, color=looks.colour(method), alpha=0.25, edgecolor=ink(), linewidth=0.8
        )
        if edges[0] <= median <= edges[-1]:
            axes.plot([median, median], [place - 0.31, place + 0.31], color=ink(), linestyle="--", linewidth=1.6)
    axes.set_yticks(places, [plain(one) for one in values])
    axes.grid(visible=False, axis="y")


def _edges(values: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = np.quantile(values, _KEPT)
    spread = max(high - low, 1e-3)
    # All of them where the ends are near anyway.
    low = values.min() if low - values.min() < 0.25 * spread else low
    high = values.max() if values.max() - high < 0.25 * spread else high
    margin = 0.02 * max(high - low, 1e-3)
    return np.linspace(low - margin, high + margin, BINS + 1)


def cost_figure(cells: pd.DataFrame, unit: str, looks: Looks) -> FigureSpec | None:
    """Time by method, and for each symmetric structure where these are counted; None without times."""
    column = "cpu_seconds" if cells["cpu_seconds"].notna().any() else "wall_seconds"
    done = cells[cells[column].notna()]
    if not len(done):
        return None
    methods = methods_of(done)
    total = [float(done.loc[done["method"] == method, column].sum()) for method in methods]
    symmetric = [int(done.loc[done["method"] == method, "symmetric"].fillna(0).sum()) for method in methods]
    with_yield = any(symmetric)

    def draw(figure: Any) -> None:  # noqa: ANN401  matplotlib's
        left, *right = np.atleast_1d(figure.subplots(1, 2 if with_yield else 1, sharey=True))
        places = np.arange(len(methods))[::-1]
        for place, method, seconds, count in zip(places, methods, total, symmetric, strict=True):
            look = looks.bar(method)
            left.barh(place, seconds, **look)
            if right and count:
                right[0].barh(place, seconds / count, **look)
            elif right:
                right[0].text(0, place, " none", va="center", fontsize=9)
        left.set_yticks(places, [plain(one) for one in methods])
        left.set_xlabel(f"{unit} in all")
        left.grid(visible=False, axis="y")
        if right:
            right[0].set_xlabel(f"{unit} for each symmetric structure")
            right[0].grid(visible=False, axis="y")

    lines = "; ".join(
        f"{method}: {seconds:.0f}" + (f", {count} symmetric structures" if with_yield else "")
        for method, seconds, count in zip(methods, total, symmetric, strict=True)
    )
    return FigureSpec(
        "cost",
        "Cost",
        f"Bar chart of {unit}. {lines}.",
        f"Sum of {unit} over all finished pieces of work.",
        draw,
        (8.0, 1.2 + 0.34 * len(methods)),
    )
