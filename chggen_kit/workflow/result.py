"""`RunResult`: what `generate` and `inpaint` hand back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pymatgen.core import Structure

from chggen_kit.thermo import Placement
from chggen_kit.workflow.config import RunConfig
from chggen_kit.workflow.records import HostRecord, Record
from chggen_kit.workflow.stability import Stability
from chggen_kit.workflow.summary import rank


@dataclass(frozen=True)
class Candidate:
    """One structure that came through, in the order of the ranking.

    Attributes:
        rank: from 1.
        symmetric: whether its space group counts as symmetric.
        record: everything known of it.
        placement: where it lies against the hull of the references; None without references.
    """

    rank: int
    symmetric: bool
    record: Record
    placement: Placement | None = None

    @property
    def id(self) -> str:
        """Identity in the run."""
        return self.record.id

    @property
    def energy_per_atom(self) -> float | None:
        """In eV/atom; None when it was not relaxed."""
        return self.record.energy_per_atom

    @property
    def decomposition_energy(self) -> float | None:
        """E_d in eV/atom, negative below the hull of the references; None without references."""
        return None if self.placement is None else self.placement.decomposition_energy

    @property
    def above_hull(self) -> float | None:
        """E_hull in eV/atom, with the other candidates on the hull too; None without references."""
        return None if self.placement is None else self.placement.above_hull

    @cached_property
    def structure(self) -> Structure:
        """The relaxed structure, or the generated one when nothing was relaxed."""
        final = self.record.final
        if final is None:
            raise RuntimeError(f"The candidate {self.id} holds no structure: the ranking let a failure through.")
        return final.structure()

    @cached_property
    def generated(self) -> Structure:
        """The structure as drawn: an inpainted one holds its host bit for bit, in its own cell and atom order."""
        if self.record.generated is None:
            raise RuntimeError(f"The candidate {self.id} was never generated: the ranking let a failure through.")
        return self.record.generated.structure()


@dataclass(frozen=True)
class RunResult:
    """Outcome of a run.

    Attributes:
        path: the run directory, with `results.db` and `summary.json`.
        config: what was asked for.
        records: every structure, failures included.
        hosts: every host.
        summary: content of `summary.json`.
        stability: where the structures lie against the hull of the references.
    """

    path: Path
    config: RunConfig
    records: Sequence[Record]
    hosts: Sequence[HostRecord]
    summary: Mapping[str, Any]
    stability: Stability = field(default_factory=Stability)

    @cached_property
    def candidates(self) -> list[Candidate]:
        """Structures that came through, lowest E_d first (energy per atom where there is none)."""
        excluded, placements = self.config.excluded_groups, self.stability.placements
        return [
            Candidate(number, record.is_symmetric(excluded), record, placements.get(record.id))
            for number, record in enumerate(rank(self.records, placements), start=1)
        ]
