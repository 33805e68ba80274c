"""Measure a campaign's ledger, collector and overhead: status and collect of many synthetic shards, CPU-seconds.

python scripts/measure_campaign.py status --shards 100000
python scripts/measure_campaign.py collect --structures 100000 --per-shard 20
python scripts/measure_campaign.py throughput SPEC.yaml --workers 2 --repeats 5

Throughput means something on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from pymatgen.core import Composition, Lattice, Structure

from chggen_kit.campaign.collect import collect
from chggen_kit.campaign.folder import mark_done
from chggen_kit.campaign.ledger import Ledger
from chggen_kit.campaign.shard import ShardOutcome, shard_folder
from chggen_kit.campaign.spec import CampaignSpec
from chggen_kit.campaign.status import read_status
from chggen_kit.campaign.targets import formulas_of
from chggen_kit.plugins import get_registry
from chggen_kit.workflow.collect import write_database
from chggen_kit.workflow.config import GenerateConfig, build_config
from chggen_kit.workflow.records import Record, StructureData

CHGGEN = [sys.executable, "-c", "from chggen_kit.cli import main; main()"]


def fill_ledger(ledger: Ledger, shards: int, *, done: bool) -> list[str]:
    """Lanes of 63 compositions of Li-Si and `shards` shards; returns the compositions."""
    formulas = list(formulas_of("Li_xSi_y", {"x": (1, 13), "y": (1, 13)}, 14))
    registry = get_registry()
    with ledger.writing() as db:
        for number, formula in enumerate(formulas, start=1):
            config = build_config(GenerateConfig, {"formula": formula, "references": "auto"}, registry)
            values = (number, f"lane-{number}", formula, "paper", "nequip", "chgnet", 0, 8, "generate")
            db.execute(
                "INSERT INTO lanes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", [*values, config.model_dump_json(), "{}"]
            )
        states = ["done", "done", "done", "waiting", "failed"] if not done else ["done"]
        db.executemany(
            "INSERT INTO shards (name, lane, part, seed, starts, atoms, state, attempts, reason, structures, "
            "candidates, cpu_seconds, out_of_memory) VALUES (?, ?, ?, ?, 8, 64, ?, 1, ?, 8, 2, 12.5, 0)",
            [
                (
                    f"s{number:019d}",
                    number % len(formulas) + 1,
                    number,
                    number,
                    states[number % len(states)],
                    f"reason {number % 7}" if states[number % len(states)] == "failed" else None,
                )
                for number in range(shards)
            ],
        )
    return formulas


def measure_status(folder: Path, shards: int) -> None:
    """Time of `chggen campaign status`, from the command line and within Python."""
    with Ledger(folder) as ledger:
        fill_ledger(ledger, shards, done=False)
    times, cpu = [], time.process_time()
    for _ in range(5):
        began = time.perf_counter()
        read_status(folder)
        times.append(time.perf_counter() - began)
    cpu = (time.process_time() - cpu) / 5
    began = time.perf_counter()
    subprocess.run([*CHGGEN, "campaign", "status", "--out", str(folder)], check=True, capture_output=True)  # noqa: S603  our own command
    whole = time.perf_counter() - began
    middle = statistics.median(times)
    print(f"status of {shards} shards: {middle:.3f} s ({cpu:.3f} CPU-s); the whole command {whole:.2f} s")


def synthetic(formula: str, number: int, random: np.random.Generator) -> Record:
    """A structure of random positions, in a tenth of all cases one of few kinds."""
    species = [element.symbol for element, n in Composition(formula).items() for _ in range(int(n))]
    chosen = random if number % 10 else np.random.default_rng(number % 3)
    lattice = Lattice.cubic((18.0 * len(species)) ** (1 / 3))
    data = StructureData.of(Structure(lattice, species, chosen.random((len(species), 3))))
    return Record(
        id=f"u{number:06d}",
        stage="unconditional",
        start=number,
        generated=data,
        relaxed=data,
        energy=float(random.normal(-3.0, 0.3)) * len(species),
        initial_energy=0.0,
        spacegroup_number=5 if number % 4 == 0 else 1,
        spacegroup_symbol="C2" if number % 4 == 0 else "P1",
    )


def measure_collect(folder: Path, structures: int, per_shard: int) -> None:
    """Time and memory of `collect` over shards of synthetic structures (their databases are written first)."""
    random = np.random.default_rng(0)
    with Ledger(folder) as ledger:
        formulas = fill_ledger(ledger, structures // per_shard, done=True)
        for shard in ledger.rows("SELECT number, name, lane FROM shards"):
            path = shard_folder(folder, shard["name"])
            path.mkdir(parents=True)
            formula = formulas[shard["lane"] - 1]
            records = [synthetic(formula, shard["number"] * per_shard + k, random) for k in range(per_shard)]
            write_database(path / "results.db", records, [], {"unconditional": {"potential": "chgnet", "seed": 0}}, {})
            outcome = ShardOutcome(shard=shard["name"], structures=per_shard, ok=per_shard, candidates=0)
            with ledger.writing() as db:
                mark_done(db, shard["number"], outcome.model_dump())
        spec = CampaignSpec(name="synthetic", targets=[{"formulas": ["LiSi"]}])  # type: ignore[list-item]  # pydantic's
        wall, cpu = time.perf_counter(), time.process_time()
        done = collect(ledger, folder, spec, get_registry())
    print(
        f"collect of {done.structures} structures of {done.shards} shards: {time.perf_counter() - wall:.0f} s, "
        f"{time.process_time() - cpu:.0f} CPU-s, {done.candidates} distinct candidates, "
        f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB"
    )


def measure_throughput(folder: Path, spec: Path, workers: int, repeats: int) -> None:
    """Wall times with one worker and with `workers`, and the share of CPU time that is not of the shards' own work."""
    medians = {}
    for count in (1, workers):
        times, overhead = [], []
        for repeat in range(repeats):
            out = folder / f"{count}-{repeat}"
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            began = time.perf_counter()
            command = [*CHGGEN, "campaign", "run", str(spec), "--out", str(out), "--workers", str(count)]
            subprocess.run(command, check=True)  # noqa: S603  our own command
            times.append(time.perf_counter() - began)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            all_of_it = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            overhead.append(1 - read_status(out).cpu_seconds / all_of_it)
        medians[count] = statistics.median(times)
        print(f"{count} workers: {medians[count]:.1f} s, overhead {statistics.median(overhead):.1%} (imports included)")
    print(f"{medians[1] / medians[workers]:.2f} times one worker's throughput")


def main() -> None:
    """Run one measurement in a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["status", "collect", "throughput"])
    parser.add_argument("spec", nargs="?", type=Path)
    parser.add_argument("--shards", type=int, default=100_000)
    parser.add_argument("--structures", type=int, default=100_000)
    parser.add_argument("--per-shard", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="campaign-"))
    try:
        if given.what == "status":
            measure_status(folder, given.shards)
        elif given.what == "collect":
            measure_collect(folder, given.structures, given.per_shard)
        elif given.spec is None:
            parser.error("throughput needs a specification")
        else:
            measure_throughput(folder, given.spec, given.workers, given.repeats)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
