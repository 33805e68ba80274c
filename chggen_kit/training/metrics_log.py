"""The record of a training run: one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol


class Write(Protocol):
    """Appends one row."""

    def __call__(self, row: dict[str, Any]) -> None:
        """Append `row`, which has a key `step`."""
        ...


@contextmanager
def metrics_log(path: Path, step: int) -> Iterator[Write]:
    """Append to `path`; rows of steps after `step`, of a run that went on past its last saved state, are dropped."""
    rows = path.read_text().splitlines() if path.exists() else []
    kept = [row for row in rows if _step_of(row) <= step]
    path.write_text("".join(f"{row}\n" for row in kept))
    with path.open("a") as file:

        def write(row: dict[str, Any]) -> None:
            file.write(json.dumps(row) + "\n")
            file.flush()

        yield write


def _step_of(row: str) -> float:
    try:
        return float(json.loads(row)["step"])
    except (ValueError, KeyError):
        # The last row of a killed run may be half written.
        return float("inf")
