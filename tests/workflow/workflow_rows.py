"""Rows of `results.db` in a form that can be compared exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ase.db


def read_rows(database: Path) -> list[dict[str, Any]]:
    """Everything of every row except what ase.db numbers and times by itself."""
    with ase.db.connect(str(database), use_lock_file=False) as connection:
        return [
            {
                **row.key_value_pairs,
                "formula": row.formula,
                "energy": row.get("energy"),
                "positions": row.positions.tolist(),
                "cell": row.cell.tolist(),
                "data": row.data,
            }
            for row in connection.select()
        ]
