"""What a report shows, whatever it is of: a benchmark or one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from chggen_kit.metrics.environments import EnvironmentComparison
from chggen_kit.workflow.phase_diagram import Diagram
from chggen_kit.workflow.records import StructureData

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd


@dataclass(frozen=True)
class Crystal:
    """One structure for the viewer.

    Attributes:
        relaxed: as relaxed; None where it was not.
        drawn: as drawn; None where that is not known.
        guests: 0-based indices of its guests.
    """

    relaxed: StructureData | None
    drawn: StructureData | None
    guests: tuple[int, ...] = ()

    @property
    def shown(self) -> StructureData | None:
        """The relaxed structure, or the drawn one."""
        return self.relaxed or self.drawn


@dataclass(frozen=True)
class ReportContent:
    """Everything that a report shows. The frames have the columns of `chggen_kit.benchmark.tables`.

    Attributes:
        title: of the page.
        kind: `benchmark` or `run`.
        source: folder that it is of.
        structures, cells, rates, quantities, differences: the tables.
        crystals: structures in the order of the rows of `structures`; None for a row without one.
        runs: run directories that the structures are from.
        configuration: all that determined the results, plain JSON.
        notes: sentences that a reader must know.
        diagrams: phase diagrams with the structures placed in them.
        environments: by method (of a run, stage), local environments compared with those of references, where that was
            asked for.
        reference_name: what these references are.
        about: what it is of, in a sentence.
        cost_unit: what `cells` tells of the cost.
    """

    title: str
    kind: str
    source: Path
    structures: pd.DataFrame
    cells: pd.DataFrame
    rates: pd.DataFrame
    quantities: pd.DataFrame
    differences: pd.DataFrame
    crystals: Sequence[Crystal | None]
    runs: Sequence[Path]
    configuration: Mapping[str, Any]
    notes: Sequence[str] = ()
    diagrams: Sequence[Diagram] = ()
    environments: Mapping[str, EnvironmentComparison] = field(default_factory=dict)
    reference_name: str = ""
    about: str = ""
    cost_unit: str = "CPU seconds"
