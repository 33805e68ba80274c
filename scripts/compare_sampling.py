"""Compare sampler options: how often does inpainting put removed guests back, before any relaxation?

    python scripts/compare_sampling.py --data structures.jsonl.gz "steps=60" "steps=120 corrector_steps=0" random

With `--everything` no atom is known: unconditional sampling in the known cell (`predictor-corrector`).

Takes compounds of the validation split (`--split`) that hold a guest species, removes the guests and lets every set of
options put them back (RePaint, or `random` or `voronoi` for a baseline). Prints, for each set, the network calls and
seconds a sample and the share of samples that match the known structure (pymatgen's StructureMatcher with its defaults)
as generated.

`chggen evaluate --only recovery --no-relax` measures one set, on compounds chosen without regard to the guest species.
"""

from __future__ import annotations

import argparse
import random
import time
import warnings
from pathlib import Path

import torch
from pymatgen.core import Element
from rich.console import Console
from rich.table import Table

from chggen_kit.cli._shared import parse_assignments
from chggen_kit.evaluation.compounds import GUESTS, Compound, refilling
from chggen_kit.evaluation.matching import Matcher
from chggen_kit.evaluation.rows import to_structure
from chggen_kit.interfaces import SamplingTask
from chggen_kit.io import to_structures
from chggen_kit.io.readers import read_structures
from chggen_kit.plugins import get_registry
from chggen_kit.state import CrystalBatch, Known

BASELINES = ("random", "voronoi")


def compounds(path: Path, split: str, count: int, max_atoms: int, seed: int) -> list[Compound]:
    """Random compounds of one split with at least three host atoms, the guest species taken from `GUESTS` in turn."""
    pool: dict[str, list[Compound]] = {symbol: [] for symbol in GUESTS}
    for record in read_structures(path):
        if record.metadata.get("suggested_split") != split or record.n_atoms > max_atoms:
            continue
        symbols = [Element.from_Z(int(z)).symbol for z in record.species]
        for symbol in GUESTS:
            if 1 <= symbols.count(symbol) <= len(symbols) - 3:
                pool[symbol].append(Compound(record.id, record.formula, to_structure(record), symbol))
    rng = random.Random(seed)  # noqa: S311 - nothing secret
    chosen: list[Compound] = []
    while len(chosen) < count and any(pool.values()):
        for symbol in GUESTS:
            if pool[symbol] and len(chosen) < count:
                chosen.append(pool[symbol].pop(rng.randrange(len(pool[symbol]))))
    return chosen


def task(chosen: list[Compound], copies: int, *, everything: bool) -> SamplingTask:
    """Every compound `copies` times, its guests unknown, or all of its atoms."""
    work = refilling(chosen, copies)
    if not everything:
        return work
    batch = work.templates
    templates = CrystalBatch(torch.zeros_like(batch.frac_coords), batch.lattice, batch.species, batch.num_atoms)
    return SamplingTask(templates, Known.coordinates_only(templates))


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="val", help="choose on val; measure what was chosen once on test")
    parser.add_argument("--compounds", type=int, default=30)
    parser.add_argument("--copies", type=int, default=4)
    parser.add_argument("--max-atoms", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--everything", action="store_true")
    parser.add_argument(
        "options", nargs="+", help="a set of RePaint options, as `name=value name=value`, or a baseline"
    )
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", module="pymatgen")
    registry = get_registry()
    model = registry.create_score_model(
        "nequip", {} if arguments.checkpoint is None else {"checkpoint": arguments.checkpoint}
    )
    chosen = compounds(arguments.data, arguments.split, arguments.compounds, arguments.max_atoms, arguments.seed)
    work = task(chosen, arguments.copies, everything=arguments.everything)
    name = "predictor-corrector" if arguments.everything else "repaint"
    matcher = Matcher()
    table = Table("options", "calls", "s/sample", "matches", "compounds with a match")
    for text in arguments.options:
        if text in BASELINES:
            sampler = registry.create_sampler(text, {})
        else:
            sampler = registry.create_sampler(name, parse_assignments(text.split()))
        began = time.perf_counter()
        result = sampler.sample(model if sampler.needs_model else None, work, seed=arguments.seed)
        seconds = (time.perf_counter() - began) / work.templates.n_crystals
        hits = [
            matcher.fits(chosen[i // arguments.copies].structure, structure)
            for i, structure in enumerate(to_structures(result.crystals))
        ]
        found = {i // arguments.copies for i, hit in enumerate(hits) if hit}
        table.add_row(
            text,
            str(result.network_calls),
            f"{seconds:.2f}",
            f"{sum(hits)}/{len(hits)} = {sum(hits) / len(hits):.0%}",
            f"{len(found)}/{len(chosen)}",
        )
        Console().print(f"{text}: {sum(hits)}/{len(hits)}")
    Console().print(table)


if __name__ == "__main__":
    main()
