"""Run directories: which file is taken, what the settings mean, and strictness."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from diffcsp_runs import hparams, settings, state_dict, write_run

from chggen_diffcsp.checkpoint import choose_file, load_checkpoint, save_checkpoint
from chggen_diffcsp.hparams import Settings, read_settings
from chggen_diffcsp.schedules import exact_sigmas_norm, exponential_sigmas
from chggen_kit.errors import CheckpointError


def test_an_official_run_directory_loads(tmp_path: Path) -> None:
    """With references in its settings, foreign classes in its pickle, and no influence on the global generator."""
    run = write_run(tmp_path / "run")
    before = torch.get_rng_state()
    checkpoint = load_checkpoint(run)
    assert torch.equal(torch.get_rng_state(), before)
    expected = state_dict(settings())
    loaded = checkpoint.state_dict()
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in expected.items())
    assert checkpoint.settings == settings(dataset="perovskite", max_atoms=20)
    assert checkpoint.name == "run/epoch=7-step=99.ckpt"
    assert len(checkpoint.sha256) == 64
    assert load_checkpoint(run / "epoch=7-step=99.ckpt").sha256 == checkpoint.sha256


def test_kinds_of_models_follow_from_the_settings(tmp_path: Path) -> None:
    given = settings(species=True, cost_lattice=0.0)
    read = load_checkpoint(write_run(tmp_path / "a", given)).settings
    assert read.diffuses_species
    assert not read.diffuses_lattice
    assert read.diffuses_coordinates


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["epoch=9-step=1.ckpt", "epoch=10-step=0.ckpt"], "epoch=10-step=0.ckpt"),
        (["epoch=9-step=1.ckpt", "last.ckpt"], "last.ckpt"),
        (["epoch=9-step=1.ckpt", "other.ckpt"], "epoch=9-step=1.ckpt"),
    ],
)
def test_choice_of_the_file(tmp_path: Path, names: list[str], chosen: str) -> None:
    for name in names:
        (tmp_path / name).touch()
    assert choose_file(tmp_path).name == chosen


def test_a_directory_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.ckpt").touch()
    with pytest.raises(CheckpointError, match="no checkpoint of DiffCSP"):
        load_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="There is no checkpoint"):
        load_checkpoint(tmp_path / "nowhere")


def _broken(change: str) -> dict[str, Any]:
    state: dict[str, Any] = state_dict(settings())
    match change:
        case "missing":
            del state["decoder.csp_layer_1.edge_mlp.2.bias"]
        case "missing-schedule":
            del state["sigma_scheduler.sigmas_norm"]
        case "extra":
            state["decoder.csp_layer_2.edge_mlp.0.bias"] = torch.zeros(16)
        case "shape":
            state["decoder.coord_out.weight"] = torch.zeros(3, 17)
        case "dtype":
            state["decoder.coord_out.weight"] = state["decoder.coord_out.weight"].double()
        case "nan":
            state["decoder.coord_out.weight"] = torch.full((3, 16), torch.nan)
        case "no-tensor":
            state["decoder.coord_out.weight"] = 3.0
    return state


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("missing", r"Missing: decoder\.csp_layer_1\.edge_mlp\.2\.bias\."),
        ("missing-schedule", r"Missing: sigma_scheduler\.sigmas_norm"),
        ("extra", r"Not wanted: decoder\.csp_layer_2\.edge_mlp\.0\.bias"),
        ("shape", r"decoder\.coord_out\.weight is \(3, 17\) instead of \(3, 16\)"),
        ("dtype", r"decoder\.coord_out\.weight is float64"),
        ("nan", r"decoder\.coord_out\.weight is not finite"),
        ("no-tensor", r"'decoder\.coord_out\.weight'.*is not a tensor"),
    ],
)
def test_weights_must_fit_to_the_last_key(tmp_path: Path, change: str, named: str) -> None:
    run = write_run(tmp_path / "run", state=_broken(change))
    with pytest.raises(CheckpointError, match=named):
        load_checkpoint(run)


def _set(config: dict[str, Any], name: str, value: object) -> None:
    *path, last = name.split(".")
    for key in path:
        config = config[key]
    config[last] = value


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("model._target_", "diffcsp.pl_modules.energy_model.CSPEnergy", "CSPEnergy"),
        ("model.decoder.edge_style", "knn", "'fc' alone"),
        ("model.decoder.act_fn", "relu", "'silu' alone"),
        ("model.beta_scheduler.scheduler_mode", "linear", "'cosine' alone"),
        ("model.decoder.hidden_dim", 10**9, "hidden_dim"),
        ("model.decoder.num_layers", None, "does not say what model.decoder.num_layers is"),
        ("model.time_dim", 7, "time embedding of 7"),
        ("model.latent_dim", 5, "latent space of 5"),
        ("model.timesteps", "${model.timesteps}", "circle"),
        ("model.timesteps", "${nowhere.at.all}", "does not say"),
        ("model.timesteps", "many", "timesteps"),
        ("model.cost_lattice", -1, "cost_lattice"),
    ],
)
def test_settings_that_cannot_be_used_are_named(tmp_path: Path, name: str, value: object, message: str) -> None:
    config = hparams(settings())
    _set(config, name, value)
    path = tmp_path / "hparams.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    with pytest.raises(CheckpointError, match=message):
        read_settings(path)


def test_settings_cannot_run_code_either(tmp_path: Path) -> None:
    path = tmp_path / "hparams.yaml"
    trap = tmp_path / "trap"
    path.write_text(f"model: !!python/object/apply:os.mkdir ['{trap}']\n", encoding="utf-8")
    with pytest.raises(CheckpointError, match="not valid YAML"):
        read_settings(path)
    assert not trap.exists()
    path.unlink()
    with pytest.raises(CheckpointError, match="is missing"):
        read_settings(path)


def test_the_kits_own_file_keeps_everything(tmp_path: Path) -> None:
    checkpoint = load_checkpoint(write_run(tmp_path / "run", settings(species=True)))
    path = tmp_path / "shipped.safetensors"
    save_checkpoint(checkpoint, path)
    again = load_checkpoint(path)
    assert again.settings == checkpoint.settings
    assert again.name == "shipped.safetensors"
    assert all(torch.equal(again.state_dict()[name], tensor) for name, tensor in checkpoint.state_dict().items())
    assert load_checkpoint(path, sha256=again.sha256).sha256 == again.sha256
    with pytest.raises(CheckpointError, match="SHA-256"):
        load_checkpoint(path, sha256="0" * 64)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="not a readable safetensors file"):
        load_checkpoint(path)


@pytest.mark.parametrize("header", ["{}", "[1]", '{"format": "chggen-diffcsp-1", "facts": {}, "settings": {"a": 1}}'])
def test_foreign_headers_are_refused(tmp_path: Path, header: str) -> None:
    from safetensors.torch import save

    path = tmp_path / "a.safetensors"
    path.write_bytes(save({"a": torch.zeros(1)}, metadata={"chggen_diffcsp": header}))
    with pytest.raises(CheckpointError, match=r"format|header"):
        load_checkpoint(path)


def test_settings_survive_json() -> None:
    given = settings(species=True, dataset="mp20", max_atoms=20)
    assert Settings.from_dict(json.loads(json.dumps(given.to_dict()))) == given
    with pytest.raises(ValueError, match="generates nothing"):
        settings(cost_lattice=0.0, cost_coord=0.0)


def test_exact_mean_square_scores() -> None:
    """Narrow normals: 1 / sigma^2. At sigma = 0.5 the density is 1 + 2 exp(-2 pi^2 sigma^2) cos(2 pi x) to 1e-8."""
    sigmas = exponential_sigmas(3, 0.005, 0.5)
    norms = exact_sigmas_norm(sigmas).double()
    assert norms[0] == 1
    assert norms[1] == pytest.approx(1 / 0.005**2, rel=1e-6)
    damping = torch.exp(torch.tensor(-2 * torch.pi**2 * 0.25, dtype=torch.float64))
    assert norms[3] == pytest.approx(float(2 * (2 * torch.pi * damping) ** 2), rel=1e-3)
