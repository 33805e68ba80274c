"""Small data files of textbook crystals for the evaluations."""

from __future__ import annotations

import json
from pathlib import Path

from pymatgen.core import Lattice, Structure

ZERO, QUARTER, HALF = [0.0] * 3, [0.25] * 3, [0.5] * 3
TEXTBOOK = {
    "LiF": ("Fm-3m", 4.03, ["Li", "F"], [ZERO, HALF]),
    "MgO": ("Fm-3m", 4.21, ["Mg", "O"], [ZERO, HALF]),
    "CaF2": ("Fm-3m", 5.46, ["Ca", "F"], [ZERO, QUARTER]),
    "ZnS": ("F-43m", 5.41, ["Zn", "S"], [ZERO, QUARTER]),
    "KMgF3": ("Pm-3m", 3.99, ["K", "Mg", "F"], [ZERO, HALF, [0.5, 0.5, 0.0]]),
    "Cu": ("Fm-3m", 3.61, ["Cu"], [ZERO]),
    "TiN": ("Fm-3m", 4.24, ["Ti", "N"], [ZERO, HALF]),
}


def textbook(name: str) -> Structure:
    """The primitive cell of one of `TEXTBOOK`."""
    group, edge, species, sites = TEXTBOOK[name]
    return Structure.from_spacegroup(group, Lattice.cubic(edge), species, sites).get_primitive_structure()


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
