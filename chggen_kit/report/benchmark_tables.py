"""Content of the report of a benchmark, from the files in its folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from chggen_kit.benchmark.tables import BENCHMARK_FILE, CELLS, DIFFERENCES, QUANTITIES, RATES, STRUCTURES
from chggen_kit.errors import InputError
from chggen_kit.report.content import Crystal, ReportContent
from chggen_kit.report.rows import RunRow, read_rows
from chggen_kit.workflow.rundir import read_json

if TYPE_CHECKING:
    import pandas as pd


def is_benchmark(folder: Path) -> bool:
    """Whether `folder` holds a benchmark."""
    return (folder / BENCHMARK_FILE).is_file()


def benchmark_content(folder: Path) -> ReportContent:
    """Content of the report of the benchmark in `folder`.

    Raises:
        InputError: when it has not ended, or a table of it cannot be read.
        RunDirectoryError: when `benchmark.json` cannot be read.
    """
    configuration = read_json(folder / BENCHMARK_FILE)
    if not isinstance(configuration, Mapping):
        raise InputError(f"{folder / BENCHMARK_FILE} holds no configuration: another program wrote it.")
    structures, cells = STRUCTURES.read(folder), CELLS.read(folder)
    paths = _run_paths(folder, cells)
    return ReportContent(
        title=str(configuration.get("name") or folder.resolve().name),
        kind="benchmark",
        source=folder,
        structures=structures,
        cells=cells,
        rates=RATES.read(folder),
        quantities=QUANTITIES.read(folder),
        differences=DIFFERENCES.read(folder),
        crystals=_crystals(structures, paths),
        runs=list(dict.fromkeys(paths.values())),
        configuration=configuration,
        notes=_failures(cells),
        about=str(configuration.get("about") or ""),
    )


def benchmark_runs(folder: Path) -> list[Path]:
    """Run directories of a benchmark that have ended.

    Raises:
        InputError: when the table of cells cannot be read.
    """
    return list(dict.fromkeys(_run_paths(folder, CELLS.read(folder)).values()))


def _run_paths(folder: Path, cells: pd.DataFrame) -> dict[str, Path]:
    """Run directory of each cell that has ended."""
    rows = cells[["cell", "path"]].dropna().itertuples(index=False, name=None)
    paths = {cell: folder / path for cell, path in rows}
    return {cell: path for cell, path in paths.items() if (path / "results.db").is_file()}


def _failures(cells: pd.DataFrame) -> list[str]:
    """A sentence for each method with runs that failed or were left out."""
    lines = []
    troubled = cells[cells["status"] != "done"]
    for (method, status, reason), group in troubled.fillna({"reason": ""}).groupby(["method", "status", "reason"]):
        runs = f"{len(group)} run{'s' if len(group) != 1 else ''}"
        lines.append(f"{method}: {runs} {status}" + (f" ({reason})." if reason else "."))
    return lines


def _crystals(structures: pd.DataFrame, paths: Mapping[str, Path]) -> list[Crystal | None]:
    """The structure of each row, from the run directory of its cell, where that is there."""
    rows: dict[tuple[str, str], RunRow] = {}
    for cell, path in paths.items():
        rows.update({(cell, str(row.keys["structure_id"])): row for row in read_rows(path)})
    found: list[Crystal | None] = []
    for cell, name, guests in structures[["cell", "structure", "guest_indices"]].itertuples(index=False, name=None):
        row = rows.get((cell, name))
        if row is None or row.final is None:
            found.append(None)
            continue
        indices = tuple(int(one) for one in guests.split()) if isinstance(guests, str) else ()
        found.append(Crystal(row.relaxed, row.drawn, tuple(i for i in indices if i < len(row.final.species))))
    return found
