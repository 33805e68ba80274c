"""Compares a potential with the ASE calculator of its own package, on structures from a file.

    python scripts/measure_potential_agreement.py --data structures.jsonl.gz --potential chgnet \
        --calculator chgnet.model.dynamics:CHGNetCalculator
    python scripts/measure_potential_agreement.py --data structures.jsonl.gz --potential sevennet \
        --option weights=7net-mf-0 --option modality=PBE --calculator sevenn.calculator:SevenNetCalculator \
        --arguments '{"model": "7net-mf-0", "modal": "PBE"}'

Run it in the environment of that package. The structures (20, at most 20 atoms, of the split `test`) are rattled by
0.05 Å and strained by 2 %, since most of them rest in a minimum. It prints the largest differences of total energies
(eV), of energies per atom, of forces (eV/Å) and of stresses (eV/Å^3), the size of what was compared, and the same
for the calculator against itself on the crystals with another origin, which is the rounding of its own arithmetic.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.core import Lattice, Structure
from pymatgen.io.ase import AseAtomsAdaptor

from chggen_kit.io import to_batch, to_structures
from chggen_kit.plugins import get_registry
from chggen_kit.plugins.entry import load_import_string
from chggen_kit.testing.crystals import disturbed

_SHIFT = (0.31, 0.17, 0.23)
"""Of the origin, in fractions of the cell."""


def plain(text: str) -> Any:  # noqa: ANN401 - an option can be anything
    """The value of an option: JSON where it is that, else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def draw(path: Path, elements: frozenset[int], count: int, seed: int) -> list[Structure]:
    """`count` rows of the test split of at most 20 atoms whose elements are all covered."""
    opener = gzip.open if path.suffix == ".gz" else open
    found = []
    with opener(path, "rt", encoding="utf-8") as stream:
        for line in stream:
            row = json.loads(line)
            if row.get("suggested_split", row.get("split")) != "test" or len(row["species"]) > 20:
                continue
            structure = Structure(Lattice(row["lattice"]), row["species"], row["frac_coords"])
            if {site.specie.Z for site in structure} <= elements:
                found.append(structure)
    return random.Random(seed).sample(found, count)  # noqa: S311 - a reproducible choice, no secret


def compare(structures: Sequence[Structure], potential: Any, calculator: Any) -> dict[str, float]:  # noqa: ANN401 - any of the two kinds
    """Largest differences, and largest values."""
    batch = to_batch(structures)
    ours = potential.evaluate(batch)
    worst = dict.fromkeys(
        (
            *("energy", "energy per atom", "force", "stress", "largest force", "largest stress"),
            *("own energy", "own force", "own stress"),
        ),
        0.0,
    )
    for index, structure in enumerate(structures):
        atoms = AseAtomsAdaptor.get_atoms(structure)
        atoms.calc = calculator
        low, high = batch.offsets[index : index + 2].tolist()
        energy = abs(float(ours.energies[index]) - float(atoms.get_potential_energy()))
        forces, stress = atoms.get_forces(), atoms.get_stress(voigt=False)
        found = {
            "energy": energy,
            "energy per atom": energy / len(structure),
            "force": float(np.abs(ours.forces[low:high].numpy() - forces).max()),
            "stress": float(np.abs(ours.stresses[index].numpy() - stress).max()),
            "largest force": float(np.abs(forces).max()),
            "largest stress": float(np.abs(stress).max()),
        }
        before = float(atoms.get_potential_energy())
        atoms.set_scaled_positions(atoms.get_scaled_positions() + _SHIFT)
        found["own energy"] = abs(float(atoms.get_potential_energy()) - before)
        found["own force"] = float(np.abs(atoms.get_forces() - forces).max())
        found["own stress"] = float(np.abs(atoms.get_stress(voigt=False) - stress).max())
        worst = {name: max(worst[name], value) for name, value in found.items()}
    return worst


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--potential", required=True)
    parser.add_argument("--option", action="append", default=[], metavar="OPTION=VALUE", help="of the potential")
    parser.add_argument("--calculator", required=True, metavar="MODULE:CLASS")
    parser.add_argument("--arguments", type=json.loads, default={}, metavar="JSON", help="of the calculator")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    options = {name: plain(value) for name, _, value in (text.partition("=") for text in arguments.option)}
    potential = get_registry().create_potential(arguments.potential, options)
    calculator = load_import_string(arguments.calculator)(**arguments.arguments)  # type: ignore[operator]
    chosen = draw(arguments.data, potential.info.elements, arguments.count, arguments.seed)
    structures = to_structures(disturbed(to_batch(chosen), rattle_A=0.05, strain=0.02, seed=arguments.seed))
    print(f"{potential.info.name}: {len(structures)} structures, {sum(map(len, structures))} atoms")
    for name, value in compare(structures, potential, calculator).items():
        print(f"  {name:16s} {value:.2e}")


if __name__ == "__main__":
    main()
