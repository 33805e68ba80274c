"""`Benchmark`: a specification, run into a folder and counted.

from chggen_kit.benchmark import Benchmark

result = Benchmark("paper-zn-p-s", quick=True).run("benchmarks/zn-p-s")
result.rates.query("scope == 'pooled' and metric == 'symmetric' and counted")
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from chggen_kit.benchmark.backends import for_backends
from chggen_kit.benchmark.cells import Plan, make_plan
from chggen_kit.benchmark.collect import Collected, collect
from chggen_kit.benchmark.driver import Driver
from chggen_kit.benchmark.reading import read_spec
from chggen_kit.benchmark.spec import BenchmarkSpec
from chggen_kit.benchmark.tables import (
    BENCHMARK_FILE,
    CELLS,
    DIFFERENCES,
    QUANTITIES,
    RATES,
    STRUCTURES,
    TABLES,
)
from chggen_kit.errors import RunDirectoryError
from chggen_kit.interfaces import Progress
from chggen_kit.plugins import Registry, get_registry
from chggen_kit.progress import ProgressReporter
from chggen_kit.workflow.assembly import library_versions
from chggen_kit.workflow.rundir import flatten, read_json, write_atomically

if TYPE_CHECKING:
    import pandas as pd

CELLS_FOLDER = "cells"
_FORMAT = 1


@dataclass(frozen=True)
class BenchmarkResult:
    """Tables of a benchmark that has ended; `chggen_kit.benchmark.tables` says what their columns mean.

    Attributes:
        path: its folder.
        about: content of `benchmark.json`.
        structures, cells, rates, quantities, differences: the tables.
    """

    path: Path
    about: Mapping[str, Any]
    structures: pd.DataFrame
    cells: pd.DataFrame
    rates: pd.DataFrame
    quantities: pd.DataFrame
    differences: pd.DataFrame

    @property
    def failures(self) -> pd.DataFrame:
        """Cells that failed."""
        return self.cells[self.cells["status"] == "failed"]


class Benchmark:
    """A comparison of methods.

    Args:
        spec: a specification, its file, or the name of a preset.
        quick: take its small size.
        seeds: in place of its own.
        systems: names of the systems that are taken, or `all`; by default those that it takes by default.
        data: files or folders of known structures, for all systems.
        backends: in place of the first backend of its methods: see `chggen_kit.benchmark.backends`.
        checkpoints: weights by backend, for methods that name none.
        registry: plug-ins; those that are installed by default. Others are known to this process only, so cells are
            then run in it.

    Raises:
        InputError: when the specification cannot be read.
    """

    def __init__(
        self,
        spec: BenchmarkSpec | str | Path,
        *,
        quick: bool = False,
        seeds: Sequence[int] | None = None,
        systems: Sequence[str] | Literal["all"] | None = None,
        data: Sequence[str | Path] = (),
        checkpoints: Mapping[str, str | Path] | None = None,
        backends: Sequence[str] = (),
        registry: Registry | None = None,
    ) -> None:
        read = spec if isinstance(spec, BenchmarkSpec) else read_spec(spec)
        names: Sequence[str] | None = None if systems == "all" else systems
        if systems is None and not quick and read.systems_by_default:
            names = read.systems_by_default
        if quick:
            read = read.quickened(systems=names or (read.system_names if systems == "all" else None))
        changed = read if seeds is None and names is None else read.changed(seeds=seeds, systems=names)
        self.spec = for_backends(changed, backends) if backends else changed
        self._data = tuple(Path(one) for one in data)
        self._checkpoints = {name: Path(one) for name, one in (checkpoints or {}).items()}
        self._registry = registry

    @cached_property
    def plan(self) -> Plan:
        """What is run.

        Raises:
            ChggenError: when a system, a method or a setting cannot be used.
        """
        return make_plan(self.spec, self._registry or get_registry(), self._checkpoints)

    def driver(self, out: str | Path, cache: str | Path | None = None) -> Driver:
        """The cells that are there, and those that are to be run."""
        return Driver(self.plan, Path(out) / CELLS_FOLDER if cache is None else Path(cache))

    def run(
        self,
        out: str | Path,
        *,
        workers: int = 0,
        cache: str | Path | None = None,
        progress: ProgressReporter | None = None,
    ) -> BenchmarkResult:
        """Run what is missing, and write and return the tables; goes on with what `out` and `cache` hold.

        Args:
            out: folder of the benchmark.
            workers: processes; 0 to work in this one.
            cache: folder of cells that several benchmarks share; `out`/cells by default.
            progress: told how far the work is.

        Raises:
            ChggenError: when something cannot be used. A cell that fails is told in the table `cells`.
        """
        folder = Path(out)
        plan = self.plan
        with _locked(folder):
            self._open(folder)
            driver = self.driver(folder, cache)
            processes = 0 if self._registry is not None else workers
            with _stage(progress, "cells") as stage:
                driver.run(processes, self._registry or get_registry(), stage)
            with _stage(progress, "tables") as stage:
                rows = collect(plan, driver, folder, self._data, stage)
            return self._write(folder, plan, rows)

    @staticmethod
    def load(out: str | Path) -> BenchmarkResult:
        """The tables of a benchmark that has ended.

        Raises:
            InputError: when there are none.
            RunDirectoryError: when `benchmark.json` cannot be read.
        """
        folder = Path(out)
        frames = {table.name: table.read(folder) for table in TABLES}
        return BenchmarkResult(folder, read_json(folder / BENCHMARK_FILE), **frames)

    def _request(self) -> dict[str, Any]:
        request = {
            "spec": self.spec.model_dump(mode="json"),
            "data": [str(path) for path in self._data],
            "checkpoints": {name: str(path) for name, path in self._checkpoints.items()},
        }
        plain: dict[str, Any] = json.loads(json.dumps(request))
        return plain

    def _open(self, folder: Path) -> None:
        path = folder / BENCHMARK_FILE
        request = self._request()
        if not path.exists():
            strangers = sorted(one.name for one in folder.iterdir() if not one.name.startswith("."))
            if strangers and strangers != [CELLS_FOLDER]:
                raise RunDirectoryError(
                    f"The output directory {folder} holds other files ({', '.join(strangers[:3])}) and no "
                    f"{BENCHMARK_FILE}, so it is no benchmark. Choose an empty or a new directory with --out."
                )
            write_atomically(path, json.dumps({"format": _FORMAT, "request": request}, indent=2) + "\n")
            return
        stored = read_json(path)
        theirs = flatten(stored.get("request", {}) if isinstance(stored, dict) else {})
        ours = flatten(request)
        differing = [key for key in sorted({*theirs, *ours}) if theirs.get(key, ...) != ours.get(key, ...)]
        if differing:
            raise RunDirectoryError(
                f"The output directory {folder} belongs to another benchmark: {', '.join(differing[:6])} differ"
                f"{'s' if len(differing) == 1 else ''}. Choose another directory with --out; with --cache "
                f"{folder / CELLS_FOLDER} the cells that both have are not done again."
            )

    def _write(self, folder: Path, plan: Plan, rows: Collected) -> BenchmarkResult:
        frames = {
            table.name: table.frame(getattr(rows, table.name))
            for table in (STRUCTURES, CELLS, RATES, QUANTITIES, DIFFERENCES)
        }
        about = {
            "format": _FORMAT,
            "request": self._request(),
            "name": plan.spec.name,
            "about": plan.spec.about,
            "versions": {**library_versions(), **plan.versions},
            "methods": {
                name: {
                    "about": method.about,
                    "stage": next((lane.stage for lane in plan.lanes if lane.method == name), None),
                    "baseline": method.baseline,
                    "parts": next((dict(lane.identity["parts"]) for lane in plan.lanes if lane.method == name), {}),
                }
                for name, method in plan.spec.methods.items()
            },
            "systems": {
                lane.system: {
                    "n_atoms": lane.n_atoms,
                    "excluded_groups": list(lane.config.excluded_groups),
                    "symprec_A": lane.config.symprec_A,
                    "known_structures": rows.known.get(lane.system, ""),
                }
                for lane in plan.lanes
            },
            "left_out": [vars(one) for one in plan.left_out],
            "tables": {table.file_name: table.about for table in TABLES},
        }
        for table in TABLES:
            table.write(frames[table.name], folder)
        write_atomically(folder / BENCHMARK_FILE, json.dumps(about, indent=2, default=str) + "\n")
        return BenchmarkResult(folder, about, **frames)


@contextmanager
def _stage(progress: ProgressReporter | None, name: str) -> Iterator[Progress | None]:
    if progress is None:
        yield None
        return
    with progress.stage(name) as stage:
        yield stage


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder; the operating system frees it when the process ends, however it ends.

    Raises:
        RunDirectoryError: when another process holds it, or it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise RunDirectoryError(f"Cannot write to the output directory {folder}: {error.strerror}.") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunDirectoryError(
                f"The benchmark in {folder} is being run by another process. Wait for it to end, or choose another "
                "directory with --out."
            ) from error
        yield
    finally:
        os.close(handle)
