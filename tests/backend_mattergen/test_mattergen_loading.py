"""Importing the package and reading models: no traces, no code run, clear refusals."""

from __future__ import annotations

import logging
import os
import pickle
import subprocess
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from mattergen_toys import make_checkpoint

from chggen_kit.errors import CheckpointError, PluginError
from chggen_mattergen import package
from chggen_mattergen.checkpoint import load_checkpoint, sha256_of
from chggen_mattergen.config import build_diffusion_module
from chggen_mattergen.model import load
from chggen_mattergen.options import MatterGenOptions
from chggen_mattergen.stand_ins import SparseTensor, scatter, segment_coo, segment_csr

_TRACES = """
import logging, os, random, sys, warnings
import numpy, torch, torch_geometric
from omegaconf import OmegaConf
OmegaConf.register_new_resolver("eval", lambda text: "the user's own")
before = (dict(os.environ), list(warnings.filters), list(logging.getLogger().handlers), torch.get_rng_state())
from chggen_mattergen.package import load_package
load_package()
assert dict(os.environ) == before[0], "environment"
assert list(logging.getLogger().handlers) == before[2], "logging"
assert torch.equal(torch.get_rng_state(), before[3]), "random numbers"
strange = [n for n in sys.modules if n.split(".")[0] in ("torch_scatter", "torch_sparse", "emmet")]
assert not strange, strange
assert OmegaConf.create({"a": "${eval:'1 + 1'}"}).a == "the user's own"
assert not hasattr(numpy, "math")
import torch_geometric.typing
assert not torch_geometric.typing.WITH_TORCH_SCATTER
"""


@pytest.mark.usefixtures("mattergen_installed")
def test_import_leaves_no_traces() -> None:
    done = subprocess.run(  # noqa: S603 - our own text
        [sys.executable, "-c", _TRACES], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


def test_unknown_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package.importlib.metadata, "version", lambda _: "1.1.0")
    with pytest.raises(
        PluginError, match=r"mattergen 1\.1\.0 is not a version.*pip install --no-deps mattergen==1\.0\.3"
    ):
        package.check_version()


def test_absent_package_names_the_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise package.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(package.importlib.metadata, "version", absent)
    with pytest.raises(PluginError, match=r"not installed.*chggen-kit\[mattergen\].*--no-deps mattergen==1\.0\.3"):
        package.check_version()


def test_stand_ins_do_what_the_compiled_libraries_do() -> None:
    src = torch.tensor([[1.0, 2], [3, 4], [5, 6], [7, 8]])
    index = torch.tensor([0, 2, 2, 3])
    assert scatter(src, index, dim=0).tolist() == [[1, 2], [0, 0], [8, 10], [7, 8]]
    assert scatter(src, index, dim=0, dim_size=5, reduce="mean")[2].tolist() == [4, 5]
    assert scatter(src, index, dim=0, reduce="max").tolist() == [[1, 2], [0, 0], [5, 6], [7, 8]]
    assert segment_coo(src[:, 0], index, dim_size=4).tolist() == [1, 0, 8, 7]
    assert segment_csr(src[:, 0], torch.tensor([0, 1, 1, 4])).tolist() == [1, 0, 15]
    row, col = torch.tensor([2, 0, 2, 1]), torch.tensor([1, 1, 0, 2])
    matrix = SparseTensor(row=row, col=col, value=torch.arange(4), sparse_sizes=(3, 3))
    chosen = matrix[torch.tensor([2, 1, 2])].storage
    assert chosen.row().tolist() == [0, 0, 1, 2, 2]
    assert chosen.value().tolist() == [2, 0, 3, 2, 0]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, mattergen_installed: None) -> Path:
    del mattergen_installed
    return make_checkpoint(tmp_path_factory.mktemp("loading"))


@pytest.fixture
def copy(base: Path, tmp_path: Path) -> Path:
    """A model that may be damaged."""
    target = tmp_path / "model"
    (target / "checkpoints").mkdir(parents=True)
    for name in ("config.yaml", "checkpoints/last.ckpt"):
        (target / name).write_bytes((base / name).read_bytes())
    return target


def content(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    return loaded


def test_weights_are_those_of_the_file(base: Path) -> None:
    checkpoint = load_checkpoint(base)
    state = checkpoint.module.state_dict()
    for name, value in content(base)["state_dict"].items():
        assert torch.equal(state[name.removeprefix("diffusion_module.")], value)
    assert checkpoint.name == "base"
    assert checkpoint.sha256 == sha256_of(base / "checkpoints" / "last.ckpt")
    assert not any(parameter.requires_grad for parameter in checkpoint.module.parameters())


def test_loading_draws_no_random_numbers_and_says_nothing(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, environment = torch.get_rng_state(), dict(os.environ)
    handlers = list(logging.getLogger().handlers)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_checkpoint(base)
    assert torch.equal(torch.get_rng_state(), before)
    assert dict(os.environ) == environment
    assert list(logging.getLogger().handlers) == handlers
    printed = capsys.readouterr()
    assert printed.out + printed.err == ""


@pytest.mark.parametrize("own", [[], [logging.NullHandler()]])
def test_logging_stays_as_the_program_has_it(base: Path, own: list[logging.Handler]) -> None:
    root = logging.getLogger()
    kept = root.handlers
    try:
        root.handlers = list(own)
        load_checkpoint(base)
        assert root.handlers == own
        root.handlers = list(own)
        with pytest.raises(CheckpointError):
            build_diffusion_module({"_target_": "os.system"}, Path("x"))
        assert root.handlers == own
    finally:
        root.handlers = kept


class _Runs:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_pickled_code_is_not_run(copy: Path, tmp_path: Path) -> None:
    mark = tmp_path / "was-run"
    torch.save({**content(copy), "extra": _Runs(mark)}, copy / "checkpoints" / "last.ckpt")
    with pytest.raises(CheckpointError, match=r"plain data \(\S+\), and reading that would execute code") as caught:
        load_checkpoint(copy)
    # Torch's message, which a traceback would show too, says how to switch the protection off.
    assert "weights_only" not in "".join(traceback.format_exception(caught.value))
    (copy / "checkpoints" / "last.ckpt").write_bytes(pickle.dumps(_Runs(mark)))
    with pytest.raises(CheckpointError):
        load_checkpoint(copy)
    assert not mark.exists()


TARGETS = (
    "os.system",
    "builtins.eval",
    "mattergen.common.utils.globals.try_eval",
    "mattergen.common.utils.globals.os.system",
    "mattergen.diffusion.model_utils.torch.hub.load",
    "mattergen.property_embeddings.get_atomic_number",
)


@pytest.mark.parametrize("target", TARGETS)
def test_configuration_cannot_name_anything_else(copy: Path, target: str) -> None:
    text = (copy / "config.yaml").read_text()
    (copy / "config.yaml").write_text(text.replace("mattergen.property_embeddings.SetEmbeddingType", target))
    with pytest.raises(CheckpointError, match="no part of a MatterGen model"):
        load_checkpoint(copy)


def test_configuration_is_not_evaluated(copy: Path, tmp_path: Path) -> None:
    mark = tmp_path / "was-run"
    text = (copy / "config.yaml").read_text()
    evil = f'hidden_dim: ${{eval:\'open("{mark}", "w") and 16\'}}'
    (copy / "config.yaml").write_text(text.replace("hidden_dim: 16", evil))
    with pytest.raises(CheckpointError, match="Expressions are not run"):
        load_checkpoint(copy)
    assert not mark.exists()


@pytest.mark.parametrize("text", ["${eval:'1 + 15'}", "${oc.env:CHGGEN_TEST_SIZE}", "${oc.decode:'16'}"])
def test_resolvers_of_the_program_are_not_called(copy: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """OmegaConf has one table for the whole process: what another library registered would run for any file."""
    omegaconf = pytest.importorskip("omegaconf").OmegaConf
    called: list[str] = []

    def evaluate(expression: str) -> int:
        called.append(expression)
        return 16

    monkeypatch.setenv("CHGGEN_TEST_SIZE", "16")
    path = copy / "config.yaml"
    path.write_text(path.read_text().replace("hidden_dim: 16", f"hidden_dim: {text}"))
    omegaconf.register_new_resolver("eval", evaluate)
    try:
        with pytest.raises(CheckpointError, match="Expressions are not run"):
            load_checkpoint(copy)
        assert called == []
        assert omegaconf.has_resolver("oc.env")
        assert omegaconf.create({"a": "${eval:'2'}"}).a == 16
    finally:
        omegaconf.clear_resolver("eval")


def test_plain_references_are_followed(copy: Path) -> None:
    text = (copy / "config.yaml").read_text()
    assert "\n      hidden_dim: 16" in text
    referring = text.replace(
        "\n      hidden_dim: 16", "\n      hidden_dim: ${lightning_module.diffusion_module.model.gemnet.emb_size_atom}"
    )
    (copy / "config.yaml").write_text(referring)
    assert load_checkpoint(copy).module.model.hidden_dim == 16


MISFITS = (
    ("beta_max: 20.0", "beta_max: much"),
    ("beta_max: 20.0", "beta_max: [20.0]"),
    ("beta_max: 20.0", "beta_max: .nan"),
    ("limit_density: 0.05771451654022283", "limit_density: 0"),
    ("limit_density: 0.05771451654022283", "limit_density: null"),
    ("sigma_max: 5.0", "sigma_max: wide"),
    ("sigma_max: 5.0", "sigma_max: -5.0"),
    ("wrapping_boundary: 1.0", "wrapping_boundary: round"),
    ("dim: 101", "dim: many"),
    ("dim: 101", "dim: 50"),
    ("num_steps: 1000", "num_steps: 0"),
    ("num_steps: 1000", "num_steps: text"),
    ("cutoff: 4.0", "cutoff: 0"),
    ("cutoff: 4.0", "cutoff: text"),
    ("num_radial: 16", "num_radial: 0"),
    ("num_spherical: 4", "num_spherical: 0"),
    ("num_spherical: 4", "num_spherical: -3"),
    ("num_blocks: 1", "num_blocks: 1.5"),
    ("hidden_dim: 16", "hidden_dim: {}"),
    ("hidden_dim: 16", "hidden_dim: 0"),
)


@pytest.mark.parametrize(("right", "wrong"), MISFITS)
def test_numbers_that_do_not_fit(copy: Path, right: str, wrong: str) -> None:
    text = (copy / "config.yaml").read_text()
    assert right in text
    (copy / "config.yaml").write_text(text.replace(right, wrong))
    with pytest.raises(CheckpointError, match=r"config\.yaml"):
        load(MatterGenOptions(checkpoint=str(copy)))


def test_other_weights_are_refused(copy: Path) -> None:
    path = copy / "checkpoints" / "last.ckpt"
    original = content(copy)
    name = next(key for key in original["state_dict"] if key.endswith("fc_atom.weight"))
    changes: dict[str, Any] = {
        "missing": {k: v for k, v in original["state_dict"].items() if k != name},
        "not wanted": {**original["state_dict"], "diffusion_module.extra": torch.zeros(1)},
        "wrong shapes": {**original["state_dict"], name: torch.zeros(1)},
        "not finite": {**original["state_dict"], name: torch.full_like(original["state_dict"][name], torch.nan)},
    }
    for message, state in changes.items():
        torch.save({**original, "state_dict": state}, path)
        with pytest.raises(CheckpointError, match=rf"{message}.*fc_atom|not wanted \['extra'\]"):
            load_checkpoint(copy)


def test_damaged_and_missing_files(copy: Path, tmp_path: Path) -> None:
    path = copy / "checkpoints" / "last.ckpt"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="truncated"):
        load_checkpoint(copy)
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(CheckpointError, match="git lfs pull"):
        load_checkpoint(copy)
    path.write_bytes(whole)
    (copy / "last.ckpt").write_bytes(whole)
    with pytest.raises(CheckpointError, match="several files"):
        load_checkpoint(copy)
    (copy / "last.ckpt").unlink()
    path.unlink()
    path.mkdir()
    with pytest.raises(CheckpointError, match=r"holds no last\.ckpt"):
        load_checkpoint(copy)
    path.rmdir()
    path.write_bytes(whole)
    (copy / "config.yaml").write_text("trainer: {}\n")
    with pytest.raises(CheckpointError, match="not the configuration of a MatterGen"):
        load_checkpoint(copy)
    (copy / "config.yaml").unlink()
    with pytest.raises(CheckpointError, match=r"holds no config\.yaml"):
        load_checkpoint(copy)
    with pytest.raises(CheckpointError, match="is not a folder"):
        load_checkpoint(tmp_path / "nowhere")


@pytest.mark.usefixtures("mattergen_installed")
def test_initialisation_and_scale_table_are_put_back() -> None:
    modules: Any = package.load_package()
    efficient = modules["mattergen.common.gemnet.layers.efficient"]
    gemnet = modules["mattergen.common.gemnet.gemnet"]
    before = (efficient.he_orthogonal_init, gemnet.MODELS_PROJECT_ROOT)
    with pytest.raises(CheckpointError):
        build_diffusion_module({"_target_": "mattergen.denoiser.GemNetTDenoiser", "nonsense": 1}, Path("x"))
    assert (efficient.he_orthogonal_init, gemnet.MODELS_PROJECT_ROOT) == before
    assert efficient.he_orthogonal_init.__name__ == "he_orthogonal_init"


@pytest.mark.slow
@pytest.mark.usefixtures("mattergen_installed")
def test_a_full_size_model_loads_within_seconds(tmp_path: Path) -> None:
    from time import process_time

    folder = make_checkpoint(tmp_path, released=True)
    begin = process_time()
    model = load(MatterGenOptions(checkpoint=str(folder)))
    assert process_time() - begin < 5
    assert sum(p.numel() for p in model._network._module.parameters()) == 44_562_043
