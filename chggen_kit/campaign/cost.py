"""What is left of a campaign will cost: CPU time for each atom, by method, from shards that are done."""

from __future__ import annotations

from dataclasses import dataclass

from chggen_kit.campaign.ledger import Ledger


@dataclass(frozen=True)
class MethodCost:
    """Cost of a method (workflow, backend and potential).

    Attributes:
        workflow, backend, potential: names.
        shards, atoms: that wait (atoms: starts times atoms).
        longest_atoms: of the largest shard of all.
        seconds_per_atom: CPU seconds for each atom of a start; None when none of its shards is done.
    """

    workflow: str
    backend: str
    potential: str
    shards: int
    atoms: int
    longest_atoms: int
    seconds_per_atom: float | None

    @property
    def cpu_seconds(self) -> float | None:
        """Of the shards that wait."""
        return None if self.seconds_per_atom is None else self.seconds_per_atom * self.atoms

    @property
    def longest_seconds(self) -> float | None:
        """Of its largest shard: what an allocation of a cluster must have time for."""
        return None if self.seconds_per_atom is None else self.seconds_per_atom * self.longest_atoms


def method_costs(ledger: Ledger) -> list[MethodCost]:
    """Costs of all methods of a campaign."""
    rows = ledger.rows(
        "SELECT workflow, backend, potential, max(atoms) longest, sum(state IN ('waiting', 'running')) shards, "
        "total(CASE WHEN state IN ('waiting', 'running') THEN atoms END) atoms, "
        "sum(cpu_seconds) / sum(CASE WHEN cpu_seconds IS NOT NULL THEN atoms END) each "
        "FROM shards JOIN lanes ON lanes.number = shards.lane WHERE state != 'left-out' "
        "GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
    )
    return [
        MethodCost(
            row["workflow"],
            row["backend"],
            row["potential"],
            row["shards"],
            int(row["atoms"]),
            row["longest"],
            row["each"],
        )
        for row in rows
    ]


def smallest_shards(ledger: Ledger) -> list[int]:
    """Numbers of the smallest shard that waits, of each method without a shard that is done."""
    rows = ledger.rows(
        "SELECT shards.number, workflow, backend, potential, min(CASE WHEN state = 'waiting' THEN atoms END) least, "
        "sum(state = 'done') done FROM shards JOIN lanes ON lanes.number = shards.lane GROUP BY 2, 3, 4"
    )
    return [row["number"] for row in rows if not row["done"] and row["least"] is not None]
