"""Fit the table of elemental volumes: python scripts/fit_volumes.py --data structures.jsonl.gz."""

from __future__ import annotations

import argparse
import gzip
import json
import math
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Composition
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import lsqr

from chggen_kit.workflow.volume import anion_class, volume_from_table

ANION_CLASSES = {
    "F": "fluoride",
    "O": "oxide",
    "N": "nitride",
    **dict.fromkeys(["Cl", "Br", "I"], "halide"),
    **dict.fromkeys(["S", "Se", "Te"], "chalcogenide"),
    **dict.fromkeys(["H", "B", "C", "Si", "P", "As", "Sb"], "covalent"),
}
TARGETS = ("Li5Si2", "Li2Si", "Li4Si", "Li13Si4", "ZnP2S6", "Zn2P2S7")
"""Compositions that the kit is judged on: left out of the fit, as are all formulas of the val and test splits."""
MIN_STRUCTURES = 3
RIDGE = 0.01
SMALL_ERROR = 0.02
ROUNDS = 5


@dataclass(frozen=True)
class Row:
    """One structure: atoms by symbol, volume per atom in Å^3, split, reduced formula, eV/atom above the hull."""

    counts: Counter[str]
    volume_A3: float
    split: str
    formula: str
    above_hull: float


def read(path: Path) -> Iterator[Row]:
    """Rows of a gzip'd JSON-lines file of structures."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            counts = Counter(record["species"])
            volume = abs(float(np.linalg.det(np.array(record["lattice"])))) / len(record["species"])
            above_hull = record.get("e_above_hull")
            yield Row(
                counts,
                volume,
                record["suggested_split"],
                Composition(dict(counts)).reduced_formula,
                math.inf if above_hull is None else float(above_hull),
            )


def ground_states(rows: Sequence[Row]) -> list[Row]:
    """The row of lowest energy of each formula: the fit shall not follow high-pressure and cage polymorphs."""
    best: dict[str, Row] = {}
    for row in rows:
        if row.formula not in best or row.above_hull < best[row.formula].above_hull:
            best[row.formula] = row
    return list(best.values())


def features(row: Row) -> dict[tuple[str, ...], float]:
    """Atomic fractions, for each element and for each element in the row's anion class."""
    total = sum(row.counts.values())
    kind = anion_class(row.counts, ANION_CLASSES)
    shares = {symbol: count / total for symbol, count in row.counts.items()}
    return {(s,): x for s, x in shares.items()} | {(s, kind): x for s, x in shares.items()}


def fit(rows: Sequence[Row]) -> dict[str, Any]:
    """Ridge regression of the volume on the atomic fractions, for the least mean relative error.

    Absolute relative errors are minimised by iteratively reweighted least squares: weight 1 / (V sqrt(error)).
    """
    names: dict[tuple[str, ...], int] = {}
    entries: list[tuple[int, int, float]] = []
    for index, row in enumerate(rows):
        entries += [(index, names.setdefault(name, len(names)), share) for name, share in features(row).items()]
    i, j, values = zip(*entries, strict=True)
    design = csr_matrix((values, (i, j)), shape=(len(rows), len(names)))
    volume = np.array([row.volume_A3 for row in rows])
    error = np.ones(len(rows))
    solution: NDArray[np.float64] = np.zeros(len(names))
    for _ in range(ROUNDS):
        weight = 1 / (volume * np.sqrt(np.maximum(error, SMALL_ERROR)))
        solution = lsqr(design.multiply(weight[:, None]).tocsr(), volume * weight, damp=RIDGE, iter_lim=5000)[0]
        error = np.abs(design @ solution / volume - 1)
    volumes: dict[str, float] = {}
    corrections: dict[str, dict[str, float]] = {}
    for name in sorted(names):
        value = round(float(solution[names[name]]), 3)
        if len(name) == 1:
            volumes[name[0]] = value
        else:
            corrections.setdefault(name[0], {})[name[1]] = value
    return {"anion_classes": ANION_CLASSES, "volumes": volumes, "corrections": corrections}


def score(rows: Sequence[Row], table: dict[str, Any]) -> dict[str, float]:
    """Mean and median relative errors of the table on the rows whose elements it covers."""
    errors = [
        abs(volume_from_table(row.counts, table) / row.volume_A3 - 1)
        for row in rows
        if all(symbol in table["volumes"] for symbol in row.counts)
    ]
    return {
        "structures": len(errors),
        "mean_relative_error": round(float(np.mean(errors)), 4),
        "median_relative_error": round(float(np.median(errors)), 4),
    }


def main() -> None:
    """Fit, score, write and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="structures.jsonl.gz")
    parser.add_argument("--out", type=Path, default=Path("chggen_kit/data/atomic_volumes.json"))
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", message="No Pauling electronegativity")
    rows = list(read(arguments.data))
    held_out = {row.formula for row in rows if row.split != "train"} | {
        Composition(formula).reduced_formula for formula in TARGETS
    }
    train = ground_states([row for row in rows if row.formula not in held_out])
    seen = Counter(symbol for row in train for symbol in row.counts)
    train = [row for row in train if all(seen[symbol] >= MIN_STRUCTURES for symbol in row.counts)]
    table = fit(train)
    scores = {
        "train": score(train, table),
        **{split: score([row for row in rows if row.split == split], table) for split in ("val", "test")},
    }
    table = {
        "about": "Volume per atom in A^3: sum_i x_i (volumes[i] + corrections[i][class]); class = that of the most "
        "electronegative element. Fitted on Materials Project structures (CC BY 4.0) by scripts/fit_volumes.py.",
        "fit": {"left_out": [*TARGETS, "all formulas of the val and test splits"], "ridge": RIDGE, **scores},
        **table,
    }
    arguments.out.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    for split, numbers in scores.items():
        print(split, " ".join(f"{name} {value}" for name, value in numbers.items()))
    print("elements", len(table["volumes"]), "in", arguments.out)


if __name__ == "__main__":
    main()
