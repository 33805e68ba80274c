"""Recorded steps and whole runs of the published sampler, draw by draw, through the kit's model and loop."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from diffcsp_runs import GOLDEN
from numpy.typing import NDArray
from oracle_adapter import make_fields, take_step

from chggen_diffcsp.checkpoint import Checkpoint, load_checkpoint
from chggen_diffcsp.model import DiffCSPScoreModel
from chggen_diffcsp.schedules import cosine_schedule, exponential_sigmas
from chggen_kit.draws import Draws, Record
from chggen_kit.interfaces import SamplingTask
from chggen_kit.samplers.loop import _Run
from chggen_kit.samplers.options import ResolvedOptions
from chggen_kit.state import CrystalBatch, Known

Array = NDArray[Any]
TOLERANCE = 1e-5
"""Of one step, relative where values exceed 1. The published network in float32 is 1e-6 off its own float64."""
KEPT = {"free": {}, "keep_lattice": {"cost_lattice": 0.0}, "keep_coords": {"cost_coord": 0.0}}


def _recorded(run: str, keep: str) -> dict[str, Array]:
    prefix = f"{run}/{keep}/"
    with np.load(GOLDEN / "trajectories.npz") as file:
        return {key.removeprefix(prefix): file[key] for key in file.files if key.startswith(prefix)}


def _checkpoint(run: str, keep: str) -> Checkpoint:
    """The toys with T = 20 and T = 1000 share their weights."""
    file = "trained_toy_wtype_T20" if "wtype" in run else "trained_toy_csp_T20"
    checkpoint = load_checkpoint(GOLDEN / f"{file}.safetensors")
    settings = replace(checkpoint.settings, **KEPT[keep])
    if run == "trained_toy_csp":
        with np.load(GOLDEN / "schedules_1000.npz") as file_1000:
            schedules = {key: torch.from_numpy(file_1000[key]) for key in file_1000.files}
        return replace(checkpoint, settings=replace(settings, timesteps=1000), schedules=schedules)
    return replace(checkpoint, settings=settings)


def _close(mine: Array, reference: Array, *, circle: bool = False, tolerance: float = TOLERANCE) -> None:
    difference = mine.astype(float) - reference
    if circle:
        difference = difference - np.round(difference)
    assert np.abs(difference).max() <= tolerance * (1 if circle else max(1.0, np.abs(reference).max()))


def _snr(data: dict[str, Array], checkpoint: Checkpoint) -> float:
    return math.sqrt(float(data["step_lr"]) / 2) / checkpoint.settings.sigma_begin


@pytest.mark.parametrize("keep", list(KEPT))
def test_steps_from_recorded_states(keep: str) -> None:
    """Steps at T = 1000, the first of which multiplies by 100, among others; each from the recorded state."""
    data, checkpoint = _recorded("trained_toy_csp", keep), _checkpoint("trained_toy_csp", keep)
    model = DiffCSPScoreModel(checkpoint)
    assert 1000 in data["times"]
    for t in data["times"].tolist():
        fields = make_fields(data["atom_types"], data[f"t{t}_x_t"], data[f"t{t}_l_t"], data["num_atoms"])
        noises = {
            name: data.get(f"t{t}_z_{name}", np.zeros_like(data[f"t{t}_{name[0]}_t"])) for name in ("x_c", "x_p", "l_p")
        }
        half, coords, lattice = take_step(model, t, fields, noises, _snr(data, checkpoint))
        if keep != "keep_coords":
            _close(half, data[f"t{t}_x_half"], circle=True)
            _close(coords, data[f"t{t}_x_next"], circle=True)
        if keep != "keep_lattice":
            _close(lattice, data[f"t{t}_l_next"])


@pytest.mark.parametrize(
    ("run", "keep"), [*(("trained_toy_csp_T20", keep) for keep in KEPT), ("trained_toy_wtype_T20", "free")]
)
def test_whole_runs_of_the_loop(run: str, keep: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the recorded prior to the end with the kit's own loop; every state on the way is compared."""
    # The recordings keep cells as they were given, reduced or not.
    monkeypatch.setattr(
        "chggen_diffcsp.model.niggli_changes", lambda lattice, _: torch.eye(3).double().expand(len(lattice), 3, 3)
    )
    data, checkpoint = _recorded(run, keep), _checkpoint(run, keep)
    model = DiffCSPScoreModel(checkpoint)
    counts, species = torch.from_numpy(data["num_atoms"]), torch.from_numpy(data["atom_types"])
    batch = CrystalBatch(
        torch.from_numpy(data["t20_x_t"]).double() % 1, torch.from_numpy(data["t20_l_t"]).double(), species, counts
    )
    given = {name: not model.processes[name].moves for name in ("frac_coords", "species", "lattice")}
    known = Known(
        torch.full((batch.n_atoms,), given["frac_coords"]),
        torch.full((batch.n_atoms,), given["species"]),
        torch.full((batch.n_crystals,), given["lattice"]),
    )
    task = SamplingTask(batch, known)
    options = ResolvedOptions(
        steps=20,
        corrector_steps=0 if keep == "keep_coords" else 1,
        corrector_first=True,
        passes=1,
        snr=_snr(data, checkpoint),
    )
    draws = Draws(0, task.ids, counts.tolist(), replay=_replay(data, task))
    sampling = _Run(model, task, options, "noised", draws)
    states: list[dict[str, Array]] = []
    descend = sampling.descend

    def watched(level: int, target: int, number: int) -> None:
        descend(level, target, number)
        states.append({name: sampling.state[name].numpy() for name in sampling.moving})

    monkeypatch.setattr(sampling, "descend", watched)
    assert sampling.run(None).reasons == (None,) * batch.n_crystals
    assert len(states) == 20
    for t, state in zip(range(20, 0, -1), states, strict=True):
        # Rounding adds up over a run.
        for name, key in (("frac_coords", "x"), ("lattice", "l"), ("species", "t")):
            if name in state:
                _close(state[name], data[f"t{t}_{key}_next"], circle=key == "x", tolerance=10 * TOLERANCE)


def _replay(data: dict[str, Array], task: SamplingTask) -> Record:
    """The recorded draws at the moments at which the loop asks for them."""
    replay: Record = {}
    first = 0
    for crystal, (identity, size) in enumerate(zip(task.ids, data["num_atoms"].tolist(), strict=True)):
        atoms, cell = slice(first, first + size), slice(crystal, crystal + 1)
        first += size
        for field, key, rows in (("frac_coords", "x", atoms), ("lattice", "l", cell), ("species", "t", atoms)):
            if f"prior_{key}" in data:
                replay[identity, 0, 0, field, "prior"] = data[f"prior_{key}"][rows].astype(float)
            for t in range(20, 1, -1):
                for pass_, purpose, short in ((1, "corrector", "c"), (0, "predictor", "p")):
                    noise = data.get(f"t{t}_z_{key}_{short}")
                    if noise is not None:
                        replay[identity, 21 - t, pass_, field, purpose] = noise[rows].astype(float)
    return replay


def test_schedules_are_those_of_the_published_code() -> None:
    with np.load(GOLDEN / "schedules_1000.npz") as reference:
        mine = cosine_schedule(1000)
        assert np.array_equal(mine.betas.numpy(), reference["beta_scheduler.betas"])
        assert np.array_equal(mine.alphas.numpy(), reference["beta_scheduler.alphas"])
        assert np.array_equal(mine.alphas_cumprod.numpy(), reference["beta_scheduler.alphas_cumprod"])
        # A square root and a quotient differ in the last bit between processors.
        assert np.allclose(mine.sigmas.numpy(), reference["beta_scheduler.sigmas"], rtol=1.2e-7, atol=0)
        sigmas = exponential_sigmas(1000, 0.005, 0.5).numpy()
        assert np.array_equal(sigmas, reference["sigma_scheduler.sigmas"])
