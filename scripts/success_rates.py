"""Symmetry success rates of one composition: python scripts/success_rates.py ZnP2S6 --out runs/rates.

Runs the pipeline for every seed and force limit, with inpainting by the score model and with random placement in the
same hosts, and prints a table with Wilson intervals (95 %). Finished runs are not done again.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import torch
from scipy.stats import binomtest

from chggen_kit.workflow import RunResult, generate


def share(flags: Sequence[bool]) -> str:
    """Count, total and interval."""
    interval = binomtest(sum(flags), len(flags)).proportion_ci(method="wilson")
    return f"{sum(flags)} of {len(flags)} ({interval.low:.1%} to {interval.high:.1%})"


def row(results: Sequence[RunResult], stage: str, label: str) -> str:
    """One line of the table: structures of `stage` over all `results`."""
    excluded = results[0].config.excluded_groups
    records = [record for result in results for record in result.records if record.stage == stage]
    relaxed = [record for record in records if record.energy_per_atom is not None]
    energies = [record.energy_per_atom for record in relaxed if record.energy_per_atom is not None]
    steps = [record.relax_steps for record in relaxed if record.relax_steps is not None]
    flags = [record.is_symmetric(excluded) for record in records]
    if not records:
        return f"| {label} | none | – | – | – |"
    return f"| {label} | {share(flags)} | {median(energies):.3f} | {min(energies):.3f} | {median(steps):.0f} |"


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("formula")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("-n", type=int, default=24, help="starts of each run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--fmax", type=float, nargs="+", default=[0.1, 0.02])
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # the last bits, and so the hosts, depend on the number of threads
    print("| structures | symmetric (above P-1 at 0.1 Å) | median eV/atom | best eV/atom | median relaxation steps |")
    print("|---|---|---|---|---|")
    for fmax in arguments.fmax:
        results = {
            sampler: [
                generate(
                    arguments.formula,
                    n=arguments.n,
                    seed=seed,
                    fmax=fmax,
                    sampler=sampler,
                    out=arguments.out / f"{sampler}-seed{seed}-fmax{fmax}",
                )
                for seed in arguments.seeds
            ]
            for sampler in ("repaint", "random")
        }
        print(row(results["repaint"], "unconditional", f"unconditional, fmax {fmax}"))
        print(row(results["repaint"], "inpainted", f"inpainted, fmax {fmax}"))
        print(row(results["random"], "inpainted", f"random guests in the same hosts, fmax {fmax}"), flush=True)


if __name__ == "__main__":
    main()
