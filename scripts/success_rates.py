"""Symmetry success rates of one composition: python scripts/success_rates.py ZnP2S6 --out runs/rates.

Runs the pipeline with one backend (`--backend diffcsp`) for every seed and force limit, with inpainting by the score
model and with random placement in the same hosts, and prints a table with 95 % intervals (Wilson, a start counting as
one draw). Finished runs are kept.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Sequence
from math import sqrt
from pathlib import Path
from statistics import median

import torch
from pymatgen.core import Structure

from chggen_kit.metrics.symmetry import SpaceGroup, is_symmetric, space_group
from chggen_kit.workflow import RunResult, generate


def interval(rate: float, starts: int) -> str:
    """Wilson's 95 % interval with every start taken as one draw: structures drawn into one host are not independent."""
    z = 1.96
    centre = rate + z * z / (2 * starts)
    spread = z * sqrt(rate * (1 - rate) / starts + z * z / (4 * starts * starts))
    low, high = ((centre + sign * spread) / (1 + z * z / starts) for sign in (-1, 1))
    return f"{max(low, 0):.1%} to {high:.1%}"


def row(results: Sequence[RunResult], stage: str, label: str) -> str:
    """One line of the table: structures of `stage` over all `results`."""
    by_start: dict[tuple[int, int], list[bool]] = defaultdict(list)
    energies: list[float] = []
    steps: list[int] = []
    for number, result in enumerate(results):
        for record in result.records:
            if record.stage != stage:
                continue
            by_start[number, record.start].append(record.is_symmetric(result.config.excluded_groups))
            if record.energy_per_atom is not None and record.relax_steps is not None:
                energies.append(record.energy_per_atom)
                steps.append(record.relax_steps)
    if not energies:
        return f"| {label} | none relaxed | – | – | – |"
    counts = [(sum(flags), len(flags)) for flags in by_start.values()]
    symmetric, total = sum(c[0] for c in counts), sum(c[1] for c in counts)
    shares = f"{symmetric} of {total} ({interval(symmetric / total, len(counts))})"
    return f"| {label} | {shares} | {median(energies):.3f} | {min(energies):.3f} | {median(steps):.0f} |"


def fate(results: Sequence[RunResult]) -> str:
    """Where the symmetry goes: inpainted structures, and their hosts alone, above P-1 as generated and as relaxed."""
    counts: Counter[str] = Counter()
    total = 0
    for result in results:
        for record in result.records:
            if record.stage != "inpainted" or record.generated is None or record.relaxed is None:
                continue
            total += 1
            for state, data in (("as generated", record.generated), ("relaxed", record.relaxed)):
                whole = data.structure()
                host = Structure.from_sites(whole.sites[: record.host_atoms])
                for part, structure in (("whole", whole), ("host alone", host)):
                    group = space_group(structure)
                    if isinstance(group, SpaceGroup) and is_symmetric(group.number, result.config.excluded_groups):
                        counts[f"{part}, {state}"] += 1
    keys = [f"{part}, {state}" for state in ("as generated", "relaxed") for part in ("whole", "host alone")]
    return "; ".join(f"{key}: {counts[key]} of {total}" for key in keys)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("formula")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--backend", default="nequip")
    parser.add_argument("--checkpoint", type=Path, default=None, help="default: the one that the backend ships")
    parser.add_argument("-n", type=int, default=24, help="starts of each run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--fmax", type=float, nargs="+", default=[0.1, 0.02])
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # the last bits, and so the hosts, depend on the number of threads
    print("| structures | symmetric (above P-1 at 0.1 Å) | median eV/atom | best eV/atom | median relaxation steps |")
    print("|---|---|---|---|---|")
    fates = []
    for fmax in arguments.fmax:
        results = {
            sampler: [
                generate(
                    arguments.formula,
                    n=arguments.n,
                    seed=seed,
                    fmax=fmax,
                    sampler=sampler,
                    backend=arguments.backend,
                    checkpoint=arguments.checkpoint,
                    out=arguments.out / f"{sampler}-seed{seed}-fmax{fmax}",
                )
                for seed in arguments.seeds
            ]
            for sampler in ("repaint", "random")
        }
        print(row(results["repaint"], "unconditional", f"unconditional, fmax {fmax}"))
        print(row(results["repaint"], "inpainted", f"inpainted, fmax {fmax}"))
        print(row(results["random"], "inpainted", f"random guests in the same hosts, fmax {fmax}"), flush=True)
        fates += [f"{sampler}, fmax {fmax}: {fate(results[sampler])}" for sampler in results]
    print("\nAbove P-1 at 0.1 Å:", *fates, sep="\n")


if __name__ == "__main__":
    main()
