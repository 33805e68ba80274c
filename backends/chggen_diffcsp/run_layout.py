"""Writes a training run in the layout of the published code, so that it can load what was trained here.

    hparams.yaml             the whole configuration, every value resolved
    epoch=E-step=S.ckpt      torch zip file: tensors, plain dicts, lists, strings and numbers, no class of anybody
    lattice_scaler.pt, prop_scaler.pt

Epoch and step in the file name count from 0, those inside from 1, as Lightning 1.3 has it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml

from chggen_diffcsp.training import SPECIES_COST, Training, TrainingOptions
from chggen_kit.state import CrystalBatch
from chggen_kit.training.run_data import RunData

LIGHTNING = "1.3.8"
"""Version of PyTorch Lightning whose checkpoints these are."""
HPARAMS_FILE = "hparams.yaml"
_TARGETS = {
    "csp": "diffcsp.pl_modules.diffusion.CSPDiffusion",
    "w_type": "diffcsp.pl_modules.diffusion_w_type.CSPDiffusion",
}


def write_run(training: Training, prepared: RunData) -> Path:
    """Write the averaged weights and all that the layout wants, each file through a temporary name.

    Older checkpoints of the run are removed: the published code takes the one of the highest epoch.

    Returns:
        Path of the checkpoint.
    """
    out, options = training.settings.out, training.options
    crystals = prepared.crystals
    config = hparams(options, crystals.batch, prepared.note)
    _write(out / HPARAMS_FILE, lambda path: path.write_text(yaml.safe_dump(config, sort_keys=False)))
    for name, tensors in (("lattice", lattice_statistics(crystals.batch)), ("prop", _unit_scale())):
        _write(out / f"{name}_scaler.pt", _saver(tensors))
    epoch = training.plan(crystals).pass_of(training.step - 1)
    path = out / f"epoch={epoch}-step={training.step - 1}.ckpt"
    _write(path, _saver(checkpoint(training, epoch, config)))
    for other in out.glob("epoch=*-step=*.ckpt"):
        if other != path:
            other.unlink()
    return path


def checkpoint(training: Training, epoch: int, config: Mapping[str, Any]) -> dict[str, Any]:
    """Content of the checkpoint file.

    Args:
        training: after at least one step.
        epoch: passes over the training set that were finished before the last step.
        config: content of hparams.yaml.
    """
    weights = {name: tensor.detach().cpu().clone() for name, tensor in training.average.state_dict().items()}
    return {
        "epoch": epoch + 1,
        "global_step": training.step,
        "pytorch-lightning_version": LIGHTNING,
        "state_dict": weights,
        "callbacks": {},
        "optimizer_states": [],
        "lr_schedulers": [],
        "hparams_name": "kwargs",
        "hyper_parameters": {**config["model"], **{key: config[key] for key in ("optim", "data", "logging")}},
    }


def hparams(options: TrainingOptions, crystals: CrystalBatch, note: Mapping[str, Any]) -> dict[str, Any]:
    """Content of hparams.yaml.

    Args:
        options: of the run.
        crystals: training set.
        note: of the run on its data.
    """
    network = options.network
    model: dict[str, Any] = {
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
            "max_neighbors": 20,
            "cutoff": 7.0,
            "ln": network.ln,
            "ip": network.ip,
        },
        "beta_scheduler": {
            "_target_": "diffcsp.pl_modules.diff_utils.BetaScheduler",
            "timesteps": options.timesteps,
            "scheduler_mode": "cosine",
        },
        "sigma_scheduler": {
            "_target_": "diffcsp.pl_modules.diff_utils.SigmaScheduler",
            "timesteps": options.timesteps,
            "sigma_begin": options.sigma_begin,
            "sigma_end": options.sigma_end,
        },
        "_target_": _TARGETS[options.kind],
        "time_dim": options.time_dim,
        "latent_dim": 0,
        "cost_coord": 1.0,
        "cost_lattice": 1.0,
        **({"cost_type": SPECIES_COST} if options.kind == "w_type" else {}),
        "max_neighbors": 20,
        "radius": 7.0,
        "timesteps": options.timesteps,
    }
    return {
        "data": _data(options, crystals, note),
        "logging": {"val_check_interval": 1},
        "model": model,
        "optim": {
            "optimizer": {
                "_target_": "torch.optim.Adam",
                "lr": options.learning_rate,
                "betas": [0.9, 0.999],
                "eps": 1e-8,
                "weight_decay": 0,
            },
            # The cosine decay is none of the original's schedules: see `chggen`.
            "use_lr_scheduler": False,
        },
        "train": {
            "deterministic": True,
            "random_seed": options.seed,
            "pl_trainer": {"gradient_clip_val": options.clip, "gradient_clip_algorithm": "norm"},
            "monitor_metric": "val_loss",
            "monitor_metric_mode": "min",
        },
        "expname": name_of(note),
        "core": {"version": "0.0.1", "tags": ["chggen-kit"]},
        "chggen": {
            "elements": torch.unique(crystals.species).tolist(),
            "max_atoms": int(crystals.num_atoms.max()),
            "structures": crystals.n_crystals,
            "options": options.to_dict(),
        },
    }


def _data(options: TrainingOptions, crystals: CrystalBatch, note: Mapping[str, Any]) -> dict[str, Any]:
    """The section `data`: what the data were, in the words of the published code."""
    return {
        "prop": "none",
        "num_targets": 1,
        "niggli": True,
        "primitive": False,
        "graph_method": "none",
        "lattice_scale_method": "scale_length",
        "preprocess_workers": 1,
        "readout": "mean",
        "max_atoms": int(crystals.num_atoms.max()),
        "otf_graph": False,
        "eval_model_name": name_of(note),
        "tolerance": 0.1,
        "use_space_group": False,
        "use_pos_index": False,
        "files": [Path(path).name for path, _ in note["request"]["data"]],
        "batch_size": options.batch_crystals,
    }


def name_of(note: Mapping[str, Any]) -> str:
    """Name of the first data set, without its folder and endings."""
    return Path(note["request"]["data"][0][0]).name.split(".")[0]


def lattice_statistics(crystals: CrystalBatch) -> dict[str, torch.Tensor]:
    """Means and standard deviations of a, b, c over the cube root of the number of atoms, and of the angles in degrees.

    Returns:
        `means` and `stds`, `[6]`.
    """
    lattice = crystals.lattice.double()
    lengths = lattice.norm(dim=-1)
    unit = lattice / lengths[..., None]
    cosines = torch.stack([(unit[:, i] * unit[:, j]).sum(dim=-1) for i, j in ((1, 2), (0, 2), (0, 1))], dim=1)
    angles = torch.rad2deg(torch.arccos(cosines.clamp(-1, 1)))
    values = torch.cat([lengths / crystals.num_atoms[:, None].double() ** (1 / 3), angles], dim=1)
    return {"means": values.mean(dim=0).float(), "stds": values.std(dim=0, correction=0).float()}


def _unit_scale() -> dict[str, torch.Tensor]:
    """Scale of a property that no run here has."""
    return {"means": torch.zeros(1), "stds": torch.ones(1)}


def _saver(content: object) -> Callable[[Path], object]:
    return lambda path: torch.save(content, path)


def _write(path: Path, write: Callable[[Path], object]) -> None:
    temporary = path.with_name(f".{path.name}.partial")
    write(temporary)
    temporary.replace(path)
