"""How often do host refiners find symmetry that is there, and symmetry that is not?

    python scripts/projection_tradeoff.py --data structures.jsonl.gz --out runs/tradeoff

Takes known crystals (an equal number of every crystal system, up to `--max-atoms` atoms in the primitive cell) with
Gaussian noise and strain, and random frameworks of 4 to 16 like atoms, at least 1.6 Å apart, in random triclinic and in
cubic cells. A crystal is recovered when the best structure that a refiner returns has every operation of the known
group, to 0.01 Å; a framework is called symmetric when anything above P-1 is returned. Triclinic crystals are looked for
with P-1 allowed. Writes DIR/tradeoff.md and DIR/tradeoff.png: the projection refiner over its threshold `min_evidence`,
over caps on the displacement in its place, and the ladder. Structures that are done are kept in DIR/rows.jsonl.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.core import Lattice, Structure

from chggen_kit.evaluation.bootstrap import share
from chggen_kit.evaluation.rows import read_rows
from chggen_kit.io.readers import StructureRecord
from chggen_kit.metrics.geometry import nearest_images
from chggen_kit.metrics.symmetry import SymmetryFailure, dataset, to_cell
from chggen_kit.refiners.ladder import LadderOptions, LadderRefiner
from chggen_kit.symmetry.options import ProjectionOptions
from chggen_kit.symmetry.projection import Survey
from chggen_kit.symmetry.symmetrise import match_images

SYSTEMS = {"triclinic": 2, "monoclinic": 15, "orthorhombic": 74, "tetragonal": 142, "trigonal": 167, "hexagonal": 194}
SYSTEMS["cubic"] = 230
THRESHOLDS = (0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 16.0, 24.0)
CAPS_A = (0.1, 0.15, 0.2, 0.3, 0.5, 1.0)
SIZES = (4, 6, 8, 12, 16)
NOISES_A = (0.1, 0.2, 0.3, 0.5)
"""Root mean square of the displacement vectors."""
STRAIN = 0.01
DISTANCE_A = 1.6
TOLERANCE_A = 0.01
Row = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One structure to try: a known crystal with the operations that it should get back, or a random framework."""

    key: str
    group: str
    structure: Structure
    reference: Structure | None = None


def system_of(number: int) -> str:
    """Crystal system of a space group."""
    return next(name for name, last in SYSTEMS.items() if number <= last)


def rattled(structure: Structure, noise_A: float, rng: np.random.Generator) -> Structure:
    """`structure` with normal noise of `noise_A` (root mean square of a vector) and of the six strains."""
    bend = rng.normal(0, STRAIN, (3, 3))
    bend = np.eye(3) + (bend + bend.T) / 2
    coords = (structure.cart_coords + rng.normal(0, noise_A / math.sqrt(3), (len(structure), 3))) @ bend
    return Structure(Lattice(structure.lattice.matrix @ bend), structure.species, coords, coords_are_cartesian=True)


def framework(n_atoms: int, volume_A3: float, cubic: bool, rng: np.random.Generator) -> Structure:
    """Random positions of like atoms, `volume_A3` for each, none nearer than 1.6 Å to another."""
    shape = (
        Lattice.cubic(1) if cubic else Lattice.from_parameters(*rng.uniform(0.75, 1.25, 3), *rng.uniform(75, 105, 3))
    )
    cell = shape.scale(volume_A3 * n_atoms)
    coords: list[np.ndarray] = []
    while len(coords) < n_atoms:
        trial = rng.random(3)
        if all(cell.get_distance_and_image(trial, other)[0] >= DISTANCE_A for other in coords):
            coords.append(trial)
    return Structure(cell, ["Si"] * n_atoms, coords)


def references(records: Sequence[StructureRecord], number: int, seed: int) -> Iterator[tuple[str, str, Structure]]:
    """Identifier, crystal system and structure of `number` crystals, as many of each system, none of them P1."""
    rng = np.random.default_rng(seed)
    wanted = {name: number // len(SYSTEMS) + (k < number % len(SYSTEMS)) for k, name in enumerate(SYSTEMS)}
    for index in rng.permutation(len(records)):
        if not any(wanted.values()):
            return
        record = records[index]
        structure = Structure(Lattice(record.lattice), record.species, record.frac_coords)
        found = dataset(structure, TOLERANCE_A, 1.0)
        if isinstance(found, SymmetryFailure) or found.number == 1 or not wanted[system_of(found.number)]:
            continue
        wanted[system_of(found.number)] -= 1
        yield record.id, system_of(found.number), structure


def cases(records: Sequence[StructureRecord], known: int, random: int, volume_A3: float, seed: int) -> Iterator[Case]:
    """All structures, each from a seed of its own."""
    for position, (name, system, structure) in enumerate(references(records, known, seed)):
        for noise in NOISES_A:
            rng = np.random.default_rng([seed, position, round(1000 * noise)])
            yield Case(f"{name} {noise}", f"{noise}|{system}", rattled(structure, noise, rng), structure)
    for cubic in (False, True):
        for size in SIZES:
            for number in range(random):
                rng = np.random.default_rng([seed, int(cubic), size, number])
                label = f"{'cubic' if cubic else 'random'}|{size}"
                yield Case(f"{label} {number}", label, framework(size, volume_A3, cubic, rng))


def contains(result: Structure, reference: Structure) -> bool:
    """Whether every operation of `reference` maps `result`, in the same cell and atom order, onto itself to 0.01 Å."""
    operations = dataset(reference, TOLERANCE_A, 1.0)
    lattice, frac, numbers = to_cell(result)
    metric = lattice @ lattice.T
    orders = match_images(frac, lattice, numbers, operations.rotations, operations.translations)
    for rotation, shift, order in zip(operations.rotations, operations.translations, orders, strict=True):
        if np.abs(np.sqrt(np.diag(rotation.T @ metric @ rotation)) - np.sqrt(np.diag(metric))).max() > TOLERANCE_A:
            return False
        offsets = nearest_images(frac[order] - frac @ rotation.T - shift, lattice)
        offsets = nearest_images(offsets - offsets.mean(axis=0), lattice)
        if np.linalg.norm(offsets @ lattice, axis=1).max() > TOLERANCE_A:
            return False
    return True


def settings(excluded: frozenset[int]) -> dict[str, ProjectionOptions]:
    """The projection refiner's options that are compared."""
    default = ProjectionOptions(excluded_groups=excluded)
    chosen = {f"evidence {value:g}": default.model_copy(update={"min_evidence": value}) for value in THRESHOLDS}
    for cap in CAPS_A:
        chosen[f"cap {cap:g} Å"] = default.model_copy(update={"min_evidence": None, "max_displacement_A": cap})
    return chosen


def try_case(case: Case) -> Row:
    """What every refiner makes of one structure: 1 where it is recovered (known) or called symmetric (random)."""
    triclinic = case.group.endswith("triclinic")
    excluded = frozenset({1}) if triclinic else frozenset({1, 2})
    default = ProjectionOptions()
    survey = Survey(case.structure, max_strain=default.max_strain, max_rms_A=default.max_rms_displacement_A)
    outcomes: dict[str, str] = {}
    judged: dict[bytes, str] = {}
    for label, options in settings(excluded).items():
        best = survey.best(options)
        outcomes[label] = _judge(best[0].structure, case, judged) if best else "none"
    ladders = {"ladder": LadderOptions(excluded_groups=excluded)}
    ladders["ladder 0.3 Å"] = LadderOptions(excluded_groups=excluded, max_displacement_A=0.3)
    for label, ladder in ladders.items():
        outcomes[label] = _ladder_outcome(case, ladder)
    return {"key": case.key, "group": case.group, "outcomes": outcomes}


def _judge(result: Structure, case: Case, judged: dict[bytes, str]) -> str:
    if case.reference is None:
        return "symmetric"
    token = result.frac_coords.tobytes() + result.lattice.matrix.tobytes()
    if token not in judged:
        judged[token] = "recovered" if contains(result, case.reference) else "other"
        if judged[token] == "recovered":
            found, known = dataset(result, TOLERANCE_A, 1.0), dataset(case.reference, TOLERANCE_A, 1.0)
            judged[token] = "recovered" if found.number == known.number else "more"
    return judged[token]


def _ladder_outcome(case: Case, options: LadderOptions) -> str:
    """As `_judge`; hosts in a smaller cell are compared by the number of the group, in the ladder's favour."""
    found = LadderRefiner(options).refine_structure(case.structure)
    if not found or case.reference is None:
        return "symmetric" if found else "none"
    if len(found[0].host) == len(case.structure):
        return _judge(found[0].host, case, {})
    known = dataset(case.reference, TOLERANCE_A, 1.0)
    if found[0].spacegroup_number == known.number:
        return "recovered"
    return "more" if found[0].spacegroup_number > known.number else "other"


def estimate(rows: Sequence[Row], label: str, outcomes: frozenset[str]) -> str:
    """Share of rows with one of `outcomes`, in percent, with its 95 % interval."""
    if not rows:
        return "–"
    return share([row["outcomes"][label] in outcomes for row in rows]).percent()


RECOVERED, SYMMETRIC = frozenset({"recovered", "more"}), frozenset({"symmetric"})


def tables(rows: Sequence[Row]) -> str:
    """Markdown tables of all rates."""
    by_group: Mapping[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_group[row["group"]].append(row)

    def noise(value: float) -> list[Row]:
        return [row for group, members in by_group.items() if group.startswith(f"{value}|") for row in members]

    labels = list(rows[0]["outcomes"])
    lines = ["Recovered, by noise (root mean square of a vector, Å), and more than the known group at 0.1 Å.", ""]
    lines += ["| criterion | " + " | ".join(f"{value:g} Å" for value in NOISES_A) + " | more |"]
    lines += ["|---" * (len(NOISES_A) + 2) + "|"]
    for label in labels:
        cells = [estimate(noise(value), label, RECOVERED) for value in NOISES_A]
        cells.append(estimate(noise(NOISES_A[0]), label, frozenset({"more"})))
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    for cell in ("random", "cubic"):
        lines += ["", f"Called symmetric, random frameworks in {cell} cells, by number of atoms.", ""]
        lines += ["| criterion | " + " | ".join(map(str, SIZES)) + " |", "|---" * (len(SIZES) + 1) + "|"]
        for label in labels:
            cells = [estimate(by_group[f"{cell}|{size}"], label, SYMMETRIC) for size in SIZES]
            lines.append(f"| {label} | " + " | ".join(cells) + " |")
    default = f"evidence {ProjectionOptions().min_evidence:g}"
    lines += ["", f"Recovered at 0.1 Å by crystal system ({default}; ladder).", ""]
    lines += ["| criterion | " + " | ".join(SYSTEMS) + " |", "|---" * (len(SYSTEMS) + 1) + "|"]
    for label in (default, "ladder"):
        cells = [estimate(by_group[f"{NOISES_A[0]}|{name}"], label, RECOVERED) for name in SYSTEMS]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def figure(rows: Sequence[Row], path: Path) -> None:
    """Recovery at 0.1 and 0.3 Å against the rate on frameworks of 8, 12 and 16 atoms."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    def rate(group: tuple[str, ...], label: str, outcomes: frozenset[str]) -> float:
        chosen = [row for row in rows if row["group"].startswith(group)]
        return 100 * sum(row["outcomes"][label] in outcomes for row in chosen) / max(1, len(chosen))

    noises, cells = (0.1, 0.3), ("random", "cubic")
    plot, axes = plt.subplots(len(noises), len(cells), figsize=(9, 7), sharex="col", sharey=True)
    for (row, noise), (column, cell) in product(enumerate(noises), enumerate(cells)):
        axis = axes[row, column]
        sizes = tuple(f"{cell}|{size}" for size in (8, 12, 16))
        for kind, style in (("evidence", "o-"), ("cap", "s--"), ("ladder", "^")):
            labels = [label for label in rows[0]["outcomes"] if label.startswith(kind)]
            x = [rate(sizes, label, SYMMETRIC) for label in labels]
            y = [rate((f"{noise}|",), label, RECOVERED) for label in labels]
            axis.plot(x, y, style, label=kind)
            for label, left, low in zip(labels, x, y, strict=True):
                axis.annotate(label.removeprefix(kind).strip(), (left, low), fontsize=7)
        axis.axvline(5, color="grey", lw=0.5)
        axis.axhline(95, color="grey", lw=0.5)
        axis.set_ylabel(f"known crystals recovered (%)\nnoise {noise:g} Å")
        axis.set_xlabel(f"random frameworks in {cell} cells\ncalled symmetric (%)")
    axes[0, 0].legend()
    plot.tight_layout()
    plot.savefig(path, dpi=150)


def main() -> None:
    """Try every structure that is not done, and write the table and the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--known", type=int, default=200, help="known crystals")
    parser.add_argument("--random", type=int, default=200, help="random frameworks of each size and kind of cell")
    parser.add_argument("--volume", type=float, default=18.0, help="of the frameworks, in Å^3 an atom")
    parser.add_argument("--max-atoms", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    store = arguments.out / "rows.jsonl"
    rows = [json.loads(line) for line in store.read_text("utf-8").splitlines()] if store.exists() else []
    done = {row["key"] for row in rows}
    records = [record for record in read_rows(arguments.data, arguments.split) if record.n_atoms <= arguments.max_atoms]
    tried = cases(records, arguments.known, arguments.random, arguments.volume, arguments.seed)
    with store.open("a", encoding="utf-8") as stream:
        for case in tried:
            if case.key in done:
                continue
            rows.append(try_case(case))
            stream.write(json.dumps(rows[-1]) + "\n")
            stream.flush()
    text = tables(rows)
    (arguments.out / "tradeoff.md").write_text(text, encoding="utf-8")
    figure(rows, arguments.out / "tradeoff.png")
    print(text)


if __name__ == "__main__":
    main()
