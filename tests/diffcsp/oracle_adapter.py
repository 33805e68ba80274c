"""Shows this backend to the comparison script that comes with recordings of the published DiffCSP code.

From the repository's root: `python PATH/check_reimplementation.py --impl tests.diffcsp.oracle_adapter`. Everything goes
through the kit's own loader, score model and noise processes.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pymatgen.core import Lattice
from torch import Tensor

from chggen_diffcsp.checkpoint import load_checkpoint
from chggen_diffcsp.model import DiffCSPScoreModel
from chggen_kit.interfaces import KernelOptions, Step
from chggen_kit.state import BatchContext, Fields
from chggen_kit.torus import wrapped_normal_score

Array = NDArray[Any]
_SCHEDULES = {
    "betas": "beta_scheduler.betas",
    "alphas": "beta_scheduler.alphas",
    "alphas_cumprod": "beta_scheduler.alphas_cumprod",
    "beta_sigmas": "beta_scheduler.sigmas",
    "sigmas": "sigma_scheduler.sigmas",
    "sigmas_norm": "sigma_scheduler.sigmas_norm",
}


@cache
def _model(run_dir: str, keep: str | None = None) -> DiffCSPScoreModel:
    checkpoint = load_checkpoint(Path(run_dir))
    free: dict[str, dict[str, Any]] = {"lattice": {"cost_lattice": 0.0}, "coords": {"cost_coord": 0.0}}
    settings = replace(checkpoint.settings, **(free[keep] if keep else {}))
    return DiffCSPScoreModel(replace(checkpoint, settings=settings))


def make_fields(atom_types: Array, x: Array, lattice: Array, num_atoms: Array) -> Fields:
    counts = torch.from_numpy(num_atoms)
    index = torch.repeat_interleave(torch.arange(len(num_atoms)), counts)
    tensors = {
        "species": torch.from_numpy(atom_types),
        "frac_coords": torch.from_numpy(x),
        "lattice": torch.from_numpy(lattice),
    }
    return Fields(tensors, BatchContext(counts, index, {"sizes": tuple(num_atoms.tolist())}))


def predict(run_dir: str, t: Array, atom_types: Array, x: Array, lattice: Array, num_atoms: Array) -> list[Array]:
    """Raw outputs for cell, coordinates, and species where there are some."""
    output = _model(run_dir).predict(make_fields(atom_types, x, lattice, num_atoms), torch.from_numpy(t))
    return [output[name].numpy() for name in ("lattice", "frac_coords", "species") if name in output]


def schedules(run_dir: str) -> dict[str, Array]:
    """The buffers of the checkpoint."""
    stored = load_checkpoint(Path(run_dir)).schedules
    return {name: stored[key].numpy() for name, key in _SCHEDULES.items()}


def minus_score(x: Array, sigma: Array) -> Array:
    """Minus the score of a normal wrapped onto a circle of length 1: one axis of a unit cube."""
    shape = np.broadcast_shapes(x.shape, sigma.shape)
    flat = torch.zeros(math.prod(shape), 3, dtype=torch.float64)
    flat[:, 0] = torch.from_numpy(np.broadcast_to(x, shape).astype(float).ravel())
    cube = torch.eye(3, dtype=torch.float64).repeat(len(flat), 1, 1)
    spread = torch.from_numpy(np.broadcast_to(sigma, shape).astype(float).ravel().copy())
    score = wrapped_normal_score(flat, cube, torch.arange(len(flat)), spread)
    return -score[:, 0].numpy().reshape(shape)


def params_to_matrix(lengths: Array, angles: Array) -> Array:
    """Cells from lengths and angles, as pymatgen orients them."""
    return np.stack([Lattice.from_parameters(*a, *b).matrix for a, b in zip(lengths, angles, strict=True)])


def matrix_to_params(lattice: Array) -> tuple[Array, Array]:
    """Lengths and angles of cells."""
    cells = [Lattice(cell.astype(float)) for cell in lattice]
    return np.array([cell.lengths for cell in cells]), np.array([cell.angles for cell in cells])


class _Given:
    """Draws that were recorded."""

    def __init__(self, **numbers: Array | None) -> None:
        self._numbers = numbers

    def normal(self, purpose: str, like: Tensor) -> Tensor:
        numbers = self._numbers[purpose]
        assert numbers is not None
        return torch.from_numpy(numbers).to(like.dtype)

    def uniform(self, purpose: str, like: Tensor) -> Tensor:
        return self.normal(purpose, like)

    def categorical(self, purpose: str, probabilities: Tensor) -> Tensor:
        raise NotImplementedError(purpose, probabilities)


def sample_step(
    run_dir: str,
    t: int,
    x: Array,
    lattice: Array,
    types: Array,
    num_atoms: Array,
    z: dict[str, Array],
    step_lr: float,
    keep: str | None,
) -> list[Array]:
    """Corrector, then predictor, by the model's own processes."""
    sigma_begin = load_checkpoint(Path(run_dir)).settings.sigma_begin
    snr = math.sqrt(step_lr / 2) / sigma_begin
    return take_step(_model(run_dir, keep), t, make_fields(types, x, lattice, num_atoms), z, snr)


def take_step(model: DiffCSPScoreModel, t: int, fields: Fields, z: dict[str, Array], snr: float) -> list[Array]:
    """One step from `t` to `t` - 1 with the given noise; the coordinates between, then every field after it."""
    torus = model.processes["frac_coords"]
    # The grid goes from this time to the next; where that is the clean one, the corrector is quiet.
    times = (float(t), float(t - 1), 0.0) if t > 1 else (1.0, 0.0)
    level = torch.full((fields.context.n_crystals,), t)
    if torus.moves:
        rows = torch.ones(fields.context.n_atoms, dtype=torch.bool)
        prediction = model.predict(fields, level)["frac_coords"]
        moved = torus.correct(
            fields["frac_coords"],
            prediction,
            Step(times, 0, 0, fields),
            rows,
            _Given(corrector=z.get("x_c")),
            KernelOptions(snr=snr),
        )
        assert moved is not None
        fields = fields.updated(frac_coords=moved)
    outputs = model.predict(fields, level)
    step = Step(times, 0, 1, fields)
    result = [fields["frac_coords"].numpy()]
    for name, noise in (("frac_coords", "x_p"), ("lattice", "l_p"), ("species", "t_p")):
        process = model.processes[name]
        if name == "species" and not process.moves:
            continue
        output = outputs[name] if process.moves else fields[name]
        result.append(process.reverse_step(fields[name], output, step, _Given(predictor=z.get(noise))).numpy())
    return result
