"""The two sides of a comparison of local environments: what users have, and the references."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pymatgen.core import Structure

from chggen_kit.errors import InputError
from chggen_kit.io.files import read_structures
from chggen_kit.report.benchmark_tables import benchmark_runs, is_benchmark
from chggen_kit.report.rows import read_rows
from chggen_kit.thermo.packaged import packaged_set
from chggen_kit.workflow.records import OK

PACKAGED = "packaged"
"""In place of a path: the reference phases that the kit ships."""
Which = Literal["relaxed", "generated"]
_SUFFIXES = {".cif", ".mcif", ".vasp", ".poscar", ".json", ".xyz", ".extxyz"}
_NAMES = ("POSCAR", "CONTCAR")


def structures_in(path: Path, which: Which = "relaxed") -> list[Structure]:
    """Structures of a file, of a folder of files, or of a run or a benchmark (those that came through).

    Args:
        path: of any of these.
        which: of a run the structures as relaxed (as drawn where there is no relaxation), or as drawn.

    Raises:
        InputError: when there is nothing, or it cannot be read.
    """
    if not path.exists():
        raise InputError(f"There is no {path}. Name a structure file, a folder of them, a run or a benchmark.")
    if path.is_file() and path.suffix != ".db":
        return read_structures(path)
    if path.is_dir() and is_benchmark(path):
        runs: Sequence[Path] = benchmark_runs(path)
    elif path.is_file() or (path / "run.json").exists():
        runs = [path]
    else:
        return _in_folder(path)
    return [one for run in runs for one in _in_run(run, which)]


def _in_run(run: Path, which: Which) -> list[Structure]:
    chosen = [(row.drawn if which == "generated" else row.final) for row in read_rows(run) if row.keys["outcome"] == OK]
    return [one.structure() for one in chosen if one is not None]


def _in_folder(folder: Path) -> list[Structure]:
    paths = sorted(
        one
        for one in folder.iterdir()
        if one.is_file() and (one.suffix.lower() in _SUFFIXES or one.name.startswith(_NAMES))
    )
    if not paths:
        raise InputError(
            f"The folder {folder} holds no structure files ({', '.join(sorted(_SUFFIXES))}, POSCAR), and is neither a "
            "run nor a benchmark that has ended."
        )
    return [structure for path in paths for structure in read_structures(path)]


def reference_structures(choice: str, generated: Sequence[Structure]) -> tuple[list[Structure], str]:
    """Structures of a path, or the packaged phases that hold all elements of `generated` and no other; and their name.

    Raises:
        InputError: when there are none.
    """
    if choice != PACKAGED or Path(choice).exists():
        return structures_in(Path(choice)), choice
    symbols = {site.specie.symbol for structure in generated for site in structure}
    found = [one.structure for one in packaged_set().phases if set(one.structure.species) == symbols]
    if not found:
        known = ", ".join("-".join(system) for system in packaged_set().systems)
        raise InputError(
            f"No packaged phase holds all of {', '.join(sorted(symbols))} (there are phases of {known}). Name a file "
            "or a folder with reference structures instead."
        )
    return [one.structure() for one in found], f"packaged phases of {'-'.join(sorted(symbols))}"
