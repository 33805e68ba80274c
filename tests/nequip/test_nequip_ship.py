"""The sentences of a model card follow from the run, not from the script."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from chggen_nequip.network import Architecture
from chggen_nequip.training import TrainingOptions

SCRIPT = Path(__file__).parents[2] / "scripts" / "ship_checkpoint.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ship_checkpoint", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_limits_follow_from_architecture_and_errors(script: ModuleType) -> None:
    text = " ".join(script.limit_sentences({"cutoff": 6.5, "layers": 2}, 9, {"0.3": 0.4, "2.0": 0.95}))
    assert "Sees 6.5 Å around each atom, passed on 3 times." in text
    assert "at most 9 atoms" in text
    assert "At 2.0 Å of noise" in text
    assert "At 2.0" not in " ".join(script.limit_sentences({"cutoff": 5.0, "layers": 2}, 9, {"2.0": 0.5}))


def test_the_cards_numbers_are_those_of_the_evaluation(script: ModuleType) -> None:
    error = {"value": 0.25914, "low": 0.24581, "high": 0.27299, "systems": 9}
    report = {
        "facts": {"split": "test"},
        "crystals": 9,
        "atoms": 40,
        "relative_errors": {"frac_coords": {"all": {"0.1": error}, "oxide": {}}},
    }
    assert script.metrics_of(report) == {
        "split": "test",
        "rows": 9,
        "atoms": 40,
        "relative_errors": {"0.1": 0.25914},
        "intervals_95": {"0.1": [0.24581, 0.27299]},
    }


def test_the_command_of_the_card_names_what_differs_from_the_defaults(script: ModuleType) -> None:
    options = TrainingOptions(
        architecture=Architecture(hidden=(8, 4), product_channels=3), seed=2, steps=70, weighting="level"
    ).to_dict()
    words = script.train_command(options, {"data": [["some/rows.jsonl", 7]], "max_atoms": 9}, after_others=True)
    assert words == (
        "chggen train nequip --data rows.jsonl --out RUN --init-from EARLIER --max-atoms 9 --seed 2 --steps 70 "
        "--hidden 8,4 --product-channels 3 --weighting level"
    )
