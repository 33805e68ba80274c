"""What a run cost, from its pieces of work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chggen_kit.workflow.rundir import RunDirectory, read_json

_NULLS = "null-rates"
_DRAW = "-draw"


def cost_of(folder: Path) -> dict[str, Any]:
    """Cost of the pieces of a run, its nulls left out."""
    cost: dict[str, Any] = {"network_calls": 0, "cpu_seconds": 0.0, "wall_seconds": 0.0, "peak_memory_MB": 0.0}
    for path in sorted(RunDirectory(folder).shards.glob("*.json")):
        if path.name.startswith(_NULLS):
            continue
        piece = read_json(path)
        cost["wall_seconds"] += piece["seconds"]
        cost["cpu_seconds"] += piece.get("cpu_seconds", piece["seconds"])
        cost["peak_memory_MB"] = max(cost["peak_memory_MB"], piece.get("peak_memory_MB", 0.0))
        if _DRAW in path.name and piece["records"]:
            # All structures of a piece were drawn in one batch.
            cost["network_calls"] += max(record.get("network_calls") or 0 for record in piece["records"])
    return cost
