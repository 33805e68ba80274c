"""Space groups by chemical family, and sites by element, of training crystals: the prior of symmetric starts.

    python scripts/symmetry_statistics.py --data structures.jsonl.gz

Formulas that are held out from training are left out, whatever their split.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from ase.data import atomic_numbers
from pymatgen.core import Lattice, Structure
from rich.progress import track

from chggen_kit.io.readers import canonical_formula
from chggen_kit.metrics.families import FAMILIES, family
from chggen_kit.metrics.symmetry import SymmetryFailure, dataset
from chggen_kit.symmetry.prior import FREEDOMS
from chggen_kit.training.held_out import read_held_out

SYMPREC_A, ANGLE_DEG = 0.01, 5.0


def freedoms(structure: Structure, rotations: np.ndarray, translations: np.ndarray) -> list[int]:
    """Free coordinates of each atom's site: the rank of the mean over the rotations that leave it in place."""
    result = []
    for frac in structure.frac_coords:
        away = rotations @ frac + translations - frac
        stays = np.abs(away - np.round(away)).max(axis=1) < 2e-3
        result.append(round(float(np.trace(rotations[stays].mean(axis=0)))))
    return result


def main() -> None:
    """Count and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="structures.jsonl.gz")
    parser.add_argument("--out", type=Path, default=Path("chggen_kit/data/symmetry_prior.json"))
    arguments = parser.parse_args()
    held_out = read_held_out()
    groups: dict[str, Counter[int]] = {name: Counter() for name in FAMILIES}
    sites: dict[str, list[int]] = defaultdict(lambda: [0] * FREEDOMS)
    with gzip.open(arguments.data, "rt", encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    for record in track(records, description="crystals"):
        counts = Counter(record["species"])
        formula = canonical_formula({atomic_numbers[symbol]: count for symbol, count in counts.items()})
        if record["suggested_split"] != "train" or formula in held_out:
            continue
        structure = Structure(Lattice(record["lattice"]), record["species"], record["frac_coords"])
        found = dataset(structure, SYMPREC_A, ANGLE_DEG)
        if isinstance(found, SymmetryFailure):
            continue
        groups[family(counts)][int(found.number)] += 1
        # One atom of each orbit: a crystal counts once for each of its sites, not for each atom.
        _, first = np.unique(found.crystallographic_orbits, return_index=True)
        rotations, translations = found.rotations.astype(float), found.translations
        for index in first:
            site = Structure(structure.lattice, [record["species"][index]], [record["frac_coords"][index]])
            sites[record["species"][index]][freedoms(site, rotations, translations)[0]] += 1
    table = {
        "about": "Training crystals by chemical family and space group number (spglib, 0.01 Å), and their orbits by "
        "element and number of free coordinates (0 to 3); Materials Project, CC BY 4.0; by "
        "scripts/symmetry_statistics.py.",
        "groups": {name: {str(number): count for number, count in sorted(groups[name].items())} for name in FAMILIES},
        "sites": dict(sorted(sites.items())),
    }
    arguments.out.write_text(
        json.dumps(table, separators=(",", ":")).replace("},", "},\n").replace("],", "],\n") + "\n"
    )
    print({name: sum(counter.values()) for name, counter in groups.items()})


if __name__ == "__main__":
    main()
