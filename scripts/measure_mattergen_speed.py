"""Compares the CPU time of one evaluation through the plug-in with that of MatterGen's own call, in interleaved pairs.

    python scripts/measure_mattergen_speed.py models/mattergen_base --atoms 10 --pairs 30

Run it with nothing else running, and OMP_NUM_THREADS set. A folder made with random weights will do.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch

from chggen_kit.state import CrystalBatch, Known
from chggen_mattergen.model import load
from chggen_mattergen.options import MatterGenOptions
from chggen_mattergen.package import load_package


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--atoms", type=int, default=10)
    parser.add_argument("--crystals", type=int, default=1)
    parser.add_argument("--pairs", type=int, default=30)
    arguments = parser.parse_args()
    model = load(MatterGenOptions(checkpoint=arguments.model))
    batch = _crystals(arguments.atoms, arguments.crystals)
    fields = model.encode(batch, Known.coordinates_only(batch))
    t = torch.full((arguments.crystals,), 0.4)
    module, graph = model._network._module, _graph(batch, fields)  # noqa: SLF001 - the package's own network

    def theirs() -> None:
        with torch.no_grad():
            module.score_fn(graph, t)

    def ours() -> None:
        model.predict(fields, t)

    pairs = []
    for number in range(arguments.pairs + 2):
        # The order alternates, and the first two pairs only warm up.
        times = {call: _cpu_seconds(call) for call in ((theirs, ours) if number % 2 else (ours, theirs))}
        if number >= 2:
            pairs.append((times[theirs], times[ours]))
    ratio = statistics.median(plugin / own for own, plugin in pairs)
    print(f"{arguments.crystals} x {arguments.atoms} atoms, {len(pairs)} pairs, {torch.get_num_threads()} threads")
    print(
        f"package {statistics.median(own for own, _ in pairs):.4f} s, plug-in "
        f"{statistics.median(plugin for _, plugin in pairs):.4f} s of CPU time (medians)"
    )
    print(f"median ratio plug-in / package: {ratio:.4f}")


def _cpu_seconds(call: Callable[[], Any]) -> float:
    begin = time.process_time()
    call()
    return time.process_time() - begin


def _crystals(atoms: int, crystals: int) -> CrystalBatch:
    generator = torch.Generator().manual_seed(0)
    edge = (atoms / 0.0577) ** (1 / 3)
    return CrystalBatch(
        torch.rand(atoms * crystals, 3, generator=generator, dtype=torch.float64),
        torch.eye(3, dtype=torch.float64).repeat(crystals, 1, 1) * edge,
        torch.tensor([30, 15, 16])[torch.randint(3, (atoms * crystals,), generator=generator)],
        torch.full((crystals,), atoms),
    )


def _graph(batch: CrystalBatch, fields: Any) -> Any:  # noqa: ANN401 - the package's types
    modules: Any = load_package()
    bounds = batch.offsets.tolist()
    return modules["mattergen.common.data.collate"].collate(
        [
            modules["mattergen.common.data.chemgraph"].ChemGraph(
                atomic_numbers=batch.species[low:high],
                pos=fields["frac_coords"][low:high],
                cell=fields["lattice"][[crystal]],
                num_atoms=torch.tensor([high - low]),
            )
            for crystal, (low, high) in enumerate(pairwise(bounds))
        ]
    )


if __name__ == "__main__":
    main()
