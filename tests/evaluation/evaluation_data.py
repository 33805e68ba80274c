"""Small data files of textbook crystals for the evaluations."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from pymatgen.core import Lattice, Structure

FACES, CUBE = [[0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]], [[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]]
ZERO, QUARTER, HALF, THREE_QUARTERS = [0.0] * 3, [0.25] * 3, [0.5] * 3, [0.75] * 3
TEXTBOOK = {
    "LiF": (4.03, FACES, ["Li", "F"], [ZERO, HALF]),
    "MgO": (4.21, FACES, ["Mg", "O"], [ZERO, HALF]),
    "CaF2": (5.46, FACES, ["Ca", "F", "F"], [ZERO, QUARTER, THREE_QUARTERS]),
    "ZnS": (5.41, FACES, ["Zn", "S"], [ZERO, QUARTER]),
    "KMgF3": (3.99, CUBE, ["K", "Mg", "F", "F", "F"], [ZERO, HALF, [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]),
    "Cu": (3.61, FACES, ["Cu"], [ZERO]),
    "TiN": (4.24, FACES, ["Ti", "N"], [ZERO, HALF]),
}
"""Edge of the cubic cell in Å, rows of the primitive cell in units of it, species, fractional coordinates."""


def textbook(name: str) -> Structure:
    """The primitive cell of one of `TEXTBOOK`."""
    edge, rows, species, sites = TEXTBOOK[name]
    return Structure(Lattice(edge * np.array(rows)), species, sites)


def write_data(path: Path, names: list[str], split: str = "test") -> Path:
    """JSON lines of the named crystals; one row of the split `train` that no evaluation may use comes first."""
    lines = []
    for name, where in [("TiN", "train"), *((name, split) for name in names)]:
        structure = textbook(name)
        row = {
            "id": f"{name}-{where}",
            "lattice": structure.lattice.matrix.tolist(),
            "species": [site.specie.symbol for site in structure],
            "frac_coords": structure.frac_coords.tolist(),
            "suggested_split": where,
            "e_above_hull": 0.0,
        }
        lines.append(json.dumps(row) + "\n")
    path.write_text("".join(lines), encoding="utf-8")
    return path
