"""Springs between atoms: rest lengths are sums of covalent radii, and long bonds fade out.

With k the stiffness, r0 the rest length, w = 0.35 r0 and u = (r - r0) / w: up to the rest length a bond has the energy
k (r - r0)^2 / 2 - k w^2 / 6, from there on -k w^2 / 6 (1 - u^2)^3, and nothing from u = 1 on. Energy and slope are
continuous.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from ase.data import covalent_radii
from torch import Tensor

_LARGEST_A = 1.7
_FADING = 0.35
CUTOFF_A = 2 * _LARGEST_A * (1 + _FADING)
"""No bond is longer, in Å."""
ELEMENTS = frozenset(number for number in range(1, 97) if covalent_radii[number] <= _LARGEST_A)
"""Atomic numbers of the elements with radii of at most 1.7 Å."""
_RADII = torch.tensor(covalent_radii, dtype=torch.float64)


@dataclass(frozen=True)
class Bonds:
    """Values of bonds.

    Attributes:
        energy_eV: in eV `[n_bonds]`.
        slope_eV_A: derivative of the energy by the length in eV/Å `[n_bonds]`; positive where a bond pulls.
        stiffness_eV_A2: how much of a spring each still is, in eV/Å^2 `[n_bonds]`, never negative.
    """

    energy_eV: Tensor
    slope_eV_A: Tensor
    stiffness_eV_A2: Tensor


def bonds(length: Tensor, first: Tensor, second: Tensor, spring_eV_A2: float) -> Bonds:
    """Bonds of lengths `[n_bonds]` in Å between atoms of the atomic numbers `first` and `second` `[n_bonds]`."""
    rest = _RADII[first] + _RADII[second]
    width = _FADING * rest
    beyond = ((length - rest) / width).clamp(min=0, max=1)
    within = (length - rest).clamp(max=0)
    left = 1 - beyond**2
    return Bonds(
        energy_eV=spring_eV_A2 * (within**2 / 2 - width**2 / 6 * left**3),
        slope_eV_A=spring_eV_A2 * (within + width * beyond * left**2),
        stiffness_eV_A2=spring_eV_A2 * left**2,
    )
