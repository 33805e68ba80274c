"""Textbook crystals for checks and tests: real compounds, built from their prototypes."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch

from chggen_kit.errors import InputError
from chggen_kit.state import CrystalBatch
from chggen_kit.torus import to_fractional, wrap

_CELLS: dict[str, tuple[list[list[float]], list[int], list[list[float]]]] = {
    # Lattice constants in Å at room temperature.
    "NaCl": (
        [[0.0, 2.82, 2.82], [2.82, 0.0, 2.82], [2.82, 2.82, 0.0]],
        [11, 17],
        [[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]],
    ),
    "CsCl": ([[4.12, 0.0, 0.0], [0.0, 4.12, 0.0], [0.0, 0.0, 4.12]], [55, 17], [[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]]),
    "ZnS": (
        [[0.0, 2.705, 2.705], [2.705, 0.0, 2.705], [2.705, 2.705, 0.0]],
        [30, 16],
        [[0.0, 0.0, 0.0], [0.25, 0.25, 0.25]],
    ),
    "SrTiO3": (
        [[3.905, 0.0, 0.0], [0.0, 3.905, 0.0], [0.0, 0.0, 3.905]],
        [38, 22, 8, 8, 8],
        [[0.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, 0.5, 0.0], [0.5, 0.0, 0.5], [0.0, 0.5, 0.5]],
    ),
    "CaF2": (
        [[0.0, 2.731, 2.731], [2.731, 0.0, 2.731], [2.731, 2.731, 0.0]],
        [20, 9, 9],
        [[0.0, 0.0, 0.0], [0.25, 0.25, 0.25], [0.75, 0.75, 0.75]],
    ),
    "TiO2": (
        [[4.594, 0.0, 0.0], [0.0, 4.594, 0.0], [0.0, 0.0, 2.959]],
        [22, 22, 8, 8, 8, 8],
        [
            [0.0, 0.0, 0.0],
            [0.5, 0.5, 0.5],
            [0.305, 0.305, 0.0],
            [0.695, 0.695, 0.0],
            [0.195, 0.805, 0.5],
            [0.805, 0.195, 0.5],
        ],
    ),
}

TEXTBOOK = tuple(_CELLS)
"""Names of the crystals that `textbook` builds."""


def textbook(names: Sequence[str] = TEXTBOOK, *, rattle_A: float = 0.0, seed: int = 0) -> CrystalBatch:
    """Batch (float64) of the named crystals, each atom displaced by a normal of `rattle_A` Å along every axis."""
    cells = [_CELLS[name] for name in names]
    counts = torch.tensor([len(species) for _, species, _ in cells])
    lattice = torch.tensor([cell for cell, _, _ in cells], dtype=torch.float64)
    frac = torch.tensor([row for _, _, coords in cells for row in coords], dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    noise = rattle_A * torch.randn(frac.shape, generator=generator, dtype=torch.float64)
    index = torch.repeat_interleave(torch.arange(len(names)), counts)
    species = torch.tensor([z for _, row, _ in cells for z in row])
    return CrystalBatch(wrap(frac + to_fractional(noise, lattice, index)), lattice, species, counts)


def covered(elements: Collection[int]) -> tuple[str, ...]:
    """Names of the textbook crystals made of `elements` (atomic numbers) alone.

    Raises:
        InputError: when there is none.
    """
    names = tuple(name for name, (_, species, _) in _CELLS.items() if set(species) <= set(elements))
    if not names:
        raise InputError("None of the textbook crystals is made of the elements covered; give a batch of your own.")
    return names
