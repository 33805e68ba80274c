"""Results as structure files."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import ase.db
from ase.db.row import AtomsRow
from pymatgen.core import Structure

from chggen_kit.errors import InputError
from chggen_kit.io.files import Format, write_extxyz, write_structure
from chggen_kit.metrics.symmetry import SymmetryFailure, refined_structure
from chggen_kit.workflow.records import OK, Stage, StructureData
from chggen_kit.workflow.targets import SUFFIXES, refuse_existing

Which = Literal["relaxed", "generated", "symmetrised"]
_INFO_KEYS = (
    *("structure_id", "stage", "spacegroup_number", "spacegroup_symbol", "energy_per_atom", "host_id"),
    *("E_d", "E_hull", "energy_frame", "references", "exclude_composition"),
)
_COLUMNS = (
    *("rank", "structure_id", "formula", "natoms", "stage", "spacegroup_symbol", "spacegroup_number"),
    *("E_d", "E_hull", "decomposition", "exclude_composition", "references", "potential", "energy_frame"),
    *("energy_per_atom", "converged"),
)
"""First columns of a table; all other keys follow in alphabetical order."""


def find_database(path: Path) -> Path:
    """The `results.db` of a run directory, or the file itself.

    Raises:
        InputError: when there is none.
    """
    database = path / "results.db" if path.is_dir() else path
    if database.is_file():
        return database
    if path.is_dir() and (path / "run.json").exists():
        raise InputError(f"The run in {path} has not ended: it has no results.db yet. Repeat its command to go on.")
    raise InputError(f"There is no {database}. Name a run directory, or its results.db.")


def select_rows(database: Path, stage: Stage | None, top: int | None) -> list[AtomsRow]:
    """Rows that came through, lowest E_d first, then by energy per atom, those without energies last as drawn.

    Raises:
        InputError: when the file is no database of results, or nothing in it fits.
    """
    try:
        with ase.db.connect(str(database), type="db", use_lock_file=False) as connection:
            rows = [row for row in connection.select() if row.get("outcome") == OK and stage in {None, row.stage}]
    except Exception as error:
        # SQLite and ase raise errors of several kinds on a file that is not theirs.
        raise InputError(
            f"{database} is not a readable database of results: {type(error).__name__}: {error}."
        ) from error
    if not rows:
        raise InputError(f"{database} holds no structure that came through" + (f" in stage {stage}." if stage else "."))
    inf = float("inf")
    rows.sort(key=lambda row: (row.get("E_d", inf), row.get("energy_per_atom", inf)))
    return rows[:top]


def _structure(row: AtomsRow, which: Which) -> Structure | None:
    """The structure of a row; None when it was not relaxed, or no symmetry could be determined."""
    data: dict[str, Any] | None = row.data.get("as_generated" if which == "generated" else "relaxed")
    if data is None:
        return None
    structure = StructureData.model_validate(data).structure()
    if which != "symmetrised":
        return structure
    refined = refined_structure(structure, row.symprec, row.angle_tolerance)
    return None if isinstance(refined, SymmetryFailure) else refined


def _name(number: int, row: AtomsRow) -> str:
    group = re.sub(r"[^A-Za-z0-9-]", "_", str(row.get("spacegroup_symbol", "P1")))
    return f"{number:03d}_{row.structure_id}_{row.formula}_{group}"


def _chosen(rows: list[AtomsRow], which: Which) -> Iterator[tuple[int, AtomsRow, Structure]]:
    for number, row in enumerate(rows, start=1):
        structure = _structure(row, which)
        if structure is not None:
            yield number, row, structure


def export_table(source: Path, out: Path, *, stage: Stage | None = None, top: int | None = None) -> Path:
    """Write a CSV file with all that is known of the best structures of a run, in the order of their ranks.

    `out` is the file, or a directory for `candidates.csv`. What a structure has not is left empty.

    Raises:
        InputError: when there is nothing to export, or the file is there already.
    """
    rows = select_rows(find_database(source), stage, top)
    table = [
        {"rank": number, "formula": row.formula, "natoms": row.natoms, **row.key_value_pairs}
        for number, row in enumerate(rows, start=1)
    ]
    others = sorted({key for line in table for key in line} - set(_COLUMNS))
    target = out if out.suffix.lower() == ".csv" else out / "candidates.csv"
    refuse_existing([target])
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, [*_COLUMNS, *others], restval="")
        writer.writeheader()
        writer.writerows(table)
    return target


def export_results(
    source: Path,
    out: Path,
    form: Format,
    *,
    which: Which = "relaxed",
    stage: Stage | None = None,
    top: int | None = None,
) -> list[Path]:
    """Write the best structures of a run; files are numbered by rank.

    `symmetrised` is the relaxed structure with the space group of its row imposed, in the conventional standard cell.

    CIF, POSCAR and JSON go into the directory `out`, one file a structure; extended XYZ goes into one file.

    Raises:
        InputError: when there is nothing to export, or a file is there already.
    """
    rows = select_rows(find_database(source), stage, top)
    chosen = list(_chosen(rows, which))
    if not chosen:
        raise InputError(f"None of the {len(rows)} structures was relaxed: try --which generated.")
    if form == "extxyz":
        target = out if out.suffix else out / "structures.extxyz"
        refuse_existing([target])
        target.parent.mkdir(parents=True, exist_ok=True)
        infos = [{"rank": number, **{key: row[key] for key in _INFO_KEYS if key in row}} for number, row, _ in chosen]
        write_extxyz([structure for _, _, structure in chosen], infos, target)
        return [target]
    targets = [out / f"{_name(number, row)}{SUFFIXES[form]}" for number, row, _ in chosen]
    refuse_existing(targets)
    out.mkdir(parents=True, exist_ok=True)
    for target, (_, _, structure) in zip(targets, chosen, strict=True):
        write_structure(structure, target, form)
    return targets
