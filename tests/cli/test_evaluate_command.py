"""`chggen evaluate`: all evaluations by default, some by name, real plug-ins end to end, refusals."""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from chggen_kit.cli import cli
from chggen_kit.evaluation import EVALUATIONS

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow"))
sys.path.insert(0, str(Path(__file__).parents[1] / "evaluation"))
from evaluation_data import write_data
from workflow_toys import toy_registry

Chggen = Callable[..., Result]
FEW = ("--samples", "2", "--per-reference", "2", "--references", "2", "--polymorphs", "0", "--max-steps", "20")
SHORT = (
    "--sampler-option",
    "steps=6",
    "--sampler-option",
    "jump_length=2",
    "--unconditional-sampler-option",
    "steps=6",
)


@pytest.fixture(autouse=True)
def _restore_logging_and_warnings() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    with warnings.catch_warnings():
        yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def chggen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Chggen:
    """The command line, in an empty directory with a data file `data.jsonl`."""
    monkeypatch.chdir(tmp_path)
    write_data(Path("data.jsonl"), ["LiF", "CaF2", "ZnS", "KMgF3", "Cu"])

    def run(*args: str | Path) -> Result:
        return CliRunner().invoke(cli, ["evaluate", *map(str, args)])

    return run


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = toy_registry()
    monkeypatch.setattr("chggen_kit.plugins.get_registry", lambda **_: registry)


def read(path: str) -> dict:
    return json.loads(Path(path).read_text())


@pytest.mark.usefixtures("toys")
def test_all_evaluations_run_by_default_and_the_same_command_changes_nothing(chggen: Chggen) -> None:
    command = ("sites", "--data", "data.jsonl", "--out", "o", "--threads", "1", *FEW, *SHORT)
    result = chggen(*command)
    assert result.exit_code == 0, result.output
    assert "Relative denoising error of frac_coords" in result.stdout
    assert "Guest recovery, 4 compounds, 2 samples each" in result.stdout
    assert "does not say which formulas it was trained on" in result.stderr
    files = {name: Path(f"o/{name}.json").read_text() for name in EVALUATIONS}
    shards = {path: path.stat().st_mtime_ns for path in Path("o").rglob("shards/*.json")}
    assert len(shards) > 4
    assert chggen(*command).exit_code == 0
    assert {name: Path(f"o/{name}.json").read_text() for name in EVALUATIONS} == files
    assert {path: path.stat().st_mtime_ns for path in Path("o").rglob("shards/*.json")} == shards
    content = read("o/recovery.json")
    assert content["facts"]["training_formulas"]["known"] is False
    assert content["facts"]["training_formulas"]["rows_passed_over"] == {"no guest species": 1}


@pytest.mark.usefixtures("toys")
def test_only_runs_what_is_named_and_other_settings_are_refused(chggen: Chggen) -> None:
    command = ("sites", "--data", "data.jsonl", "--out", "o", "--only", "denoising", "--levels", "0.1,1")
    assert chggen(*command).exit_code == 0
    assert sorted(path.name for path in Path("o").iterdir()) == ["denoising", "denoising.json"]
    assert read("o/denoising.json")["families"] == {"intermetallic": 1, "halide": 3, "chalcogenide": 1}
    other = chggen(*command, "--seed", "1")
    assert other.exit_code == 2
    assert "belongs to another run" in other.stderr
    bare = chggen(
        "sites",
        "--data",
        "data.jsonl",
        "--out",
        "r",
        "--only",
        "recovery",
        "--no-relax",
        "--baselines",
        "",
        *FEW,
        *SHORT,
    )
    assert bare.exit_code == 0, bare.output
    assert list(read("r/recovery.json")["methods"]) == ["sites"]


@pytest.mark.usefixtures("toys")
@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nosuch", "--data", "data.jsonl"], "score-model"),
        (["sites", "--data", "gone.jsonl"], "no data set"),
        (["sites", "--data", "data.jsonl", "--split", "val"], "no usable row of the split"),
        (["sites", "--data", "data.jsonl", "--levels", "0.1,x"], "--levels"),
        (["sites", "--data", "data.jsonl", "--only", "recovry"], "recovery"),
        (["sites", "--data", "data.jsonl", "--rows", "0"], "rows"),
        (["sites", "--data", "data.jsonl", "--max-atoms", "1", "--only", "recovery"], "no compound"),
        (["sites", "--data", "data.jsonl", "--only", "recovery", "--baselines", "rndom"], "random"),
    ],
)
def test_refusals_have_exit_code_2(chggen: Chggen, args: list[str], message: str) -> None:
    result = chggen(*args, "--out", "o")
    assert result.exit_code == 2, result.output
    assert message in result.stderr


def test_the_shipped_model_puts_guests_back_into_textbook_crystals(chggen: Chggen) -> None:
    """The real model and the real potential, at a fortieth of the usual cost."""
    result = chggen(
        *("nequip", "--data", "data.jsonl", "--out", "o", "--only", "denoising", "--only", "recovery"),
        *("--samples", "2", "--sampler-option", "steps=20", "--sampler-option", "passes=2", "--threads", "1"),
        *("--sampler-option", "jump_length=5", "--max-steps", "60", "--backend-option", "device=cpu"),
    )
    assert result.exit_code == 0, result.output
    errors = read("o/denoising.json")["relative_errors"]["frac_coords"]["all"]
    assert errors["0.3"]["value"] < 0.5
    assert errors["2.0"]["value"] > 0.9
    found = read("o/recovery.json")
    assert found["facts"]["relaxation"]["potential"].startswith("chgnet")
    assert [found["methods"][name]["network_calls_per_sample"] > 0 for name in found["methods"]] == [True, False, False]
    assert found["compounds_judged"] == found["compounds"] >= 2
    model = found["methods"]["nequip"]
    assert model["single"]["value"] >= 0.5
    assert model["outcomes"] == {"ok": 2 * found["compounds"]}
    assert 0 <= model["guest_rmsd_A"]["value"] < 0.5
    assert set(found["differences"]) == {"nequip - random", "nequip - voronoi"}
    assert found["facts"]["training_formulas"]["known"] is True
