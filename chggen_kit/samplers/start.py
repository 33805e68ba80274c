"""Where on a time grid a noise in Å lies: intermediate starts for every kind of noise on positions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from chggen_kit.errors import InputError
from chggen_kit.interfaces.processes import NoiseProcess, Step
from chggen_kit.processes.torus_ve_fractional import FractionalTorusVE
from chggen_kit.state import Fields


def level_of_noise(process: NoiseProcess, times: Sequence[float], fields: Fields, sigma_A: float) -> int:
    """Index of the level of `times` whose noise on positions is nearest to `sigma_A`, by ratio; never the clean one.

    Noise that is isotropic in fractional coordinates has no one spread in Å: its standard deviation times the cube root
    of the cell's volume stands for it, averaged over the crystals of the batch.

    Raises:
        InputError: when the process does not tell its noise.
    """
    spreads = [_spread_A(process, Step(times, level, level, fields)) for level in range(len(times) - 1)]
    return min(range(len(spreads)), key=lambda level: abs(math.log(spreads[level] / sigma_A)))


def _spread_A(process: NoiseProcess, step: Step) -> float:  # noqa: N802 - units are part of the name
    edges = torch.linalg.det(step.fields["lattice"].double()).abs() ** (1 / 3)
    if isinstance(process, FractionalTorusVE):
        return float((process.sigma(step.s, step.context).to(edges) * edges).mean())
    spread = process.marginal_std(step)
    if spread is None:
        raise InputError(
            "This score model does not tell how large its noise on positions is in Å, so a start at an intermediate "
            "noise cannot be found. Name a level of its grid instead (start_level)."
        )
    return spread * float(edges.mean()) if process.metric == "fractional" else spread
