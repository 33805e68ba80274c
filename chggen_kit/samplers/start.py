"""Where on a time grid a noise in Å lies: intermediate starts for every kind of noise on positions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from chggen_kit.errors import InputError
from chggen_kit.interfaces.processes import NoiseProcess, Step
from chggen_kit.processes.torus_ve_fractional import FractionalTorusVE
from chggen_kit.state import Fields


def levels_of_noise(process: NoiseProcess, times: Sequence[float], fields: Fields, sigma_A: float) -> list[int]:
    """For each crystal the level of `times` whose noise on positions is nearest to `sigma_A` by ratio, never the clean.

    Noise that is isotropic in fractional coordinates has no one spread in Å: its standard deviation times the cube root
    of the crystal's volume stands for it.

    Raises:
        InputError: when the process does not tell its noise.
    """
    spreads = torch.stack([_spread_A(process, Step(times, level, level, fields)) for level in range(len(times) - 1)])
    nearest: list[int] = torch.log(spreads / sigma_A).abs().argmin(dim=0).tolist()
    return nearest


def _spread_A(process: NoiseProcess, step: Step) -> Tensor:  # noqa: N802 - units are part of the name
    """Of each crystal `[n_crystals]`."""
    edges = torch.linalg.det(step.fields["lattice"].double()).abs().cpu() ** (1 / 3)
    if isinstance(process, FractionalTorusVE):
        fractional: Tensor = process.sigma(step.s, step.context).cpu() * edges
        return fractional
    spread = process.marginal_std(step)
    if spread is None:
        raise InputError(
            "This score model does not tell how large its noise on positions is in Å, so a start at an intermediate "
            "noise cannot be found. Name a level of its grid instead (start_level)."
        )
    return spread * (edges if process.metric == "fractional" else torch.ones_like(edges))
