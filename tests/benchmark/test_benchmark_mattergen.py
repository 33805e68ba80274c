"""MatterGen through a specification, on a checkpoint without training: this tests the plumbing, not the model."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "backend_mattergen"))
from mattergen_toys import make_checkpoint, require_mattergen

from chggen_kit.benchmark import Benchmark
from chggen_kit.benchmark.reading import validated
from chggen_kit.benchmark.spec import BenchmarkSpec

SPEC = {
    "name": "plumbing",
    "about": "plumbing: random weights, nothing learned",
    "budget": {"starts": 2},
    "defaults": {
        "potential": "chgnet",
        "max_steps": 3,
        "null_rates": 0,
        "guests": [],
        "references": "none",
        "unconditional_sampler": {"name": "predictor-corrector", "options": {"steps": 6}},
    },
    "systems": [{"formula": "ZnS"}],
    "methods": {
        "nequip": {"backend": "nequip"},
        "diffcsp": {"backend": "diffcsp"},
        "mattergen, guided": {
            "backend": "mattergen",
            "target": "chemical-system",
            "stage": "unconditional",
            "checkpoint_needed": True,
            "optional": True,
        },
    },
}


@pytest.mark.slow
def test_mattergen_stands_beside_the_two_trained_backends(tmp_path: Path) -> None:
    require_mattergen()
    weights = make_checkpoint(tmp_path / "weights", "chemical_system", calm=True)
    spec = validated(BenchmarkSpec, SPEC, "the test's specification")
    result = Benchmark(spec, checkpoints={"mattergen": weights}).run(tmp_path / "out")
    assert set(result.cells["status"]) == {"done"}, result.cells["reason"].tolist()
    guided = result.cells[result.cells["method"] == "mattergen, guided"].iloc[0]
    assert guided["starts"] == 2
    assert guided["network_calls"] > 0
    rows = result.structures[result.structures["method"] == "mattergen, guided"]
    assert len(rows) == 2
    assert set(rows["n_atoms"].dropna()) <= {2}
    assert result.about["methods"]["mattergen, guided"]["parts"]["checkpoint_sha256"]


def test_without_weights_it_is_left_out_with_the_reason() -> None:
    plan = Benchmark(validated(BenchmarkSpec, SPEC, "the test's specification")).plan
    assert {lane.method for lane in plan.lanes} == {"nequip", "diffcsp"}
    (left,) = plan.left_out
    assert "no checkpoint was given (--checkpoint BACKEND=PATH)" in left.reason
