"""The comparison of local environments as a table."""

from __future__ import annotations

import math

from rich.box import SIMPLE_HEAD
from rich.table import Table

from chggen_kit.metrics.environments import Distance, EnvironmentComparison


def _number(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "-"


def comparison_table(comparison: EnvironmentComparison, reference_name: str) -> Table:
    """Distances by pair and by element, their means first."""
    ours, theirs = len(comparison.generated.structures), len(comparison.reference.structures)
    missing = len(comparison.generated.failures) + len(comparison.reference.failures)
    title = f"Local environments of {ours} structures against {theirs} ({reference_name})"
    if missing:
        title += f"; {missing} without coordination numbers"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("of", "distance", "95 %", "floor", "unit"):
        table.add_column(heading, justify="left" if heading in {"of", "unit"} else "right")

    def add(name: str, found: Distance, unit: str) -> None:
        interval = f"{found.low:.3f} to {found.high:.3f}" if math.isfinite(found.low) else "-"
        table.add_row(name, _number(found.value), interval, _number(found.floor), unit)

    add("g(r), mean over pairs", comparison.mean_rdf_A, "Å")
    for pair, found in comparison.pairs.items():
        add(f"  {'-'.join(pair)}", found, "Å")
    add("coordination, mean over elements", comparison.mean_coordination, "neighbours")
    for name, found in comparison.species.items():
        add(f"  {name}", found, "neighbours")
    return table
