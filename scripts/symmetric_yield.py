"""Which method finds symmetric structures of low energy, at equal CPU time.

    python scripts/symmetric_yield.py --out runs/yield [--systems ZnP2S6 Li5Si2] [--seconds 30] [--seeds 0 1 2]

For each system and method a first run (seed 100) tells what a start costs; each seed then gets as many starts as fit
into `--seconds` of CPU time. Every symmetric structure is rattled by 0.03 Å and relaxed without constraint before it
counts. One thread; finished runs are kept, so the same command goes on. Prints one line for each system and method.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pymatgen.analysis.structure_matcher import StructureMatcher

from chggen_kit.workflow import RunResult, generate

SYSTEMS = ("ZnP2S6", "Zn2P2S7", "Li5Si2", "Li2Si", "Li13Si4")
ALONE: Mapping[str, Any] = {"guests": (), "inpaintings": 0, "rattle": True}
METHODS: Mapping[str, Mapping[str, Any]] = {
    "unconditional": ALONE,
    "paper (ladder, RePaint)": {"rattle": True},
    "projection, RePaint": {"rattle": True, "refiner": "projection"},
    "anneal": {"workflow": "anneal"},
    "anneal from random": {"workflow": "anneal", "unconditional_sampler": "random"},
    "anneal from Wyckoff positions": {"workflow": "anneal", "symmetry": "wyckoff"},
    "random-symmetric, relaxed": {**ALONE, "unconditional_sampler": "random-symmetric"},
    "random, relaxed": {**ALONE, "unconditional_sampler": "random"},
    "Wyckoff positions, drawn": {**ALONE, "symmetry": "wyckoff"},
    "Wyckoff positions, random": {
        **ALONE,
        "unconditional_sampler": {"name": "random-symmetric", "options": {"prior": "chemistry"}},
    },
}
CALIBRATION_SEED, CALIBRATION_STARTS = 100, 12
LOADING_S = 2.0
"""CPU time of a run before its first start."""
LOW = 0.1
"""eV/atom."""


def measured(formula: str, out: Path, n: int, seed: int, backend: str, settings: Mapping[str, Any]) -> RunResult:
    """A run and, in a file beside it, the CPU time that it took."""
    begun = time.process_time()
    clock = out.with_suffix(".cpu.json")
    result = generate(
        formula, out=out, n=n, seed=seed, backend=backend, threads=1, null_rates=0, max_steps=300, **settings
    )
    if not clock.exists():
        clock.write_text(json.dumps({"n": n, "cpu_s": time.process_time() - begun}))
    return result


def starts_for(formula: str, folder: Path, backend: str, seconds: float, settings: Mapping[str, Any]) -> int:
    """Starts that fit into the budget, from what a first run cost."""
    clock = folder / "calibration.cpu.json"
    if not clock.exists():
        measured(formula, folder / "calibration", CALIBRATION_STARTS, CALIBRATION_SEED, backend, settings)
    each = (json.loads(clock.read_text())["cpu_s"] - LOADING_S) / CALIBRATION_STARTS
    return max(2, round((seconds - LOADING_S) / max(each, 0.01)))


def tally(results: Sequence[RunResult], cpu_s: float) -> str:
    """The cells of one row."""
    matcher = StructureMatcher(scale=False)
    starts = kept = tight = low = 0
    energies: list[tuple[float, float, str]] = []
    best_by_seed: list[str] = []
    distinct: list[Any] = []
    for result in results:
        excluded = result.config.excluded_groups
        placed = {name: one.decomposition_energy for name, one in result.stability.placements.items()}
        starts += sum(record.stage == "unconditional" for record in result.records)
        stable = [
            one for one in result.records if one.tight_spacegroup_number is not None and one.is_symmetric(excluded)
        ]
        kept += len({one.start for one in stable})
        tight += len({one.start for one in stable if one.tight_spacegroup_number not in excluded})
        below = [one for one in stable if placed.get(one.id, LOW) < LOW]
        low += len({one.start for one in below})
        found = [
            (placed[one.id], one.energy_per_atom or 0.0, one.spacegroup_symbol or "")
            for one in stable
            if one.id in placed
        ]
        energies += found
        best = min(found, default=None)
        best_by_seed.append("–" if best is None else f"{best[0]:.3f} {best[2]} ({best[1]:.3f})")
        for one in sorted(below, key=lambda record: placed[record.id]):
            structure = one.relaxed.structure() if one.relaxed else None
            if structure is not None and not any(matcher.fit(structure, other) for other in distinct):
                distinct.append(structure)
    median = "–" if not energies else f"{statistics.median(energy for energy, _, _ in energies):.3f}"
    return (
        f"{kept} of {starts} ({100 * kept / starts:.0f} %) | {tight} | {low} ({100 * low / starts:.0f} %) | "
        f"{len(distinct)} | {median} | {'; '.join(best_by_seed)} | {cpu_s / 60:.1f}"
    )


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--systems", nargs="+", default=list(SYSTEMS))
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--seconds", type=float, default=30.0, help="CPU seconds of each run")
    parser.add_argument("--backend", default="nequip")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(
        "| system, method | symmetric starts | at 0.01 Å | and E_d < 0.1 eV/atom | distinct of these | median E_d | "
        "best E_d, group (eV/atom), by seed | CPU min |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for formula in arguments.systems:
        for method in arguments.methods:
            settings = METHODS[method]
            folder = arguments.out / arguments.backend / formula / "".join(filter(str.isalnum, method))
            n = starts_for(formula, folder, arguments.backend, arguments.seconds, settings)
            results = [
                measured(formula, folder / f"seed{seed}", n, seed, arguments.backend, settings)
                for seed in arguments.seeds
            ]
            cpu_s = sum(json.loads((folder / f"seed{seed}.cpu.json").read_text())["cpu_s"] for seed in arguments.seeds)
            print(f"| {formula}, {method} | {tally(results, cpu_s)} |", flush=True)


if __name__ == "__main__":
    main()
