"""Campaigns over the toys of tests/workflow, which workers find as an installed distribution."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import ase.db

from chggen_kit.campaign.ledger import Ledger
from chggen_kit.campaign.spec import CampaignSpec

WORKFLOW_TESTS = Path(__file__).parent.parent / "workflow"
SETTINGS = {
    "refiner": "strip",
    "sampler": {"name": "repaint", "options": {"steps": 3, "jump_length": 1, "passes": 1}},
    "unconditional_sampler": {"name": "predictor-corrector", "options": {"steps": 3}},
    "max_steps": 4,
    "references": "none",
    "volume_per_atom": 18.0,
    "null_rates": 0,
    "guests": ["Li"],
    "inpaintings": 1,
    "micro_batch_atoms": 8,
}


def install_toys(folder: Path) -> dict[str, str]:
    """Install the toys into `folder`; the environment in which a process finds them."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(WORKFLOW_TESTS / "workflow_toys.py", folder)
    info = folder / "campaign_toys-1.0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: campaign-toys\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[chggen_kit]\ntoys = workflow_toys\n")
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, "CHGGEN_PLUGINS": "core,toys", "OMP_NUM_THREADS": "1"}


def toy_spec(**changes: Any) -> CampaignSpec:
    values: dict[str, Any] = {
        "name": "toys",
        "targets": [{"pattern": "Li_xSi_y", "ranges": {"x": [1, 2], "y": [1, 2]}}],
        "backends": ["sites"],
        "potentials": ["pairs"],
        "starts": 3,
        "shard_atoms": 6,
        "settings": SETTINGS,
    }
    return CampaignSpec.model_validate({**values, **changes})


def write_spec(path: Path, **changes: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(toy_spec(**changes).model_dump_json())
    return path


def chggen(environment: dict[str, str], *arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603  our own command
        [sys.executable, "-c", "from chggen_kit.cli import main; main()", *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
        **options,
    )


def rows_of(database: Path | str) -> list[dict[str, Any]]:
    """Everything in a database of results but times, in order."""
    found = []
    for row in ase.db.connect(str(database)).select():
        atoms = row.toatoms()
        found.append(
            {
                **row.key_value_pairs,
                "data": json.dumps(row.data, sort_keys=True),
                "positions": atoms.get_positions().tobytes().hex(),
                "cell": atoms.cell.array.tobytes().hex(),
            }
        )
    return found


def digest_of(folder: Path) -> str:
    """Hash of all records of all shards that are done, whatever order they were done in."""
    digest = hashlib.sha256()
    for path in sorted((folder / "shards").glob("*/*/shards/*.json")):
        plain = json.loads(path.read_text())
        digest.update(json.dumps([path.parent.parent.name, path.name, plain["records"]], sort_keys=True).encode())
    return digest.hexdigest()


def states_of(folder: Path) -> dict[str, int]:
    with Ledger(folder, read_only=True) as ledger:
        return {row["state"]: row["n"] for row in ledger.rows("SELECT state, count(*) n FROM shards GROUP BY 1")}


def completions(folder: Path) -> list[int]:
    """How often each shard that was begun came to its end."""
    counts = []
    for path in (folder / "shards").glob("*/*/.sittings.jsonl"):
        events = [json.loads(line)["event"] for line in path.read_text().splitlines()]
        counts.append(events.count("end"))
    return counts
