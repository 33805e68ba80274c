"""A training run is a run directory of the published code: names, shapes, and nothing but plain values inside.

Keys and shapes are those of the running original (commit 7121d15), with hidden_dim 32, 2 layers, 4 frequencies and a
time embedding of 16; the numbers of keys and parameters at full size are those of its default configuration.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
import yaml
from click.testing import CliRunner, Result

from chggen_diffcsp.checkpoint import load_checkpoint
from chggen_diffcsp.network import CSPNet
from chggen_diffcsp.run_layout import lattice_statistics
from chggen_diffcsp.train_command import command
from chggen_diffcsp.training import TrainingOptions, initial_denoiser
from chggen_kit.errors import CheckpointError, RunDirectoryError
from chggen_kit.state import CrystalBatch
from chggen_kit.testing.crystals import caesium_chloride, rocksalt

LAYER = {
    "edge_mlp.0.weight": [32, 97],
    "edge_mlp.0.bias": [32],
    "edge_mlp.2.weight": [32, 32],
    "edge_mlp.2.bias": [32],
    "node_mlp.0.weight": [32, 64],
    "node_mlp.0.bias": [32],
    "node_mlp.2.weight": [32, 32],
    "node_mlp.2.bias": [32],
    "layer_norm.weight": [32],
    "layer_norm.bias": [32],
}
CSP_KEYS = {
    "decoder.node_embedding.weight": [100, 32],
    "decoder.atom_latent_emb.weight": [32, 48],
    "decoder.atom_latent_emb.bias": [32],
    **{f"decoder.csp_layer_{layer}.{name}": shape for layer in (0, 1) for name, shape in LAYER.items()},
    "decoder.coord_out.weight": [3, 32],
    "decoder.lattice_out.weight": [9, 32],
    "decoder.final_layer_norm.weight": [32],
    "decoder.final_layer_norm.bias": [32],
    **{f"beta_scheduler.{name}": [1001] for name in ("betas", "alphas", "alphas_cumprod", "sigmas")},
    **{f"sigma_scheduler.{name}": [1001] for name in ("sigmas", "sigmas_norm")},
}
KEYS = {
    "csp": CSP_KEYS,
    "w_type": {
        **CSP_KEYS,
        "decoder.node_embedding.weight": [32, 100],
        "decoder.node_embedding.bias": [32],
        "decoder.type_out.weight": [100, 32],
        "decoder.type_out.bias": [100],
    },
}
SIZE = ("--hidden", "32", "--layers", "2", "--frequencies", "4", "--time-dim", "16", "--save-every", "2")


def run(data: Path, out: Path, *more: str) -> Result:
    arguments = ["--data", str(data), "--out", str(out), "--held-out", "none", *SIZE, *more]
    return CliRunner().invoke(command, arguments, catch_exceptions=False)


def row(batch: CrystalBatch, split: str) -> str:
    return json.dumps(
        {
            "lattice": batch.lattice[0].tolist(),
            "species": batch.species.tolist(),
            "frac_coords": batch.frac_coords.tolist(),
            "split": split,
        }
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two rows to train on, and one, of the formula of the first, to judge by."""
    path = tmp_path_factory.mktemp("data") / "salts.jsonl"
    salt, caesium = rocksalt(11, 17, 5.64), caesium_chloride(55, 17, 4.12)
    path.write_text("\n".join([row(salt, "train"), row(caesium, "train"), row(salt, "val")]))
    return path


@pytest.mark.parametrize("kind", ["csp", "w_type"])
def test_a_run_has_the_published_keys_and_shapes(tmp_path: Path, data: Path, kind: str) -> None:
    out = tmp_path / "run"
    assert run(data, out, "--kind", kind, "--steps", "3").exit_code == 0
    (path,) = out.glob("*.ckpt")
    # Two crystals make one batch, so three steps are three passes.
    assert path.name == "epoch=2-step=2.ckpt"
    content = torch.load(path, weights_only=True)
    assert {name: list(tensor.shape) for name, tensor in content["state_dict"].items()} == KEYS[kind]
    assert (content["epoch"], content["global_step"]) == (3, 3)
    assert set(content) == {
        "epoch", "global_step", "pytorch-lightning_version", "state_dict", "callbacks", "optimizer_states",
        "lr_schedulers", "hparams_name", "hyper_parameters",
    }  # fmt: skip
    config = yaml.safe_load((out / "hparams.yaml").read_text())
    assert set(config) >= {"data", "logging", "model", "optim", "train", "expname", "core"}
    model = config["model"]
    assert (
        model["_target_"]
        == {
            "csp": "diffcsp.pl_modules.diffusion.CSPDiffusion",
            "w_type": "diffcsp.pl_modules.diffusion_w_type.CSPDiffusion",
        }[kind]
    )
    assert (model["decoder"]["hidden_dim"], model["time_dim"], model["timesteps"]) == (32, 16, 1000)
    assert ("cost_type" in model) == (kind == "w_type")
    assert content["hyper_parameters"]["decoder"] == model["decoder"]
    assert config["chggen"]["elements"] == [11, 17, 55]
    for name in ("lattice", "prop"):
        scaler = torch.load(out / f"{name}_scaler.pt", weights_only=True)
        assert set(scaler) == {"means", "stds"}


def test_going_on_leaves_one_checkpoint(tmp_path: Path, data: Path) -> None:
    out = tmp_path / "run"
    assert "val_loss" in run(data, out, "--steps", "3").output
    assert "Going on from step 3" in run(data, out, "--steps", "4").output
    assert [path.name for path in out.glob("*.ckpt")] == ["epoch=3-step=3.ckpt"]
    assert not [path.name for path in out.iterdir() if path.name.endswith(".partial")]
    note = json.loads((out / "data.json").read_text())
    # A benchmark's own splits: the row whose formula is also that of a validation row is trained on.
    assert (note["used"], note["validation"], note["request"]["held_out_formulas"]) == (2, 1, 0)
    assert note["request"]["trainer"] == "diffcsp"


def test_the_run_of_another_trainer_is_not_continued(tmp_path: Path, data: Path) -> None:
    out = tmp_path / "run"
    assert run(data, out, "--steps", "1").exit_code == 0
    note = json.loads((out / "data.json").read_text())
    del note["request"]["trainer"]
    (out / "data.json").write_text(json.dumps(note))
    with pytest.raises(RunDirectoryError, match="trainer"):
        run(data, out, "--steps", "2")


def test_the_backend_loads_what_was_trained(tmp_path: Path, data: Path) -> None:
    out = tmp_path / "run"
    assert run(data, out, "--steps", "2").exit_code == 0
    checkpoint = load_checkpoint(out)
    saved = torch.load(next(out.glob("*.ckpt")), weights_only=True)["state_dict"]
    assert all(torch.equal(tensor, saved[name]) for name, tensor in checkpoint.state_dict().items())
    assert (checkpoint.settings.dataset, checkpoint.settings.max_atoms) == ("salts", 8)
    again = initial_denoiser(TrainingOptions(hidden=32, layers=2, frequencies=4, time_dim=16), out)
    assert torch.equal(again.state_dict()["decoder.coord_out.weight"], saved["decoder.coord_out.weight"])
    with pytest.raises(CheckpointError, match="num_freqs=5"):
        initial_denoiser(TrainingOptions(hidden=32, layers=2, frequencies=5, time_dim=16), out)


@pytest.mark.parametrize(("kind", "keys", "parameters"), [("csp", 73, 12_294_656), ("w_type", 76, 12_346_468)])
def test_the_full_size_is_the_published_one(kind: str, keys: int, parameters: int) -> None:
    options = TrainingOptions(kind=kind, hidden=512, layers=6, frequencies=128, time_dim=256)  # type: ignore[arg-type]
    with torch.device("meta"):
        network = CSPNet(options.network)
    names = network.state_dict()
    # Six buffers of the schedules come on top.
    assert len(names) + 6 == keys
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    assert all(re.match(r"\w+(\.\w+)*$", name) for name in names)


def test_lattice_statistics_are_those_of_the_cells() -> None:
    cubic = CrystalBatch.concatenate([rocksalt(11, 17, 4.0), rocksalt(11, 17, 6.0)])
    scale = cubic.num_atoms[0] ** (1 / 3)
    found = lattice_statistics(cubic)
    torch.testing.assert_close(found["means"], torch.tensor([5 / scale] * 3 + [90.0] * 3))
    torch.testing.assert_close(found["stds"], torch.tensor([1 / scale] * 3 + [0.0] * 3), atol=1e-4, rtol=1e-5)
