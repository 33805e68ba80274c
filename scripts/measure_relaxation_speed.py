"""Measures relaxation with CHGNet: this kit's batched FIRE against chgnet's own StructOptimizer.

    python scripts/measure_relaxation_speed.py --data structures.jsonl.gz [--count 64] [--fmax 0.1]

Both use FIRE under the Frechet cell filter, the same weights and limits, on the same structures: drawn from the file,
8 to 20 atoms each, rattled and strained. They take turns chunk by chunk, so that both meet the same load of the
machine.
Seconds are processor seconds of this process (on a GPU, where there is one, seconds of the wall clock).
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import io
import json
import random
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from chgnet.model import CHGNet, StructOptimizer
from pymatgen.core import Element, Lattice, Structure

from chggen_chgnet.options import ChgnetOptions
from chggen_chgnet.potential import load
from chggen_kit.interfaces import Potential
from chggen_kit.io import to_batch, to_structures
from chggen_kit.relaxers.fire import FireOptions, FireRelaxer
from chggen_kit.testing.crystals import disturbed


@dataclass(frozen=True)
class Ended:
    """One relaxation: energy per atom in eV, steps, whether the limit was met."""

    energy: float
    steps: int
    converged: bool


Optimiser = Callable[[Sequence[Structure]], list[Ended]]


@dataclass
class Tally:
    """Time and outcomes of one optimiser."""

    name: str
    run: Optimiser
    seconds: float = 0.0
    ended: list[Ended] = field(default_factory=list)

    @property
    def evaluations(self) -> int:
        """Energies and forces computed: one more than the steps of each relaxation."""
        return sum(one.steps + 1 for one in self.ended)

    @property
    def rate(self) -> float:
        """Structures a second."""
        return len(self.ended) / self.seconds

    def line(self) -> str:
        """The figures of one line."""
        converged = sum(one.converged for one in self.ended)
        return (
            f"{self.name:16s} {self.rate:8.4f} structures/s   {1e3 * self.seconds / self.evaluations:8.2f} ms a step"
            f"   {self.evaluations:6d} evaluations   {converged}/{len(self.ended)} converged"
        )


def drawn_structures(path: Path, count: int, elements: frozenset[int], seed: int) -> list[Structure]:
    """`count` structures of 8 to 20 atoms of the file, drawn with `seed`, of covered elements."""
    numbers = {element.symbol: element.Z for element in Element}
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        fitting = []
        for line in lines:
            record = json.loads(line)
            if 8 <= record["natoms"] <= 20 and {numbers.get(symbol) for symbol in record["species"]} <= elements:
                fitting.append(record)
    chosen = random.Random(seed).sample(fitting, count)  # noqa: S311  a draw for a benchmark, not a secret
    return [Structure(Lattice(one["lattice"]), one["species"], one["frac_coords"]) for one in chosen]


def ours(potential: Potential, arguments: argparse.Namespace) -> Optimiser:
    """The batched relaxer."""
    relaxer = FireRelaxer(potential, FireOptions(max_batch=arguments.max_batch, max_atoms=arguments.max_atoms))

    def run(structures: Sequence[Structure]) -> list[Ended]:
        outcomes = relaxer.relax(structures, fmax=arguments.fmax, max_steps=arguments.max_steps)
        return [Ended(one.energy / len(one.structure), one.steps, one.converged) for one in outcomes]

    return run


def theirs(device: str, arguments: argparse.Namespace) -> Optimiser:
    """The optimiser of chgnet with its defaults: FIRE, Frechet cell filter, one structure after another."""
    with contextlib.redirect_stdout(io.StringIO()):
        optimiser = StructOptimizer(CHGNet.load(verbose=False, use_device=device), use_device=device)

    def run(structures: Sequence[Structure]) -> list[Ended]:
        ended = []
        for one in structures:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                result = optimiser.relax(one, fmax=arguments.fmax, steps=arguments.max_steps, verbose=False)
            trajectory = result["trajectory"]
            steps = len(trajectory.energies) - 2  # the start and, twice, the end are listed too
            ended.append(Ended(trajectory.energies[-1] / len(one), steps, steps < arguments.max_steps))
        return ended

    return run


def compare(structures: Sequence[Structure], tallies: Sequence[Tally], chunk: int, clock: Callable[[], float]) -> None:
    """Let the optimisers take turns over chunks of the structures, the first of a round last in the next."""
    for tally in tallies:
        tally.run(structures[:1])  # what is compiled or allocated once is not counted
    for number, low in enumerate(range(0, len(structures), chunk)):
        for tally in tallies if number % 2 == 0 else reversed(tallies):
            start = clock()
            tally.ended += tally.run([one.copy() for one in structures[low : low + chunk]])
            tally.seconds += clock() - start


def report(title: str, mine: Tally, reference: Tally) -> None:
    """Print both lines, the ratios, and how far the energies agree."""
    gaps = [
        abs(one.energy - other.energy)
        for one, other in zip(mine.ended, reference.ended, strict=True)
        if one.converged and other.converged
    ]
    same = sum(one.steps == other.steps for one, other in zip(mine.ended, reference.ended, strict=True))
    print(title)
    print(f"  {mine.line()}\n  {reference.line()}")
    per_step = (reference.seconds / reference.evaluations) / (mine.seconds / mine.evaluations)
    print(f"  ratio: {mine.rate / reference.rate:.2f} in structures a second, {per_step:.2f} a step")
    print(
        f"  energies of {len(gaps)} converged pairs: median gap {1e3 * np.median(gaps):.4f}, largest "
        f"{1e3 * max(gaps):.4f} meV/atom; {same}/{len(mine.ended)} took the same number of steps"
    )


def main() -> None:
    """Run the comparison and print its figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="structures.jsonl.gz")
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--chunk", type=int, default=16, help="structures an optimiser gets at a turn")
    parser.add_argument("--fmax", type=float, default=0.1)
    parser.add_argument("--max-steps", type=int, default=500)
    parser.add_argument("--max-batch", type=int, default=32, help="structures of a batch of ours")
    parser.add_argument("--max-atoms", type=int, help="atoms of a batch of ours; by default the potential's own law")
    parser.add_argument("--rattle-A", type=float, default=0.05, help="standard deviation of displacements in Å")
    parser.add_argument("--strain", type=float, default=0.02, help="standard deviation of strains")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    potential = load(ChgnetOptions())
    clean = drawn_structures(arguments.data, arguments.count, potential.info.elements, arguments.seed)
    batch = disturbed(to_batch(clean), rattle_A=arguments.rattle_A, strain=arguments.strain, seed=arguments.seed)
    structures = to_structures(batch)
    print(f"{len(structures)} structures, {batch.n_atoms} atoms, fmax {arguments.fmax} eV/Å, seed {arguments.seed}")
    mine, reference = Tally("chggen-kit", ours(potential, arguments)), Tally("chgnet", theirs("cpu", arguments))
    compare(structures, [mine, reference], arguments.chunk, time.process_time)
    report(f"CPU, {arguments.threads} thread(s), seconds of the processor", mine, reference)
    if torch.cuda.is_available():
        on_gpu = load(ChgnetOptions(device="cuda"))
        mine, reference = Tally("chggen-kit", ours(on_gpu, arguments)), Tally("chgnet", theirs("cuda", arguments))
        compare(structures, [mine, reference], len(structures), time.perf_counter)
        report(f"GPU ({torch.cuda.get_device_name()}), seconds of the wall clock", mine, reference)
    else:
        print("No GPU here: its figures are left out.")


if __name__ == "__main__":
    main()
