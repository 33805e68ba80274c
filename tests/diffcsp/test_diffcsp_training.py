"""Training of the DiffCSP family: options, resuming to the step, and what is learnt."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from chggen_diffcsp.training import SPECIES_COST, Training, TrainingOptions
from chggen_kit.errors import InputError, RunDirectoryError
from chggen_kit.state import CrystalBatch
from chggen_kit.testing.crystals import rocksalt, textbook_crystals
from chggen_kit.training.dataset import CrystalSet
from chggen_kit.training.options import TrainingSettings

OPTIONS = TrainingOptions(
    hidden=16, layers=2, frequencies=4, time_dim=8, batch_crystals=4, batch_edges=120, steps=6, seed=3, warm_up=2
)


class Stop(Exception):  # noqa: N818 (not an error)
    """Stands for the end of the process."""


@pytest.fixture(scope="module")
def crystals() -> CrystalSet:
    return CrystalSet(textbook_crystals().to(dtype=torch.float32))


def train(
    out: Path,
    crystals: CrystalSet,
    options: TrainingOptions = OPTIONS,
    *,
    stop_at: int | None = None,
    precision: str = "32-true",
) -> Training:
    """Train in `out`, going on with what is there; `stop_at` breaks off after that step was saved."""
    out.mkdir(exist_ok=True)
    training = Training(options, TrainingSettings(out=out, save_every=1, precision=precision))
    if (out / "state.pt").exists():
        training.resume()

    def report(step: int, metrics: dict[str, object]) -> None:
        assert "loss" in metrics
        if step == stop_at:
            raise Stop

    try:
        training.run(crystals, None, report=report)
    except Stop:
        assert training.step == stop_at
    return training


@pytest.mark.parametrize("kind", ["csp", "w_type"])
def test_a_resumed_run_ends_like_an_uninterrupted_one(tmp_path: Path, crystals: CrystalSet, kind: str) -> None:
    options = replace(OPTIONS, kind=kind)
    whole = train(tmp_path / "whole", crystals, options)
    train(tmp_path / "cut", crystals, options, stop_at=3)
    resumed = train(tmp_path / "cut", crystals, options)
    assert whole.step == resumed.step == 6
    for which in ("network", "average"):
        for name, tensor in getattr(whole, which).state_dict().items():
            assert torch.equal(tensor, getattr(resumed, which).state_dict()[name]), (which, name)
    last_rows = [(tmp_path / name / "metrics.jsonl").read_text().splitlines()[-1] for name in ("whole", "cut")]
    assert json.loads(last_rows[0])["loss"] == json.loads(last_rows[1])["loss"]
    start = Training(options, TrainingSettings(out=tmp_path)).network.state_dict()
    changed = {name for name, tensor in whole.network.state_dict().items() if not torch.equal(tensor, start[name])}
    # Every weight that has a gradient moves, and no buffer does: of the embedding, the rows of the elements at hand.
    assert changed == {name for name in start if name.startswith("decoder.")}


def test_a_run_with_other_options_is_not_continued(tmp_path: Path, crystals: CrystalSet) -> None:
    train(tmp_path / "run", crystals, stop_at=1)
    with pytest.raises(RunDirectoryError, match="frequencies"):
        train(tmp_path / "run", crystals, replace(OPTIONS, frequencies=5))


def test_training_in_reduced_precision_keeps_the_weights_whole(tmp_path: Path, crystals: CrystalSet) -> None:
    training = train(tmp_path / "run", crystals, precision="bf16-mixed")
    assert {tensor.dtype for tensor in training.network.state_dict().values()} == {torch.float32}
    assert all(bool(torch.isfinite(tensor).all()) for tensor in training.network.state_dict().values())


def test_training_lowers_the_losses_of_every_field(tmp_path: Path) -> None:
    crystals = CrystalSet(CrystalBatch.concatenate([rocksalt(11, 17, 5.64)] * 16).to(dtype=torch.float32))
    options = replace(OPTIONS, steps=150, batch_crystals=16, batch_edges=2000, learning_rate=5e-3, kind="w_type")
    training = Training(options, TrainingSettings(out=tmp_path))
    before = training.validate(crystals.batch)
    training.run(crystals, crystals.batch, report=lambda *_: None)
    after = training.validate(crystals.batch)
    assert after["lattice_loss"] < 0.7 * before["lattice_loss"]
    assert after["coord_loss"] < 0.95 * before["coord_loss"]
    assert after["type_loss"] < 0.8 * before["type_loss"]
    total = after["lattice_loss"] + after["coord_loss"] + SPECIES_COST * after["type_loss"]
    assert after["val_loss"] == pytest.approx(total, abs=2e-4)
    assert training.validate(crystals.batch) == after
    assert json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])["val_loss"] == after["val_loss"]


@pytest.mark.parametrize(
    "changes",
    [{"time_dim": 7}, {"hidden": 0}, {"layers": -1}, {"learning_rate": float("nan")}, {"sigma_end": 0.001}],
    ids=str,
)
def test_options_out_of_range_are_refused(changes: dict[str, float]) -> None:
    name = next(iter(changes))
    with pytest.raises(InputError, match={"hidden": "hidden_dim", "layers": "num_layers"}.get(name, name)):
        TrainingOptions(**changes)  # type: ignore[arg-type]
