"""Coordination numbers of elements as cations: python scripts/coordination_statistics.py --data structures.jsonl.gz."""

from __future__ import annotations

import argparse
import gzip
import json
import random
import warnings
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ase.data import atomic_numbers
from pymatgen.analysis.local_env import CrystalNN
from pymatgen.core import Composition, Lattice, Structure
from rich.progress import track

from chggen_kit.io.readers import canonical_formula
from chggen_kit.training.held_out import read_held_out
from chggen_kit.workflow.guests import cations, entropy
from chggen_kit.workflow.volume import anion_class, volume_table

IONIC = ("fluoride", "oxide", "nitride", "halide", "chalcogenide")
"""In silicides, borides and the like metals have a dozen neighbours, as in alloys, which says nothing of ions."""
STRUCTURES = 150
"""Structures sampled for each element and class of anions, one random site of each."""
SEED = 0


def read(path: Path) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Training structures in which an element is a cation, by element and class of anions, one a formula.

    Formulas that are held out from training are left out: a polymorph of a formula that the kit is judged on may well
    be in the training split, and the table decides which element is taken for the guest.
    """
    found: dict[str, dict[str, dict[str, Any]]] = defaultdict(lambda: {kind: {} for kind in IONIC})
    classes = volume_table()["anion_classes"]
    held_out = read_held_out()
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            counts = Counter(record["species"])
            kind = anion_class(counts, classes)
            if record["suggested_split"] != "train" or kind not in IONIC:
                continue
            if canonical_formula({atomic_numbers[symbol]: count for symbol, count in counts.items()}) in held_out:
                continue
            for symbol in cations(Composition(dict(counts))):
                found[symbol][kind].setdefault(record["formula"], record)
    return {
        symbol: {kind: list(records.values()) for kind, records in by_kind.items()}
        for symbol, by_kind in sorted(found.items())
    }


def coordination_numbers(symbol: str, records: Sequence[dict[str, Any]], rng: random.Random) -> Counter[int]:
    """Histogram over one random site of each record: CrystalNN with its defaults.

    Sites bonded to cations are left out: clusters, dimers and metal-rich compounds are not the ions compared here.
    """
    finder = CrystalNN()
    histogram: Counter[int] = Counter()
    for record in records:
        site = rng.choice([index for index, name in enumerate(record["species"]) if name == symbol])
        structure = Structure(Lattice(record["lattice"]), record["species"], record["frac_coords"])
        positive = set(cations(structure.composition))
        try:
            found = finder.get_nn_info(structure, site)
        except (ValueError, RuntimeError):  # no Voronoi cell: an isolated or degenerate site
            continue
        neighbours = [record["species"][neighbour["site_index"]] for neighbour in found]
        if neighbours and positive.isdisjoint(neighbours):
            histogram[len(neighbours)] += 1
    return histogram


def summary(histogram: Counter[int]) -> dict[str, Any]:
    """Number of sites, mean, standard deviation, entropy (nats) and the histogram itself."""
    total = sum(histogram.values())
    mean = sum(number * times for number, times in histogram.items()) / total
    variance = sum((number - mean) ** 2 * times for number, times in histogram.items()) / total
    return {
        "sites": total,
        "mean": round(mean, 3),
        "std": round(variance**0.5, 3),
        "entropy": round(entropy(histogram.values()), 3),
        "histogram": {str(number): histogram[number] for number in sorted(histogram)},
    }


def to_json(elements: dict[str, Any]) -> str:
    """The table, one line for each element."""
    lines = (f"  {json.dumps(symbol)}: {json.dumps(numbers)}" for symbol, numbers in elements.items())
    about = (
        "Coordination numbers of cations bonded to anions only (CrystalNN), over one random site of at most "
        f"{STRUCTURES} training structures of each class of anions ({', '.join(IONIC)}; Materials Project, CC BY 4.0), "
        "by scripts/coordination_statistics.py."
    )
    return f'{{\n "about": {json.dumps(about)},\n "elements": {{\n' + ",\n".join(lines) + "\n }\n}\n"


def main() -> None:
    """Sample, count, write and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="structures.jsonl.gz")
    parser.add_argument("--out", type=Path, default=Path("chggen_kit/data/coordination.json"))
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", module="pymatgen")
    warnings.filterwarnings("ignore", message="No Pauling electronegativity")
    elements: dict[str, Any] = {}
    for symbol, by_kind in track(read(arguments.data).items(), description="elements"):
        histogram: Counter[int] = Counter()
        for kind, records in by_kind.items():
            rng = random.Random(f"{SEED} {symbol} {kind}")  # noqa: S311 - a sample, not a secret
            chosen = rng.sample(records, min(STRUCTURES, len(records)))
            histogram += coordination_numbers(symbol, chosen, rng)
        if histogram:
            elements[symbol] = summary(histogram)
    arguments.out.write_text(to_json(elements), encoding="utf-8")
    for symbol, numbers in elements.items():
        print(symbol, " ".join(f"{name} {numbers[name]}" for name in ("sites", "mean", "std", "entropy")))


if __name__ == "__main__":
    main()
