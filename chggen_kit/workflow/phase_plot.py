"""Pictures of binary and ternary phase diagrams, drawn as in Fig. 5 of Zhong et al. (2025).

Squares are references, circles candidates on the hull and diamonds candidates above it; filled ones lie on the hull of
what is shown. A binary diagram has formation energies over composition; a ternary one is a triangle of compositions,
whose colours tell how far above the hull a phase lies.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chggen_kit.errors import InputError
from chggen_kit.thermo import Hull
from chggen_kit.workflow.phase_diagram import Diagram, DiagramPhase
from chggen_kit.workflow.targets import refuse_existing

SUFFIXES = (".png", ".svg", ".pdf")
HIGHEST = 0.3
"""eV/atom above the hull: higher candidates are left out of the picture, which they would squeeze."""
_REFERENCE, _ON_HULL, _ABOVE = "tab:blue", "tab:green", "tab:orange"
_CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 3**0.5 / 2]])


def check_target(out: Path) -> None:
    """Refuse a file that cannot be written as a picture, before any work.

    Raises:
        InputError: for other suffixes, or a file that is there.
    """
    if out.suffix.lower() not in SUFFIXES:
        raise InputError(f"A phase diagram cannot be written to {out}: its name must end in {', '.join(SUFFIXES)}.")
    refuse_existing([out])


def plot_diagram(diagram: Diagram, out: Path) -> None:
    """Draw `diagram` into the file `out` (PNG, SVG or PDF, by its suffix).

    Raises:
        InputError: as `check_target`, or for other numbers of elements than two and three.
    """
    check_target(out)
    if len(diagram.symbols) not in {2, 3}:
        raise InputError(
            f"Diagrams of two or three elements can be drawn, not of {len(diagram.symbols)} "
            f"({'-'.join(diagram.symbols)}). Leave --out away for the table alone."
        )
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # No pyplot: it keeps global state and looks for a display.
    figure = Figure(figsize=(7.0, 5.0), layout="constrained")
    FigureCanvasAgg(figure)
    draw_diagram(diagram, figure)
    out.parent.mkdir(parents=True, exist_ok=True)
    # Neither the date nor random identifiers: the same diagram gives the same file.
    figure.savefig(out, dpi=200, metadata={"Date": None} if out.suffix.lower() == ".svg" else None)


def draw_diagram(diagram: Diagram, figure: Any) -> None:  # noqa: ANN401  matplotlib's
    """Draw a `diagram` of two or three elements into an empty matplotlib figure."""
    axes = figure.add_subplot()
    shown = [one for one in diagram.phases if one.kind == "reference" or one.above_hull <= HIGHEST]
    # The lowest of a composition is drawn last, on top of the others.
    shown.sort(key=lambda one: -one.above_hull)
    if len(diagram.symbols) == 2:
        _draw_binary(axes, diagram, shown)
    else:
        _draw_ternary(figure, axes, diagram, shown)
    title = f"{'-'.join(diagram.symbols)} ({diagram.references.potential}, {diagram.references.energy_frame})"
    if diagram.exclude_composition:
        title += "\ncandidates without references of their own composition"
    axes.set_title(title, pad=14)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8)


def _groups(shown: Sequence[DiagramPhase]) -> list[tuple[str, dict[str, Any], list[DiagramPhase]]]:
    """Label, marker and phases of each group, in the order of drawing."""
    groups = [
        ("reference above the hull", {"marker": "s", "facecolors": "none", "edgecolors": _REFERENCE, "s": 20}),
        ("candidate above the hull", {"marker": "D", "facecolors": "none", "edgecolors": _ABOVE, "s": 22}),
        ("reference on the hull", {"marker": "s", "facecolors": _REFERENCE, "edgecolors": _REFERENCE, "s": 38}),
        ("candidate on the hull", {"marker": "o", "facecolors": _ON_HULL, "edgecolors": _ON_HULL, "s": 42}),
    ]
    return [
        (label, style, [one for one in shown if label == f"{one.kind} {'on' if one.is_stable else 'above'} the hull"])
        for label, style in groups
    ]


def _draw_binary(axes: Any, diagram: Diagram, shown: Sequence[DiagramPhase]) -> None:  # noqa: ANN401  matplotlib's
    first, second = diagram.symbols
    share = {id(one): float(one.phase.composition.get_atomic_fraction(second)) for one in shown}
    stable = sorted(
        (share[id(one)], one.formation_energy) for one in shown if one.kind == "reference" and one.is_stable
    )
    axes.plot(*zip(*stable, strict=True), color=_REFERENCE, linewidth=1.0, zorder=1)
    for label, style, group in _groups(shown):
        if group:
            axes.scatter(
                [share[id(one)] for one in group],
                [one.formation_energy for one in group],
                label=label,
                zorder=2,
                **style,
            )
    for one in shown:
        if one.is_stable and len(one.phase.amounts) > 1:
            axes.annotate(
                _pretty(one.phase.formula),
                (share[id(one)], one.formation_energy),
                xytext=(0, -11),
                textcoords="offset points",
                ha="center",
                fontsize=8,
            )
    axes.axhline(0.0, color="0.8", linewidth=0.8, zorder=0)
    # Phases that do not form from the elements would squeeze the others.
    lowest = min(one.formation_energy for one in shown)
    axes.set_ylim(lowest - 0.12 * max(-lowest, 0.1), min(max(one.formation_energy for one in shown), 0.1) + 0.02)
    axes.set_xlabel(f"x in {first}$_{{1-x}}${second}$_x$")
    axes.set_ylabel("formation energy (eV/atom)")


def _draw_ternary(figure: Any, axes: Any, diagram: Diagram, shown: Sequence[DiagramPhase]) -> None:  # noqa: ANN401  matplotlib's
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    for low, high in _tie_lines(diagram):
        axes.plot(*zip(low, high, strict=True), color="0.75", linewidth=0.8, zorder=1)
    colours = ScalarMappable(Normalize(0.0, HIGHEST), "plasma_r")
    for label, style, group in _groups(shown):
        if not group:
            continue
        points = np.array([_place(diagram, one) for one in group])
        look = dict(style)
        if "above" in label:
            look["edgecolors"] = colours.to_rgba(np.array([one.above_hull for one in group]))
        axes.scatter(points[:, 0], points[:, 1], label=label, zorder=2, **look)
    for symbol, corner, offset in zip(diagram.symbols, _CORNERS, ((-10, -12), (10, -12), (0, 8)), strict=True):
        axes.annotate(symbol, corner, xytext=offset, textcoords="offset points", ha="center", fontsize=11)
    for one in {entry.phase.formula: entry for entry in shown if entry.is_stable}.values():
        if len(one.phase.amounts) > 1:
            point = _place(diagram, one)
            # Along the lower edge, level labels would run into each other.
            below = {"xytext": (0, -6), "rotation": -50, "va": "top", "rotation_mode": "anchor"}
            where: dict[str, Any] = below if point[1] < 1e-9 else {"xytext": (5, 4)}
            axes.annotate(_pretty(one.phase.formula), point, textcoords="offset points", fontsize=8, **where)
    axes.set_aspect("equal")
    axes.axis("off")
    figure.colorbar(colours, ax=axes, label="above the hull (eV/atom)", shrink=0.7)


def _place(diagram: Diagram, one: DiagramPhase) -> NDArray[np.float64]:
    shares = np.array([one.phase.composition.get_atomic_fraction(symbol) for symbol in diagram.symbols], dtype=float)
    return np.asarray(shares @ _CORNERS)


def _tie_lines(diagram: Diagram) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Edges of the triangles of coexisting references, each once."""
    computed = Hull(diagram.references).diagram(diagram.symbols)
    edges = {tuple(sorted((facet[i], facet[j]))) for facet in computed.facets for i, j in ((0, 1), (1, 2), (0, 2))}

    def point(index: int) -> NDArray[np.float64]:
        composition = computed.qhull_entries[index].composition
        shares = [composition.get_atomic_fraction(symbol) for symbol in diagram.symbols]
        return np.asarray(np.array(shares, dtype=float) @ _CORNERS)

    return [(point(low), point(high)) for low, high in sorted(edges)]


def _pretty(formula: str) -> str:
    """The formula with lowered amounts, in matplotlib's notation."""
    return re.sub(r"(\d+(?:\.\d+)?)", r"$_{\1}$", formula)
