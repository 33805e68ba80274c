"""How far a campaign is, from its ledger alone: no torch, no shard is opened."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chggen_kit.campaign.ledger import Ledger

_MOST_REASONS = 10


@dataclass(frozen=True)
class Status:
    """How far a campaign is.

    Attributes:
        shards: number by state.
        atoms: starts times atoms by state: the measure of work.
        structures, candidates: of the shards that are done (candidates are symmetric).
        out_of_memory: structures that did not fit into memory.
        retried: shards that were begun more than once.
        cpu_seconds: of the shards that are done.
        reasons: why shards failed or were set aside, the most frequent first, with their numbers.
        sitting: of the last sitting: began (seconds since 1970, the driver's clock), host, pid, executor, seconds,
            atoms, structures, candidates, ended; None before the first.
    """

    shards: Mapping[str, int]
    atoms: Mapping[str, int]
    structures: int
    candidates: int
    out_of_memory: int
    retried: int
    cpu_seconds: float
    reasons: tuple[tuple[str, int], ...]
    sitting: Mapping[str, Any] | None

    @property
    def n_shards(self) -> int:
        """All that are planned."""
        return sum(n for state, n in self.shards.items() if state != "left-out")

    @property
    def structures_per_hour(self) -> float:
        """Of the last sitting; NaN before its first shard."""
        return self._per_hour("structures")

    @property
    def candidates_per_hour(self) -> float:
        """Of the last sitting; NaN before its first shard."""
        return self._per_hour("candidates")

    @property
    def seconds_left(self) -> float:
        """Time for what waits at the pace of the last sitting; NaN when that is not known."""
        left = self.atoms.get("waiting", 0) + self.atoms.get("running", 0)
        pace = self._per_hour("atoms") / 3600
        return left / pace if pace > 0 else math.nan

    def _per_hour(self, what: str) -> float:
        # The driver measures the length of a sitting with a clock that cannot be set back.
        if self.sitting is None or not self.sitting["seconds"] or not self.sitting["atoms"]:
            return math.nan
        return float(self.sitting[what]) * 3600 / float(self.sitting["seconds"])


def read_status(folder: Path) -> Status:
    """The status of the campaign in `folder`, whether a driver works on it or not.

    Raises:
        RunDirectoryError: when there is no campaign, or its ledger cannot be read.
    """
    with Ledger(folder, read_only=True) as ledger:
        states = ledger.rows(
            "SELECT state, count(*) n, sum(atoms) atoms, sum(structures) structures, sum(candidates) candidates, "
            "sum(out_of_memory) oom, sum(attempts > 1) retried, sum(cpu_seconds) cpu FROM shards GROUP BY state"
        )
        reasons = ledger.rows(
            "SELECT reason, count(*) n FROM shards WHERE state IN ('failed', 'set-aside') GROUP BY reason "
            "ORDER BY n DESC, reason LIMIT ?",
            [_MOST_REASONS],
        )
        last = ledger.rows("SELECT * FROM sittings ORDER BY number DESC LIMIT 1")
    done = next((row for row in states if row["state"] == "done"), None)
    return Status(
        shards={row["state"]: row["n"] for row in states},
        atoms={row["state"]: row["atoms"] for row in states},
        structures=0 if done is None else done["structures"] or 0,
        candidates=0 if done is None else done["candidates"] or 0,
        out_of_memory=0 if done is None else done["oom"] or 0,
        retried=sum(row["retried"] for row in states),
        cpu_seconds=0.0 if done is None else done["cpu"] or 0.0,
        reasons=tuple((row["reason"] or "", row["n"]) for row in reasons),
        sitting=dict(last[0]) if last else None,
    )
