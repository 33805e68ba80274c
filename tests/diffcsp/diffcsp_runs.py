"""Small run directories in the published layout, written by the tests themselves."""

from __future__ import annotations

import sys
import types
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor

from chggen_diffcsp.checkpoint import build_checkpoint
from chggen_diffcsp.hparams import Settings
from chggen_diffcsp.model import DiffCSPScoreModel
from chggen_diffcsp.network import CSPNet, CSPNetConfig
from chggen_diffcsp.schedules import cosine_schedule, exact_sigmas_norm, exponential_sigmas

GOLDEN = Path(__file__).parent / "golden"
"""Cut from recordings of the published code (commit 7121d15) running on small networks: inputs, outputs, and every
random draw of its sampler."""


def settings(*, species: bool = False, timesteps: int = 40, **values: Any) -> Settings:
    """Of a network of 16 features."""
    network = CSPNetConfig(hidden_dim=16, latent_dim=8, num_layers=2, num_freqs=3, smooth=species, pred_type=species)
    given = {"network": network, "sigma_begin": 0.005, "sigma_end": 0.5, "cost_lattice": 1.0, "cost_coord": 1.0}
    return Settings(**{**given, "timesteps": timesteps, **values})


def named_weights(network: CSPNet) -> dict[str, Tensor]:
    """Weights that follow from names and shapes alone, as those of the recordings do."""
    state = {}
    for name, tensor in network.state_dict().items():
        key = f"decoder.{name}"
        numbers = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(tuple(tensor.shape))
        if key.endswith("norm.weight"):
            numbers = 1 + 0.1 * numbers
        elif key.endswith(".bias"):
            numbers = 0.1 * numbers
        elif "node_embedding" not in key:
            numbers = numbers / np.sqrt(tensor.shape[1])
        state[key] = torch.from_numpy(numbers.astype(np.float32))
    return state


def state_dict(given: Settings) -> dict[str, Tensor]:
    """Weights and schedules."""
    betas = cosine_schedule(given.timesteps)
    sigmas = exponential_sigmas(given.timesteps, given.sigma_begin, given.sigma_end)
    return {
        **named_weights(CSPNet(given.network)),
        "beta_scheduler.betas": betas.betas,
        "beta_scheduler.alphas": betas.alphas,
        "beta_scheduler.alphas_cumprod": betas.alphas_cumprod,
        "beta_scheduler.sigmas": betas.sigmas,
        "sigma_scheduler.sigmas": sigmas,
        "sigma_scheduler.sigmas_norm": exact_sigmas_norm(sigmas),
    }


def model(given: Settings | None = None, **options: Any) -> DiffCSPScoreModel:
    """A score model without files."""
    given = given or settings()
    return DiffCSPScoreModel(build_checkpoint(given, state_dict(given), Path("test.safetensors")), **options)


def hparams(given: Settings) -> dict[str, Any]:
    """Content of hparams.yaml, references unresolved."""
    kind = "diffusion_w_type" if given.diffuses_species else "diffusion"
    network = given.network
    return {
        "data": {"root_path": "${oc.env:PROJECT_ROOT}/data/perov_5", "eval_model_name": "perovskite", "max_atoms": 20},
        "model": {
            "_target_": f"diffcsp.pl_modules.{kind}.CSPDiffusion",
            "decoder": {
                "_target_": "diffcsp.pl_modules.cspnet.CSPNet",
                "hidden_dim": network.hidden_dim,
                "latent_dim": 0,
                "max_atoms": network.max_atoms,
                "num_layers": network.num_layers,
                "act_fn": "silu",
                "dis_emb": network.dis_emb,
                "num_freqs": network.num_freqs,
                "edge_style": "fc",
                "max_neighbors": "${model.max_neighbors}",
                "cutoff": "${model.radius}",
                "ln": network.ln,
                "ip": network.ip,
            },
            "beta_scheduler": {"timesteps": "${model.timesteps}", "scheduler_mode": "cosine"},
            "sigma_scheduler": {
                "timesteps": "${model.timesteps}",
                "sigma_begin": given.sigma_begin,
                "sigma_end": given.sigma_end,
            },
            "time_dim": network.latent_dim,
            "latent_dim": 0,
            "cost_coord": given.cost_coord,
            "cost_lattice": given.cost_lattice,
            "max_neighbors": 20,
            "radius": 7.0,
            "timesteps": "${train.steps}",
        },
        "train": {"steps": given.timesteps},
        "core": {"tags": ["${now:%Y-%m-%d}"]},
    }


def write_run(
    directory: Path,
    given: Settings | None = None,
    *,
    name: str = "epoch=7-step=99.ckpt",
    state: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Path:
    """A run directory; `extra` goes into the checkpoint beside the weights, `state` replaces them."""
    given = given or settings()
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "hparams.yaml").write_text(yaml.safe_dump(hparams(given)), encoding="utf-8")
    with _packages_replaced("pytorch_lightning", "omegaconf"):
        content = {
            "epoch": 8,
            "global_step": 100,
            "pytorch-lightning_version": "1.3.8",
            "state_dict": OrderedDict(state_dict(given) if state is None else state),
            "callbacks": {foreign("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint"): {"best": 0.5}},
            "hyper_parameters": {"decoder": foreign("omegaconf.dictconfig", "DictConfig")({"a": 1})},
            **(extra or {}),
        }
        torch.save(content, directory / name)
    return directory


@contextmanager
def _packages_replaced(*packages: str) -> Iterator[None]:
    """Room for made-up modules of `packages`; the real ones, where installed, are back afterwards, untouched."""

    def loaded() -> dict[str, types.ModuleType]:
        return {name: module for name, module in sys.modules.items() if name.partition(".")[0] in packages}

    real = loaded()
    for name in real:
        del sys.modules[name]
    try:
        yield
    finally:
        for name in loaded():
            del sys.modules[name]
        sys.modules.update(real)


def foreign(module: str, name: str) -> type:
    """A class that pickles as one of a package which is not installed."""
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        path = ".".join(parts[:depth])
        if path not in sys.modules:
            sys.modules[path] = types.ModuleType(path)
    kind = type(name, (), {"__init__": lambda self, *args: setattr(self, "args", args), "__module__": module})
    setattr(sys.modules[module], name, kind)
    return kind
