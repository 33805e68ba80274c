"""Local environments as in Fig. 2 c-f of Zhong et al. (2025): g(r) by pair, coordination numbers by element."""

from __future__ import annotations

from typing import Any

from chggen_kit.metrics.environments import EnvironmentComparison, EnvironmentSet, Pair
from chggen_kit.report.drawing import FigureSpec, colour, ink

MOST = 9
"""Panels in a figure; of more pairs those between different elements come first."""
_COLUMNS = 3
_LABELS = ("generated", "references")


def environment_figures(comparison: EnvironmentComparison) -> list[FigureSpec]:
    """Radial distribution functions, and coordination numbers where there are any."""
    pairs = sorted(comparison.pairs, key=lambda pair: (pair[0] == pair[1], pair))[:MOST]
    found = [_rdf(comparison, pairs)]
    if comparison.species:
        found.append(_coordination(comparison))
    return found


def _sets(comparison: EnvironmentComparison) -> tuple[EnvironmentSet, EnvironmentSet]:
    return comparison.generated, comparison.reference


def _panels(figure: Any, number: int) -> list[Any]:  # noqa: ANN401  matplotlib's
    columns = min(_COLUMNS, number)
    rows = -(-number // columns)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for extra in axes[number:]:
        extra.set_visible(False)
    return list(axes[:number])


def _size(number: int) -> tuple[float, float]:
    columns = min(_COLUMNS, number)
    return max(4.2, 3.1 * columns), 0.7 + 2.3 * -(-number // columns)


def _rdf(comparison: EnvironmentComparison, pairs: list[Pair]) -> FigureSpec:
    radii = comparison.generated.settings.centres_A

    def draw(figure: Any) -> None:  # noqa: ANN401  matplotlib's
        for axes, pair in zip(_panels(figure, len(pairs)), pairs, strict=True):
            for number, (label, one) in enumerate(zip(_LABELS, _sets(comparison), strict=True)):
                values = one.rdf(pair)
                if values is not None:
                    axes.plot(radii, values, color=colour(number), linewidth=1.3, label=label)
            axes.axhline(1.0, color=ink(), linewidth=0.6, linestyle=":")
            axes.set_title("-".join(pair), fontsize=10)
            axes.set(xlabel="r (Å)", ylabel="g(r)", xlim=(0, radii[-1]), ylim=(0, None))
        _legend(figure)

    lines = "; ".join(f"{'-'.join(pair)} {comparison.pairs[pair].value:.3f} Å" for pair in pairs)
    return FigureSpec(
        "environments-rdf",
        "Radial distribution functions",
        f"Curves of g(r) by pair of elements, generated and reference structures. Distances between them: {lines}.",
        "Counts over those of an ideal gas of the same density.",
        draw,
        _size(len(pairs)),
    )


def _coordination(comparison: EnvironmentComparison) -> FigureSpec:
    species = list(comparison.species)[:MOST]

    def draw(figure: Any) -> None:  # noqa: ANN401  matplotlib's
        for axes, name in zip(_panels(figure, len(species)), species, strict=True):
            for number, (label, one) in enumerate(zip(_LABELS, _sets(comparison), strict=True)):
                shares = one.coordination(name) or {}
                places = [count + (number - 0.5) * 0.4 for count in shares]
                axes.bar(
                    places,
                    [100 * share for share in shares.values()],
                    0.4,
                    color=colour(number),
                    hatch=("", "//")[number],
                    edgecolor=ink(),
                    linewidth=0.5,
                    label=label,
                )
            axes.set_title(name, fontsize=10)
            axes.set(xlabel="neighbours", ylabel="atoms (%)")
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(visible=False, axis="x")
        _legend(figure)

    lines = "; ".join(f"{name} {comparison.species[name].value:.2f} neighbours" for name in species)
    return FigureSpec(
        "environments-coordination",
        "Coordination numbers",
        f"Bars of coordination numbers by element, generated and reference structures. Distances: {lines}.",
        f"Neighbours by {comparison.generated.settings.finder}"
        + (
            f", of {', '.join(comparison.generated.settings.ligands)} only."
            if comparison.generated.settings.ligands
            else "."
        ),
        draw,
        _size(len(species)),
    )


def _legend(figure: Any) -> None:  # noqa: ANN401  matplotlib's
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, fontsize=9)
