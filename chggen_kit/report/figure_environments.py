"""Local environments as in Fig. 2 c-f of Zhong et al. (2025): g(r) by pair, coordination numbers by element."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chggen_kit.metrics.environments import EnvironmentComparison, EnvironmentSet, Pair
from chggen_kit.report.drawing import FigureSpec, Looks, add_legend, ink, plain

Comparisons = Mapping[str, EnvironmentComparison]
"""By method, or stage of a run; all with the same references."""
MOST = 9
"""Panels in a figure; of more pairs those between different elements come first."""
_COLUMNS = 3
_REFERENCES = "references"


def environment_figures(comparisons: Comparisons, looks: Looks) -> list[FigureSpec]:
    """Radial distribution functions, and coordination numbers where there are any."""
    pairs = dict.fromkeys(pair for one in comparisons.values() for pair in one.pairs)
    species = dict.fromkeys(name for one in comparisons.values() for name in one.species)
    chosen = sorted(pairs, key=lambda pair: (pair[0] == pair[1], pair))[:MOST]
    found = [_rdf(comparisons, chosen, looks)]
    if species:
        found.append(_coordination(comparisons, list(species)[:MOST], looks))
    return found


def _sets(comparisons: Comparisons) -> dict[str, EnvironmentSet]:
    """Each method's set, and the references last."""
    reference = next(iter(comparisons.values())).reference
    return {**{name: one.generated for name, one in comparisons.items()}, _REFERENCES: reference}


def _line(name: str, looks: Looks) -> dict[str, Any]:
    if name == _REFERENCES:
        return {"color": ink(), "linestyle": "--", "linewidth": 1.2}
    return {"color": looks.colour(name), "linewidth": 1.2}


def _bar(name: str, looks: Looks) -> dict[str, Any]:
    return {"facecolor": ink(), "edgecolor": ink(), "linewidth": 0.5} if name == _REFERENCES else looks.bar(name)


def _panels(figure: Any, number: int) -> list[Any]:  # noqa: ANN401  matplotlib's
    columns = min(_COLUMNS, number)
    rows = -(-number // columns)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for extra in axes[number:]:
        extra.set_visible(False)
    return list(axes[:number])


def _size(number: int) -> tuple[float, float]:
    columns = min(_COLUMNS, number)
    return max(4.6, 3.1 * columns), 0.9 + 2.3 * -(-number // columns)


def _rdf(comparisons: Comparisons, pairs: Sequence[Pair], looks: Looks) -> FigureSpec:
    sets = _sets(comparisons)
    radii = sets[_REFERENCES].settings.centres_A

    def draw(figure: Any) -> None:  # noqa: ANN401  matplotlib's
        from matplotlib.lines import Line2D

        for axes, pair in zip(_panels(figure, len(pairs)), pairs, strict=True):
            for name, one in sets.items():
                values = one.rdf(pair)
                if values is not None:
                    axes.plot(radii, values, **_line(name, looks))
            axes.axhline(1.0, color=ink(), linewidth=0.6, linestyle=":")
            axes.set_title("-".join(pair), fontsize=10)
            axes.set(xlabel="r (Å)", ylabel="g(r)", xlim=(0, radii[-1]), ylim=(0, None))
        add_legend(figure, [Line2D([], [], **_line(name, looks), label=plain(name)) for name in sets])

    means = "; ".join(f"{name} {one.mean_rdf_A.value:.3f} Å" for name, one in comparisons.items())
    return FigureSpec(
        "environments-rdf",
        "Radial distribution functions",
        f"Curves of g(r) by pair of elements ({', '.join(map('-'.join, pairs))}), of generated structures and "
        f"references. Mean distance from the references: {means}.",
        "Counts over those of an ideal gas of the same density.",
        draw,
        _size(len(pairs)),
    )


def _coordination(comparisons: Comparisons, species: Sequence[str], looks: Looks) -> FigureSpec:
    sets = _sets(comparisons)
    settings = sets[_REFERENCES].settings
    width = 0.84 / len(sets)

    def draw(figure: Any) -> None:  # noqa: ANN401  matplotlib's
        from matplotlib.patches import Patch

        for axes, element in zip(_panels(figure, len(species)), species, strict=True):
            for number, (name, one) in enumerate(sets.items()):
                shares = one.coordination(element) or {}
                axes.bar(
                    [count + (number - (len(sets) - 1) / 2) * width for count in shares],
                    [100 * share for share in shares.values()],
                    width,
                    **_bar(name, looks),
                )
            axes.set_title(element, fontsize=10)
            axes.set(xlabel="neighbours", ylabel="atoms (%)")
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(visible=False, axis="x")
        add_legend(figure, [Patch(**_bar(name, looks), label=plain(name)) for name in sets])

    means = "; ".join(f"{name} {one.mean_coordination.value:.2f} neighbours" for name, one in comparisons.items())
    only = f", of {', '.join(settings.ligands)} only" if settings.ligands else ""
    return FigureSpec(
        "environments-coordination",
        "Coordination numbers",
        f"Bars of coordination numbers by element ({', '.join(species)}), of generated structures and references. "
        f"Mean distance from the references: {means}.",
        f"Neighbours by {settings.finder}{only}.",
        draw,
        _size(len(species)),
    )
