"""`scripts/make_references.py` on a handful of textbook crystals, with the real CHGNet."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from chggen_kit.thermo.packaged import read_set

SCRIPT = Path(__file__).parents[2] / "scripts" / "make_references.py"


def row(name: str, structure: Structure, height: float | None, source: str = "textbook") -> dict[str, Any]:
    return {
        "id": name,
        "source": source,
        "e_above_hull": height,
        "lattice": structure.lattice.matrix.tolist(),
        "species": [site.specie.symbol for site in structure],
        "frac_coords": structure.frac_coords.tolist(),
    }


def run(*args: str | Path) -> str:
    done = subprocess.run(  # noqa: S603  our own script
        [sys.executable, str(SCRIPT), *map(str, args), "--fmax", "0.1", "--max-steps", "60"],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return done.stdout


@pytest.fixture
def data(tmp_path: Path) -> Path:
    def crystal(group: str, a: float, species: list[str], sites: list[list[float]]) -> Structure:
        return Structure.from_spacegroup(group, Lattice.cubic(a), species, sites).get_primitive_structure()

    diamond = crystal("Fd-3m", 5.46, ["Si"], [[0, 0, 0]])
    lithium = crystal("Im-3m", 3.44, ["Li"], [[0, 0, 0]])
    rows = [
        row("Si", diamond, 0.0),
        row("Li", lithium, 0.0),
        row("Li again", lithium.copy().apply_strain(0.02), 0.001),
        row("Li fcc, too high", crystal("Fm-3m", 4.3, ["Li"], [[0, 0, 0]]), 0.2),
        row("LiSi", crystal("F-43m", 6.0, ["Li", "Si"], [[0, 0, 0], [0.25, 0.25, 0.25]]), None),
        row("a slab", diamond, 0.0, source="pymatgen_core_tests"),
        row("another system", crystal("Fm-3m", 5.7, ["Na", "Cl"], [[0, 0, 0], [0.5, 0, 0]]), 0.0),
    ]
    path = tmp_path / "structures.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    return path


def test_new_and_add(tmp_path: Path, data: Path) -> None:
    out, work = tmp_path / "references.json.gz", tmp_path / "work"
    said = run("new", data, "--work", work, "--out", out)
    assert "4 structures, 6 atoms" in said
    assert "became the same as" in said
    made = read_set(out)
    assert {phase.id for phase in made.phases} <= {"Si", "Li", "Li again", "LiSi"}
    assert sum(phase.structure.species == ("Li",) for phase in made.phases) == 1
    assert {"chgnet-0.3.0"} == set(made.potentials)
    assert min(phase.above_hull for phase in made.phases) == 0
    before = out.read_bytes()
    kept = {path: path.stat().st_mtime_ns for path in work.rglob("*.json")}
    assert len(kept) > 4, "starts that meet the limits are relaxed from strained copies too"
    with gzip.open(data, "rt") as lines:
        given = {one["id"]: one["lattice"] for one in map(json.loads, lines)}
    for phase in made.phases:
        moved = np.abs(np.array(phase.structure.lattice) - np.array(given[phase.id])).max()
        assert moved > 1e-4, f"{phase.id} is shipped as it came"
    run("new", data, "--work", work, "--out", out)
    assert out.read_bytes() == before
    assert {path: path.stat().st_mtime_ns for path in work.rglob("*.json")} == kept
    run("add", "--potential", "chgnet", "--potential-option", "weights=r2scan", "--work", work, "--out", out)
    both = read_set(out)
    assert list(both.potentials) == ["chgnet-0.3.0", "chgnet-r2scan"]
    assert both.potentials["chgnet-r2scan"].energy_frame == "r2scan"
    assert [phase.structure for phase in both.phases] == [phase.structure for phase in made.phases]
    lithium = next(phase for phase in both.phases if phase.structure.species == ("Li",))
    assert set(lithium.energies) == {"chgnet-0.3.0", "chgnet-r2scan"}
