"""The script that measures refiners, on three textbook crystals: judged rightly, resumed, tables and figure written."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

SCRIPT = Path(__file__).parent.parent.parent / "scripts" / "projection_tradeoff.py"
RUTILE = Structure.from_spacegroup(
    "P4_2/mnm", Lattice.tetragonal(4.594, 2.959), ["Ti", "O"], [[0, 0, 0], [0.305, 0.305, 0]]
)
WURTZITE = Structure.from_spacegroup(
    "P6_3mc", Lattice.hexagonal(3.25, 5.2), ["Zn", "O"], [[1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0.382]]
)
PYRITE = Structure.from_spacegroup("Pa-3", Lattice.cubic(5.42), ["Fe", "S"], [[0, 0, 0], [0.385, 0.385, 0.385]])


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("projection_tradeoff", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_a_result_contains_the_reference_or_not(script: ModuleType) -> None:
    slid = Structure(RUTILE.lattice, RUTILE.species, RUTILE.frac_coords + np.array([0.01, -0.02, 0.03]))
    assert script.contains(slid, RUTILE)
    moved = slid.copy()
    moved.translate_sites([3], [0.03, 0, 0], frac_coords=False)
    assert not script.contains(moved, RUTILE)
    strained = Structure(Lattice.orthorhombic(4.594, 4.65, 2.959), RUTILE.species, RUTILE.frac_coords)
    assert not script.contains(strained, RUTILE)
    # Lower symmetry asked for, higher had: contained.
    reference = RUTILE.copy()
    reference.translate_sites([3], [0.0, 0.0, 0.05], frac_coords=False)
    assert script.contains(RUTILE, reference)


def test_frameworks_keep_their_distance(script: ModuleType) -> None:
    for cubic in (False, True):
        made = script.framework(8, 18.0, cubic, np.random.default_rng(1))
        assert made.volume == pytest.approx(144)
        assert (made.distance_matrix + 9 * np.eye(8)).min() >= 1.6


def test_the_whole_measurement(tmp_path: Path) -> None:
    data, out = tmp_path / "data.jsonl", tmp_path / "out"
    rows = [
        {
            "id": name,
            "lattice": crystal.lattice.matrix.tolist(),
            "species": [site.specie.symbol for site in crystal],
            "frac_coords": crystal.frac_coords.tolist(),
            "suggested_split": "test",
        }
        for name, crystal in (("rutile", RUTILE), ("wurtzite", WURTZITE), ("pyrite", PYRITE))
    ]
    data.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    command = [sys.executable, str(SCRIPT), "--data", str(data), "--out", str(out), "--known", "7", "--random", "1"]
    first = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - our own script
    assert "| evidence 8 | 100 %" in first.stdout
    assert (out / "tradeoff.png").stat().st_size > 10_000
    kept = (out / "rows.jsonl").read_text("utf-8")
    assert len(kept.splitlines()) == 3 * 4 + 2 * 5
    known = [json.loads(line) for line in kept.splitlines() if json.loads(line)["group"].startswith("0.1|")]
    assert all(row["outcomes"]["evidence 8"] == "recovered" for row in known)
    assert (out / "tradeoff.md").read_text("utf-8") in first.stdout
    # Cut off and started again: what is there stays, the rest is done.
    lines = kept.splitlines(keepends=True)
    (out / "rows.jsonl").write_text("".join(lines[:-2]), encoding="utf-8")
    second = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - our own script
    assert (out / "rows.jsonl").read_text("utf-8") == kept
    assert second.stdout == first.stdout
