"""Random cells over the Bravais lattices, all of the same volume."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chggen_kit.errors import InputError

FAMILIES = ("cubic", "tetragonal", "orthorhombic", "monoclinic", "triclinic", "hexagonal", "rhombohedral")
"""Drawn in turn, so that the families stay balanced for any number of starts."""

CENTRINGS = {
    "cubic": "PFI",
    "tetragonal": "PI",
    "orthorhombic": "PCIF",
    "monoclinic": "PC",
    "triclinic": "P",
    "hexagonal": "P",
    "rhombohedral": "P",
}
"""The 14 Bravais lattices, taken in turn within a family (rhombohedral cells are primitive in their own axes)."""

RATIO_RANGE = (0.75, 1.25)
"""Range of b/a and c/a of the conventional cell (the paper's lattice search)."""
MONOCLINIC_BETA_DEG = (90.0, 120.0)
"""Any monoclinic lattice has a cell with an angle in this range."""
TRICLINIC_ANGLES_DEG = (75.0, 105.0)
RHOMBOHEDRAL_ALPHA_DEG = (50.0, 110.0)
"""Holds the cubic limits: 60 (face-centred), 90 (primitive) and 109.47 degrees (body-centred)."""

_STREAM = 0x1A771CE
"""Keeps these draws apart from other uses of the same seed."""

# Rows: primitive vectors in conventional axes.
_PRIMITIVE = {
    "P": np.eye(3),
    "C": np.array([[0.5, 0.5, 0], [-0.5, 0.5, 0], [0, 0, 1]]),
    "I": np.array([[-0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.5, 0.5, -0.5]]),
    "F": np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]),
}


@dataclass(frozen=True)
class LatticeDraw:
    """A cell to start from.

    Attributes:
        matrix: right-handed primitive cell, rows a, b, c in Å `[3, 3]`.
        family: one of `FAMILIES`.
        centring: P, C, I or F: that of the conventional cell.
    """

    matrix: NDArray[np.float64]
    family: str
    centring: str


def _cell(lengths: tuple[float, float, float], angles_deg: tuple[float, float, float]) -> NDArray[np.float64]:
    """Cell with a along x and b in the xy plane `[3, 3]`."""
    a, b, c = lengths
    cos_alpha, cos_beta, cos_gamma = (math.cos(math.radians(angle)) for angle in angles_deg)
    sin_gamma = math.sqrt(1 - cos_gamma**2)
    y = (cos_alpha - cos_beta * cos_gamma) / sin_gamma
    return np.array(
        [
            [a, 0, 0],
            [b * cos_gamma, b * sin_gamma, 0],
            [c * cos_beta, c * y, c * math.sqrt(1 - cos_beta**2 - y**2)],
        ]
    )


def _conventional(family: str, rng: np.random.Generator) -> NDArray[np.float64]:
    """Conventional cell of `family`, of any volume."""
    b, c = rng.uniform(*RATIO_RANGE, size=2)
    lengths: tuple[float, float, float] = (1.0, b, c)
    angles: tuple[float, float, float] = (90.0, 90.0, 90.0)
    match family:
        case "cubic":
            lengths = (1.0, 1.0, 1.0)
        case "tetragonal":
            lengths = (1.0, 1.0, c)
        case "monoclinic":
            angles = (90.0, rng.uniform(*MONOCLINIC_BETA_DEG), 90.0)
        case "triclinic":
            alpha, beta, gamma = rng.uniform(*TRICLINIC_ANGLES_DEG, size=3)
            angles = (alpha, beta, gamma)
        case "hexagonal":
            lengths, angles = (1.0, 1.0, c), (90.0, 90.0, 120.0)
        case "rhombohedral":
            alpha = rng.uniform(*RHOMBOHEDRAL_ALPHA_DEG)
            lengths, angles = (1.0, 1.0, 1.0), (alpha, alpha, alpha)
    return _cell(lengths, angles)


def lattice_for_start(volume_A3: float, seed: int, index: int) -> LatticeDraw:
    """Cell of start number `index`: it depends on nothing but the arguments, so more starts never change earlier ones.

    Families are taken in turn and, within a family, its Bravais lattices. A cubic lattice is fixed by its volume:
    the three cubic cells repeat every 21 starts, all others are new at every draw.

    Raises:
        InputError: when the volume is not positive and finite, or seed or index are negative.
    """
    if not (math.isfinite(volume_A3) and volume_A3 > 0):
        raise InputError(f"The volume of a cell must be positive, not {volume_A3} Å^3.")
    if seed < 0 or index < 0:
        raise InputError(f"Seed and start number must not be negative (seed {seed}, start {index}).")
    family = FAMILIES[index % len(FAMILIES)]
    centrings = CENTRINGS[family]
    centring = centrings[index // len(FAMILIES) % len(centrings)]
    rng = np.random.default_rng(np.random.SeedSequence([_STREAM, seed, index]))
    shape = _PRIMITIVE[centring] @ _conventional(family, rng)
    return LatticeDraw(shape * (volume_A3 / float(np.linalg.det(shape))) ** (1 / 3), family, centring)


def search_lattices(volume_A3: float, count: int, seed: int) -> list[LatticeDraw]:
    """Cells of starts 0 to `count` - 1.

    Raises:
        InputError: when `count` is not at least 1, and as `lattice_for_start`.
    """
    if count < 1:
        raise InputError(f"The number of starts must be at least 1, not {count}.")
    return [lattice_for_start(volume_A3, seed, index) for index in range(count)]
