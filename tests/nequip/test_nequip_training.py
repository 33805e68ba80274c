"""Training: selection, batches by size, noise and targets, and resuming to the step."""

from __future__ import annotations

import json
import math
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from chggen_kit.errors import CheckpointError, InputError, RunDirectoryError
from chggen_kit.state import CrystalBatch
from chggen_kit.testing.crystals import rocksalt, textbook_crystals
from chggen_kit.training.dataset import CrystalSet, generator_of
from chggen_kit.training.options import TrainingSettings
from chggen_nequip.network import Architecture
from chggen_nequip.objective import LevelWeights, add_noise, log_normal, log_uniform, relative_errors
from chggen_nequip.training import Training, TrainingOptions

SMALL = Architecture(hidden=(8, 4), layers=1, cutoff=4.0)
OPTIONS = TrainingOptions(architecture=SMALL, steps=6, seed=3, batch_atoms=30, warm_up=2)


@pytest.fixture(scope="module")
def crystals() -> CrystalSet:
    return CrystalSet(textbook_crystals().to(dtype=torch.float32))


def train(out: Path, crystals: CrystalSet, *, stop_at: int | None = None, **changes: object) -> Training:
    """Train in `out`, going on with what is there; `stop_at` breaks off after that step was saved."""
    out.mkdir(exist_ok=True)
    training = Training(OPTIONS, TrainingSettings(out=out, save_every=1, **changes))  # type: ignore[arg-type]
    if (out / "state.pt").exists():
        training.resume()

    class Stop(Exception):  # noqa: N818 (not an error)
        pass

    def report(step: int, metrics: dict[str, object]) -> None:
        assert "loss" in metrics
        if step == stop_at:
            raise Stop

    try:
        training.run(crystals, None, report=report)
    except Stop:
        assert training.step == stop_at
    return training


def test_a_resumed_run_ends_like_an_uninterrupted_one(tmp_path: Path, crystals: CrystalSet) -> None:
    whole = train(tmp_path / "whole", crystals)
    train(tmp_path / "cut", crystals, stop_at=3)
    resumed = train(tmp_path / "cut", crystals)
    assert whole.step == resumed.step == 6
    for kind in ("network", "average"):
        for name, tensor in getattr(whole, kind).state_dict().items():
            assert torch.equal(tensor, getattr(resumed, kind).state_dict()[name]), (kind, name)
    last_rows = [(tmp_path / name / "metrics.jsonl").read_text().splitlines()[-1] for name in ("whole", "cut")]
    assert json.loads(last_rows[0])["loss"] == json.loads(last_rows[1])["loss"]


def test_workers_prepare_the_same_batches(tmp_path: Path, crystals: CrystalSet) -> None:
    alone = train(tmp_path / "alone", crystals, stop_at=2)
    helped = train(tmp_path / "helped", crystals, stop_at=2, workers=1)
    for name, tensor in alone.network.state_dict().items():
        assert torch.equal(tensor, helped.network.state_dict()[name]), name


def test_a_run_with_other_options_is_not_continued(tmp_path: Path, crystals: CrystalSet) -> None:
    train(tmp_path / "run", crystals, stop_at=1)
    other = Training(
        TrainingOptions(architecture=SMALL, steps=6, seed=4, batch_atoms=30), TrainingSettings(out=tmp_path / "run")
    )
    with pytest.raises(RunDirectoryError, match="seed"):
        other.resume()


def test_a_damaged_state_is_explained(tmp_path: Path, crystals: CrystalSet) -> None:
    train(tmp_path / "run", crystals, stop_at=1)
    state = tmp_path / "run" / "state.pt"
    for content in (state.read_bytes()[:1000], b"", pickle.dumps(Path("x"))):
        state.write_bytes(content)
        with pytest.raises(RunDirectoryError, match="cannot be read"):
            train(tmp_path / "run", crystals)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_an_absent_gpu_is_explained(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no GPU"):
        Training(OPTIONS, TrainingSettings(out=tmp_path, device="cuda"))


def test_training_starts_from_given_weights_of_the_same_architecture(tmp_path: Path, crystals: CrystalSet) -> None:
    first = train(tmp_path / "first", crystals)
    first.export(tmp_path / "start.safetensors", crystals, {})
    second = Training(OPTIONS, TrainingSettings(out=tmp_path, init_from=tmp_path / "start.safetensors"))
    for name, tensor in first.average.state_dict().items():
        assert torch.equal(tensor, second.network.state_dict()[name])
    with pytest.raises(CheckpointError, match="architecture"):
        Training(TrainingOptions(), TrainingSettings(out=tmp_path, init_from=tmp_path / "start.safetensors"))


def test_products_added_to_given_weights_change_nothing_at_first(tmp_path: Path, crystals: CrystalSet) -> None:
    first = train(tmp_path / "first", crystals)
    first.export(tmp_path / "start.safetensors", crystals, {})
    options = replace(OPTIONS, architecture=replace(OPTIONS.architecture, product_channels=3))
    second = Training(options, TrainingSettings(out=tmp_path, init_from=tmp_path / "start.safetensors"))
    assert second.validate(crystals.batch) == first.validate(crystals.batch)
    second.optimise(second.batch_maker(crystals)(0))
    assert second.network.interactions[0].product is not None
    assert all(float(w.abs().max()) > 0 for w in second.network.interactions[0].product.weights.values())


def test_training_lowers_the_error(tmp_path: Path) -> None:
    crystals = CrystalSet(CrystalBatch.concatenate([rocksalt(11, 17, 5.64)] * 4).to(dtype=torch.float32))
    options = TrainingOptions(architecture=SMALL, steps=60, seed=0, batch_atoms=64, warm_up=5, learning_rate=1e-2)
    training = Training(options, TrainingSettings(out=tmp_path))
    before = relative_errors(training.network, crystals.batch, cutoff=4.0, sigmas=(0.3,))
    training.run(crystals, crystals.batch, report=lambda *_: None)
    after = relative_errors(training.network, crystals.batch, cutoff=4.0, sigmas=(0.3,))
    assert before[0.3] > 0.95
    assert after[0.3] < 0.85
    assert "0.3" in json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])["relative_errors"]


def test_the_average_follows_its_recursion(tmp_path: Path, crystals: CrystalSet) -> None:
    """m <- m + w (x - m) with w = 1 - min(0.999, n / (n + 100)): here 100 / 101, 100 / 102, 100 / 103."""
    training = Training(OPTIONS, TrainingSettings(out=tmp_path))
    expected = [parameter.detach().clone() for parameter in training.network.parameters()]
    start = [parameter.clone() for parameter in expected]

    def report(step: int, metrics: dict[str, object]) -> None:
        del metrics
        weight = 1 - step / (step + 100)
        for mean, parameter in zip(expected, training.network.parameters(), strict=True):
            mean.lerp_(parameter.detach(), weight)

    training.run(crystals, None, report=report)
    for mean, average in zip(expected, training.average.parameters(), strict=True):
        torch.testing.assert_close(average, mean, rtol=1e-5, atol=1e-7)
    for other in (list(training.network.parameters()), start):
        assert any(not torch.equal(a, b) for a, b in zip(training.average.parameters(), other, strict=True))


def test_a_huge_gradient_is_clipped(tmp_path: Path, crystals: CrystalSet, monkeypatch: pytest.MonkeyPatch) -> None:
    training = Training(OPTIONS, TrainingSettings(out=tmp_path))
    norms = []
    step = training.optimizer.step

    def watched(*arguments: object) -> object:
        gradients = [p.grad.flatten() for p in training.network.parameters() if p.grad is not None]
        norms.append(float(torch.cat(gradients).norm()))
        return step(*arguments)

    monkeypatch.setattr(training.optimizer, "step", watched)
    with torch.no_grad():
        for weight in training.network.output_itself.parameters():
            weight.mul_(1e6)
    training.run(crystals, None, report=lambda *_: None)
    assert len(norms) == OPTIONS.steps
    assert norms[0] == pytest.approx(OPTIONS.clip, rel=1e-3)
    assert max(norms) <= OPTIONS.clip * 1.001


def test_learning_rate_rises_holds_and_falls() -> None:
    options = TrainingOptions(steps=1000, warm_up=100, decay=0.5, learning_rate=1.0)
    assert options.rate(0) == pytest.approx(0.01)
    assert options.rate(100) == options.rate(499) == 1
    assert options.rate(750) == pytest.approx(0.51)
    assert options.rate(1000) == pytest.approx(0.02)


def test_noise_levels_are_uniform_in_their_logarithm() -> None:
    sigma = log_uniform(20_000, 0.01, 3.0, generator_of(0, "test", 0))
    assert float(sigma.min()) >= 0.01
    assert float(sigma.max()) <= 3.0
    assert float(torch.log(sigma).mean()) == pytest.approx(float(np.log(0.01 * 3.0)) / 2, abs=0.05)


def test_small_noise_is_its_own_target(crystals: CrystalSet) -> None:
    """Far below the cell's size the exact score is minus the displacement over sigma squared."""
    batch = crystals.batch
    sigma = torch.full((batch.n_crystals,), 0.05)
    noisy = add_noise(batch, sigma, 4.0, torch.Generator().manual_seed(0))
    again = torch.randn(batch.n_atoms, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(noisy.target, -again, rtol=1e-4, atol=1e-4)
    # The graph is that of the displaced atoms, so no two distances of a perfect crystal stay equal.
    lengths = torch.cat([bucket.vector[bucket.filled].norm(dim=-1) for bucket in noisy.graph.buckets])
    assert lengths.unique().numel() > 0.4 * lengths.numel()


def test_large_noise_has_almost_no_target(crystals: CrystalSet) -> None:
    batch = crystals.batch
    noisy = add_noise(batch, torch.full((batch.n_crystals,), 30.0), 4.0, torch.Generator().manual_seed(0))
    assert float(noisy.target.abs().max()) < 1e-3


def test_predicting_zero_has_the_relative_error_one(crystals: CrystalSet) -> None:
    errors = relative_errors(lambda species, *_: torch.zeros(species.shape[0], 3), crystals.batch, cutoff=4.0)
    assert errors == pytest.approx(dict.fromkeys(errors, 1.0))
    assert list(errors) == [0.03, 0.1, 0.3, 0.6, 1.0, 2.0]


@pytest.mark.parametrize(
    "changes", [{"learning_rate": 0}, {"learning_rate": float("nan")}, {"decay": 2}, {"sigma_max": 0.01}], ids=str
)
def test_options_out_of_range_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(changes))):
        TrainingOptions(**changes)  # type: ignore[arg-type]


def test_an_unknown_precision_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="bf16-mixed"):
        Training(OPTIONS, TrainingSettings(out=tmp_path, precision="8"))


def test_a_run_beyond_the_last_step_is_not_continued(tmp_path: Path, crystals: CrystalSet) -> None:
    train(tmp_path / "run", crystals, stop_at=4)
    fewer = TrainingOptions(architecture=SMALL, steps=3, seed=3, batch_atoms=30, warm_up=2)
    with pytest.raises(InputError, match="step 4"):
        Training(fewer, TrainingSettings(out=tmp_path / "run")).resume()


def test_noisy_coordinates_are_folded_before_the_graph_is_built(crystals: CrystalSet) -> None:
    """Shifting the clean crystal across its faces changes neither graph nor target."""
    batch = crystals.batch.select([0])
    shifted = CrystalBatch((batch.frac_coords + 0.45) % 1, batch.lattice, batch.species, batch.num_atoms)
    sigma = torch.tensor([0.4])
    a, b = (add_noise(x, sigma, 4.0, torch.Generator().manual_seed(1)) for x in (batch, shifted))
    torch.testing.assert_close(a.target, b.target, rtol=1e-4, atol=1e-4)
    lengths = [
        torch.cat([bucket.vector[bucket.filled].norm(dim=-1) for bucket in noisy.graph.buckets]).sort().values
        for noisy in (a, b)
    ]
    torch.testing.assert_close(lengths[0], lengths[1], rtol=1e-4, atol=1e-4)


def test_log_normal_levels_have_the_distribution_of_the_cut_off_normal() -> None:
    sigma = log_normal(40_000, 0.01, 3.0, 0.2, 1.2, torch.Generator().manual_seed(0))
    assert float(sigma.min()) >= 0.01
    assert float(sigma.max()) <= 3.0
    normal = torch.distributions.Normal(math.log(0.2), 1.2)
    low, high = (float(normal.cdf(torch.tensor(math.log(x)))) for x in (0.01, 3.0))
    for level in (0.05, 0.2, 1.0):
        expected = (float(normal.cdf(torch.tensor(math.log(level)))) - low) / (high - low)
        assert float((sigma < level).double().mean()) == pytest.approx(expected, abs=0.01)


def test_level_weights_make_levels_count_alike() -> None:
    weights = LevelWeights(0.01, 3.0)
    generator = torch.Generator().manual_seed(0)
    for _ in range(600):
        sigma = log_uniform(64, 0.01, 3.0, generator)
        loss = torch.where(sigma > 1, 0.9, 0.1) * (0.5 + torch.rand(64, generator=generator))
        given = weights.update(sigma, loss)
        assert float(given.mean()) == pytest.approx(1)
    ratio = given[sigma < 0.7].mean() / given[sigma > 1.5].mean()
    assert float(ratio) == pytest.approx(9, rel=0.15)


def test_mixed_precision_trains_float32_weights(tmp_path: Path, crystals: CrystalSet) -> None:
    options = replace(OPTIONS, architecture=replace(OPTIONS.architecture, product_channels=3))
    training = Training(options, TrainingSettings(out=tmp_path, precision="bf16-mixed"))
    batch = training.batch_maker(crystals)(0)
    losses = [training.optimise(batch) for _ in range(20)]
    assert losses[-1] < losses[0]
    assert {parameter.dtype for parameter in training.network.parameters()} == {torch.float32}
