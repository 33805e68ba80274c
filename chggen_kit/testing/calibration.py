"""Whether a network's output is the score that it is taken for: sign, power of the noise level, and size.

For the perfect network E[<prediction, target>] = E[|prediction|^2] at every noise level, `target` being what
`NoiseProcess.denoising_target` gives for the crystal that the noisy one came from: the prediction is the mean of the
target, so what is left of it is orthogonal. The ratio of both sides is 1 for any network that is calibrated, however
little it knows; a wrong sign makes it -1, and a wrong power of sigma makes it another number at every level.
"""

from __future__ import annotations

import math

import torch

from chggen_kit.draws import Draws
from chggen_kit.interfaces.processes import NoiseProcess, Step
from chggen_kit.interfaces.sampler import CrystalId
from chggen_kit.interfaces.score_model import ScoreModel
from chggen_kit.state import CrystalBatch, Fields, Known
from chggen_kit.testing.noise_process import finest_grid
from chggen_kit.testing.report import LawResult

CALIBRATION_FACTOR = 2.0
"""Largest factor between <prediction, target> and |prediction|^2, either way."""
NOISE_LEVELS_A = (0.1, 0.2, 0.4)
"""Displacements at which positions are measured, in Å: typical networks know most there."""
_COPIES = 4
_STEPS = 200


def check_calibration(model: ScoreModel, known_crystals: CrystalBatch) -> list[LawResult]:
    """Measure the calibration of the positions that `model` predicts.

    Args:
        model: what to check.
        known_crystals: crystals, without noise, of the kind that the model was made for.
    """
    process = model.processes["frac_coords"]
    if not process.moves:
        return []
    batch = known_crystals.select([i for i in range(known_crystals.n_crystals) for _ in range(_COPIES)])
    clean = model.encode(batch, Known.coordinates_only(batch))
    times = finest_grid(model, _STEPS)
    worst, told = 0.0, []
    for wanted in NOISE_LEVELS_A:
        level = _level_of(process, times, clean, batch, wanted)
        step = Step(times, level, level, clean)
        draws = Draws(level, [CrystalId("check", i) for i in range(batch.n_crystals)], batch.num_atoms.tolist())
        noised = clean.updated(
            frac_coords=process.forward_marginal(
                clean["frac_coords"], step, draws.at(0, 0, "frac_coords", process.scope)
            )
        )
        target = process.denoising_target(
            clean["frac_coords"], noised["frac_coords"], Step(times, level, level, noised)
        )
        if target is None:
            return []
        t = torch.full((batch.n_crystals,), times[level], dtype=clean["lattice"].dtype, device=clean["lattice"].device)
        with torch.no_grad():
            prediction = model.predict(noised, t)["frac_coords"].double()
        ratio = float((prediction * target.double()).sum() / prediction.square().sum())
        told.append(f"{ratio:.2f} at {wanted} Å")
        worst = max(worst, abs(math.log(ratio)) if ratio > 0 else math.inf)
    return [
        LawResult.at_most(
            "prediction-calibrated-frac_coords",
            math.exp(worst) if worst < 100 else math.inf,
            CALIBRATION_FACTOR,
            f"<prediction, target> / |prediction|^2: {', '.join(told)} (negative: wrong sign; another factor at every "
            "level: wrong power of the noise level)",
        )
    ]


def _level_of(
    process: NoiseProcess, times: tuple[float, ...], clean: Fields, batch: CrystalBatch, wanted_A: float
) -> int:
    """Level of the grid at which positions have about the standard deviation `wanted_A`, in Å on average."""
    length_A = 1.0 if process.metric == "cartesian" else float((batch.volumes ** (1 / 3)).mean())
    spreads = [process.marginal_std(Step(times, level, level, clean)) for level in range(len(times) - 1)]
    if any(spread is None for spread in spreads):
        # Where nothing is declared the middle of the grid stands for all.
        return len(times) // 2
    gaps = [abs(math.log(float(spread) * length_A / wanted_A)) for spread in spreads if spread is not None]
    return gaps.index(min(gaps))
