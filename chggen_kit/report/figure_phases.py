"""Phase diagrams (Fig. 5 of Zhong et al. (2025)), drawn by `chggen_kit.workflow.phase_plot`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chggen_kit.report.drawing import FigureSpec
from chggen_kit.workflow.phase_diagram import Diagram
from chggen_kit.workflow.phase_plot import draw_diagram


def phase_figures(diagrams: Sequence[Diagram]) -> list[FigureSpec]:
    """A figure for each diagram; names differ where several are of one chemical system."""
    found: list[FigureSpec] = []
    for number, diagram in enumerate(diagrams, start=1):
        system = "-".join(diagram.symbols)
        repeated = any(one.symbols == diagram.symbols for one in diagrams[: number - 1])
        name = f"phases-{system}" + (f"-{number}" if repeated else "")
        found.append(_figure(diagram, name, system))
    return found


def _figure(diagram: Diagram, name: str, system: str) -> FigureSpec:
    candidates = [one for one in diagram.phases if one.kind == "candidate"]
    references = len(diagram.phases) - len(candidates)
    stable = sorted({one.phase.formula for one in candidates if one.is_stable})
    best: dict[str, float] = {}
    for one in candidates:
        if one.decomposition_energy is not None:
            known = best.get(one.phase.formula, float("inf"))
            best[one.phase.formula] = min(known, one.decomposition_energy)
    lowest = "; ".join(f"{formula} {energy:.3f} eV/atom" for formula, energy in sorted(best.items())[:16])
    on_hull = f"on the hull: {', '.join(stable)}" if stable else "none on the hull"

    def draw(figure: Any) -> None:  # noqa: ANN401  matplotlib's
        draw_diagram(diagram, figure)

    return FigureSpec(
        name,
        f"Phase diagram {system}",
        f"Phase diagram of {system} with {references} references and {len(candidates)} generated structures, "
        f"{on_hull}. Lowest E_d by formula: {lowest or 'none'}.",
        f"References: {diagram.references.label} ({diagram.references.potential}, {diagram.references.energy_frame}).",
        draw,
        (7.0, 5.0),
    )
