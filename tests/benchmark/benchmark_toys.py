"""A small specification over the plug-ins of the workflow's tests, here and in processes of their own."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pandas as pd

WORKFLOW_TESTS = Path(__file__).parents[1] / "workflow"
sys.path.insert(0, str(WORKFLOW_TESTS))

from workflow_toys import TOY_SETTINGS  # noqa: E402  found through the line above

from chggen_kit.benchmark.benchmark import BenchmarkResult  # noqa: E402
from chggen_kit.benchmark.reading import validated  # noqa: E402
from chggen_kit.benchmark.spec import BenchmarkSpec  # noqa: E402
from chggen_kit.benchmark.tables import MEASURED, MEASURED_QUANTITIES, TABLES  # noqa: E402

ROOT = Path(__file__).parents[2]
CHANNEL = {
    "space_group": "Fm-3m",
    "cell": [5.5, 5.5, 5.5, 90, 90, 90],
    "sites": [["Na", [0, 0, 0]], [{"Cl": 0.5}, [0.5, 0.5, 0.5]]],
}
DISTRIBUTION = "chggen-toys"


def toy_plain(**changes: Any) -> dict[str, Any]:
    """A specification as a file holds it."""
    return {
        "name": "toy",
        "seeds": [0, 1],
        "budget": {"starts": 2},
        "defaults": dict(TOY_SETTINGS),
        "systems": [
            {"formula": "ZnP2S2", "guests": ["Zn"]},
            {"formula": "LiSi", "guests": ["Li"], "formula_units": [2]},
            {"name": "salt", "host": CHANNEL},
        ],
        "methods": {
            "inpainting": {"baseline": "random"},
            "unconditional": {"stage": "unconditional"},
            "random": {"sampler": "random", "stage": "inpainted"},
        },
        **changes,
    }


def toy_spec(**changes: Any) -> BenchmarkSpec:
    return validated(BenchmarkSpec, toy_plain(**changes), "the test's specification")


def stable_text(folder: Path) -> dict[str, str]:
    """All tables as files, without what a clock measured."""
    texts = {}
    for table in TABLES:
        frame = table.read(folder)
        if table.name == "cells":
            frame = frame.drop(columns=list(MEASURED))
        if table.name == "quantities":
            frame = frame[~frame["quantity"].isin(MEASURED_QUANTITIES)]
        texts[table.name] = frame.to_csv(index=False)
    return texts


def install_toys(folder: Path) -> dict[str, str]:
    """Environment of processes in which the small plug-ins are a distribution with an entry point of its own."""
    info = folder / f"{DISTRIBUTION.replace('-', '_')}-0.3.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {DISTRIBUTION}\nVersion: 0.3\n")
    (info / "entry_points.txt").write_text("[chggen_kit]\ntoys = workflow_toys\n")
    paths = [str(folder), str(WORKFLOW_TESTS), str(ROOT), str(ROOT / "backends"), str(ROOT / "potentials")]
    environment = {key: value for key, value in os.environ.items() if key != "CHGGEN_PLUGINS"}
    return {**environment, "PYTHONPATH": os.pathsep.join(paths), "CHGGEN_PLUGINS": "core,toys", "OMP_NUM_THREADS": "1"}


def rate(result: BenchmarkResult, **columns: Any) -> pd.Series:
    """The one row of the rates with these values."""
    rows = result.rates
    for name, value in columns.items():
        rows = rows[rows[name] == value]
    assert len(rows) == 1, rows
    return rows.iloc[0]
