"""A run whose potential lives in another process: what happens to it happens to nothing else."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import ase.db
import isolated_toys
import pytest
from pymatgen.core import Lattice, Structure

import chggen_kit.plugins.builtin
from chggen_kit.errors import PluginError
from chggen_kit.plugins import Registry
from chggen_kit.workflow.config import InpaintConfig, build_config
from chggen_kit.workflow.pipeline import run_inpaint
from chggen_kit.workflow.records import StructureData

HOST = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.6), ["O"], [[0, 0, 0]])


@pytest.fixture
def registry() -> Registry:
    return Registry.from_modules([chggen_kit.plugins.builtin, isolated_toys])


def run(registry: Registry, out: Path, **options: Any) -> None:
    settings = {
        "host": StructureData.of(HOST),
        "guest_counts": {"Mg": 2},
        "n": 6,
        "backend": {"name": "none"},
        "sampler": {"name": "random"},
        "potential": {"name": f"toy@{sys.executable}", "options": options},
        "relaxer": {"name": "fire"},
        "references": "none",
        "micro_batch_atoms": 12,
        "max_steps": 20,
        "null_rates": 0,
    }
    run_inpaint(build_config(InpaintConfig, settings, registry), out, registry=registry)


def children() -> set[int]:
    """Processes whose parent is this one, zombies included."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        if int(fields[1]) == os.getpid():
            found.add(int(stat.parent.name))
    return found


def rows(out: Path) -> list[tuple[Any, ...]]:
    with ase.db.connect(str(out / "results.db"), use_lock_file=False) as database:
        return [
            (row.formula, row.get("energy"), row.positions.tolist(), row.cell.tolist()) for row in database.select()
        ]


def test_a_worker_that_is_killed_amid_a_run_costs_no_finished_work(registry: Registry, tmp_path: Path) -> None:
    before = children()
    marker = tmp_path / "killed"
    fault = {"fault": "killed-once", "marker": str(marker)}
    began = time.monotonic()
    with pytest.raises(PluginError, match=r"'toy'.*died during 'evaluate'.*SIGKILL"):
        run(registry, tmp_path / "run", **fault)
    assert time.monotonic() - began < 120
    assert marker.exists()
    assert children() <= before, "nothing is left running"
    finished = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "run" / "shards").rglob("*.json*")}
    assert finished, "it was killed too early to tell"
    run(registry, tmp_path / "run", **fault)  # the same command
    again = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "run" / "shards").rglob("*.json*")}
    assert {name: again[name] for name in finished} == finished, "what was finished is not done again"
    marker.touch()
    run(registry, tmp_path / "other", **fault)
    assert rows(tmp_path / "run") == rows(tmp_path / "other")
    assert json.loads((tmp_path / "run" / "run.json").read_text())
    assert children() <= before
