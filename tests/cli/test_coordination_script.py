"""scripts/coordination_statistics.py: which structures it counts."""

from __future__ import annotations

import gzip
import importlib.util
import json
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "coordination_statistics.py"


def record(formula: str, species: list[str], split: str = "train") -> str:
    return json.dumps({"formula": formula, "species": species, "suggested_split": split})


def test_formulas_held_out_from_training_are_left_out(tmp_path: Path) -> None:
    specification = importlib.util.spec_from_file_location("coordination_statistics", SCRIPT)
    assert specification is not None
    assert specification.loader is not None
    script = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(script)
    records = [
        record("Zn(PS3)2", ["Zn", "P", "P", *["S"] * 6]),  # held out, in whatever spelling
        record("Rb2ZnO2", ["Rb", "Rb", "Zn", "O", "O"]),
        record("ZnF2", ["Zn", "F", "F"], split="test"),
    ]
    (tmp_path / "structures.jsonl.gz").write_bytes(gzip.compress("\n".join(records).encode()))
    found = script.read(tmp_path / "structures.jsonl.gz")
    assert [r["formula"] for by_kind in found.values() for rows in by_kind.values() for r in rows] == ["Rb2ZnO2"] * 2
    assert set(found) == {"Rb", "Zn"}
