"""From a training run to the files that the package ships."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
import torch
from click.testing import CliRunner

from chggen_diffcsp.checkpoint import load_checkpoint
from chggen_diffcsp.model import DiffCSPScoreModel
from chggen_diffcsp.train_command import command
from chggen_kit.state import CrystalBatch
from chggen_kit.testing.crystals import rocksalt

SCRIPT = Path(__file__).parents[2] / "scripts" / "ship_diffcsp.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ship_diffcsp", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def row(batch: CrystalBatch, split: str) -> str:
    values = {name: getattr(batch, name).tolist() for name in ("species", "frac_coords")}
    return json.dumps({**values, "lattice": batch.lattice[0].tolist(), "split": split, "source": "textbook"})


def test_a_run_becomes_a_checkpoint_with_its_card(tmp_path: Path, script: ModuleType) -> None:
    data, run = tmp_path / "salts.jsonl", tmp_path / "run"
    data.write_text("\n".join([row(rocksalt(37, 17, 6.6), "train"), row(rocksalt(55, 9, 6.0), "val")]))
    size = ["--hidden", "16", "--layers", "1", "--frequencies", "4", "--time-dim", "8", "--steps", "2"]
    nothing = tmp_path / "nothing.txt"
    nothing.write_text("H2O\n")
    arguments = ["--data", str(data), "--out", str(run), "--held-out", str(nothing), "--learning-rate", "0.002", *size]
    assert CliRunner().invoke(command, arguments, catch_exceptions=False).exit_code == 0
    measured = tmp_path / "measured.json"
    measured.write_text(json.dumps({"metrics": {"match rate": 0.25}, "metrics_command": "chggen evaluate"}))
    target = tmp_path / "package" / "mine.safetensors"
    words = [
        str(run),
        str(measured),
        "--minutes",
        "3",
        "--sampling",
        "steps=50",
        "--start-below",
        "900",
        "--target",
        str(target),
    ]
    result = CliRunner().invoke(script.main, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output

    shipped, trained = load_checkpoint(target), load_checkpoint(run)
    assert all(torch.equal(tensor, trained.state_dict()[name]) for name, tensor in shipped.state_dict().items())
    assert shipped.settings == trained.settings
    assert shipped.facts["elements"] == [17, 37]
    assert shipped.facts["sampling_defaults"] == {"steps": 50}
    assert DiffCSPScoreModel(shipped).times(5)[0] == 900
    assert DiffCSPScoreModel(shipped, start_below=1000).times(5)[0] == 1000
    card = json.loads(target.with_suffix(".json").read_text())
    assert card["sha256"] == shipped.sha256
    assert card["training"]["steps"] == 2
    assert "--hidden 16 --layers 1" in card["training"]["command"]
    assert "--learning-rate 0.002" in card["training"]["command"]
    assert "--decay" not in card["training"]["command"]
    assert set(card["validation"]) == {"val_loss", "lattice_loss", "coord_loss", "step"}
    text = target.with_suffix(".md").read_text()
    for part in (
        "structures of salts.jsonl (sources: textbook 1)",
        "the run's own list",
        "CC BY 4.0",
        "| match rate | 0.25 |",
    ):
        assert part in text
    assert str(tmp_path) not in text + target.with_suffix(".json").read_text()
