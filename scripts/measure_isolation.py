"""What it costs to run a score model in another process: CPU-seconds of the same samples, here and isolated.

Each pair draws the same crystals twice, in turns first here and first there, with this interpreter as the other
environment. Counted is the CPU time of this process and of the worker, both with all their threads; starting the
worker and loading the model is told apart. The samples of a pair must be equal bit for bit.

    python scripts/measure_isolation.py --pairs 30
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from chggen_kit.errors import InputError
from chggen_kit.interfaces import SamplingTask, ScoreModel
from chggen_kit.plugins import get_registry
from chggen_kit.state import CrystalBatch, Known
from chggen_kit.testing.crystals import perovskite

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """CPU time of a process and its ended children so far, in seconds (Linux)."""
    # The name, in brackets, may hold blanks: the fields are counted from behind it.
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / _TICKS


def draw(model: ScoreModel, crystals: int, steps: int) -> CrystalBatch:
    """`crystals` of five atoms in `steps` steps with a corrector call each."""
    batch = perovskite(38, 22, 8, 3.91).select([0] * crystals)
    sampler = get_registry().create_sampler("predictor-corrector", {"steps": steps, "corrector_steps": 1})
    return sampler.sample(model, SamplingTask(batch, Known.coordinates_only(batch)), seed=0).crystals


def measure(model: ScoreModel, worker: int | None, arguments: argparse.Namespace) -> tuple[float, CrystalBatch]:
    """CPU-seconds of one run, and its crystals."""
    processes = [os.getpid(), *([] if worker is None else [worker])]
    before = sum(map(cpu_seconds, processes))
    drawn = draw(model, arguments.crystals, arguments.steps)
    return sum(map(cpu_seconds, processes)) - before, drawn


def worker_of(model: ScoreModel) -> int:
    """Process of an isolated model.

    Raises:
        InputError: when it is not isolated.
    """
    worker: Any = getattr(model, "_worker", None)
    if worker is None:
        raise InputError("The model runs in this process.")
    return int(worker._process.pid)  # noqa: SLF001 - nothing else needs it


def bootstrap_median(values: list[float]) -> tuple[float, float]:
    """95 % interval of the median, by 10,000 resamples of the pairs."""
    generator = np.random.default_rng(0)
    picks = generator.integers(0, len(values), (10_000, len(values)))
    low, high = np.percentile(np.median(np.array(values)[picks], axis=1), [2.5, 97.5])
    return float(low), float(high)


def main() -> None:
    """Measure, print, and end with exit code 1 when the median overhead is above the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", default="nequip")
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--crystals", type=int, default=8)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--limit", type=float, default=0.05, help="largest median overhead")
    parser.add_argument("--json", type=Path, help="file for all figures")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    here = get_registry().create_score_model(arguments.backend)
    began = time.monotonic()
    there = get_registry().create_score_model(f"{arguments.backend}@{sys.executable}")
    worker = worker_of(there)
    start_s, start_cpu = time.monotonic() - began, cpu_seconds(worker)
    for model in (here, there):
        draw(model, 2, 2)  # compiles what is compiled on the first call
    overheads, plain = [], []
    for pair in range(arguments.pairs):
        runs = {}
        for isolated in (pair % 2 == 1, pair % 2 == 0):
            runs[isolated] = measure(there if isolated else here, worker if isolated else None, arguments)
        if not torch.equal(runs[False][1].frac_coords, runs[True][1].frac_coords):
            print(f"pair {pair}: the isolated model drew other crystals")
            sys.exit(1)
        plain.append(runs[False][0])
        overheads.append(runs[True][0] / runs[False][0] - 1)
        print(f"pair {pair + 1}: {runs[False][0]:.2f} s here, {runs[True][0]:.2f} s isolated", flush=True)
    median, (low, high) = statistics.median(overheads), bootstrap_median(overheads)
    print(f"start: {start_cpu:.1f} CPU-seconds, {start_s:.1f} s")
    print(f"overhead: median {median:+.1%} of {statistics.median(plain):.2f} CPU-seconds ({low:+.1%} to {high:+.1%})")
    if arguments.json:
        arguments.json.write_text(json.dumps({"overheads": overheads, "here_s": plain, "start_cpu_s": start_cpu}))
    sys.exit(int(median > arguments.limit))


if __name__ == "__main__":
    main()
