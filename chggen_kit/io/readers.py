"""Readers of structure data sets: JSON lines, folders of CIF files, extended XYZ, and CSV files with a `cif` column.

Every reader is an iterator of `StructureRecord`. A row that cannot be used is skipped with a reason; the reasons are
counted, and logged when the file ends: nothing is dropped silently.
"""

from __future__ import annotations

import csv
import gzip
import json
import logging
import math
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from chggen_kit.errors import InputError

_LOG = logging.getLogger(__name__)
_LAST_ELEMENT = 118
_CSV_FIELD_LIMIT = 10_000_000
"""CIF texts exceed the csv module's default limit of 131,072 characters a field."""

_UNREADABLE = (OSError, EOFError, zlib.error, UnicodeDecodeError)
"""What opening, decompressing and decoding a text file raises."""


@dataclass(frozen=True)
class StructureRecord:
    """One ordered structure of a data set.

    Attributes:
        id: name in the data set.
        lattice: rows a, b, c in Å, float64 `[3, 3]`.
        species: atomic numbers, int64 `[n_atoms]`.
        frac_coords: float64 `[n_atoms, 3]`, as given (not folded).
        metadata: everything else that the row holds.
    """

    id: str
    lattice: NDArray[np.float64]
    species: NDArray[np.int64]
    frac_coords: NDArray[np.float64]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return int(self.species.shape[0])

    @property
    def volume_per_atom(self) -> float:
        """In Å^3."""
        return abs(float(np.linalg.det(self.lattice))) / self.n_atoms

    @property
    def formula(self) -> str:
        """Reduced formula in the canonical form of `canonical_formula`."""
        return canonical_formula(Counter(self.species.tolist()))


class _SkipRowError(Exception):
    """Why a row cannot be used."""


def canonical_formula(counts: Mapping[int, float]) -> str:
    """Reduced formula with the elements in order of atomic number, e.g. `P2S6Zn1`: one string a composition.

    Args:
        counts: whole numbers of atoms by atomic number.
    """
    from ase.data import chemical_symbols

    divisor = reduce(math.gcd, (int(n) for n in counts.values()))
    return "".join(f"{chemical_symbols[z]}{int(counts[z]) // divisor}" for z in sorted(counts))


def parse_formula(formula: str) -> str:
    """The canonical form of any formula that pymatgen reads, e.g. `Zn(PS3)2`.

    Raises:
        InputError: when it cannot be read or has fractional counts.
    """
    from pymatgen.core import Composition

    try:
        counts = {element.Z: amount for element, amount in Composition(formula).items()}
    except (ValueError, AttributeError) as error:
        raise InputError(f"The formula {formula!r} cannot be read: {error}") from error
    if not counts or any(amount != int(amount) for amount in counts.values()):
        raise InputError(f"The formula {formula!r} is empty or has fractional counts; write whole numbers.")
    if not all(1 <= z <= _LAST_ELEMENT for z in counts):
        raise InputError(f"The formula {formula!r} names something that is not an element.")
    return canonical_formula(counts)


def read_structures(path: Path, skipped: Counter[str] | None = None) -> Iterator[StructureRecord]:
    """Structures of a file or folder; the format follows from the name.

    `.jsonl`, `.jsonl.gz` (keys `lattice`, `species`, `frac_coords`, optionally `id`), `.xyz`, `.extxyz` (periodic
    frames), `.csv`, `.csv.gz` (columns `material_id`, `cif`), one `.cif`, or a folder of CIF files.

    Args:
        path: what to read.
        skipped: counts, by reason, of the rows that could not be used; filled as the iteration proceeds.

    Raises:
        InputError: when the path does not exist, has an unknown format, cannot be read as text (not gzip although
            named .gz, truncated, not UTF-8), or holds no usable structure.
    """
    counts: Counter[str] = Counter() if skipped is None else skipped
    before = counts.copy()
    found = 0
    for record in _explained(_reader(path)(path, counts), path):
        found += 1
        yield record
    lost = counts - before
    if lost:
        reasons = ", ".join(f"{reason}: {n}" for reason, n in lost.most_common())
        _LOG.warning("%s: read %d structures, skipped %d (%s)", path, found, lost.total(), reasons)
    if not found:
        raise InputError(f"{path} holds no usable structure. Skipped rows by reason: {dict(lost) or 'none'}.")


def _reader(path: Path) -> Callable[[Path, Counter[str]], Iterator[StructureRecord]]:
    if not path.exists():
        raise InputError(f"There is no data set at {path}. Check the path.")
    if path.is_dir():
        return _read_cif_folder
    name = path.name.lower().removesuffix(".gz")
    for suffixes, reader in (
        ((".jsonl", ".ndjson"), _read_json_lines),
        ((".xyz", ".extxyz"), _read_extxyz),
        ((".csv",), _read_csv),
        ((".cif",), _read_cif_file),
    ):
        if name.endswith(suffixes):
            return reader
    raise InputError(
        f"{path} has an unknown format. Readable: .jsonl, .xyz or .extxyz, .csv (each also .gz), .cif, "
        "or a folder of CIF files."
    )


def _explained(records: Iterator[StructureRecord], path: Path) -> Iterator[StructureRecord]:
    """`records`, with the errors of opening and decoding the file turned into `InputError`."""
    try:
        yield from records
    except (*_UNREADABLE, csv.Error) as error:
        raise InputError(
            f"{path} cannot be read ({error}). It is truncated, or its content is not what its name says (.gz: gzip; "
            "otherwise UTF-8 text). Copy it again, or rename it."
        ) from error


def _open_text(path: Path) -> IO[str]:
    return gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8")


@contextmanager
def _counting(skipped: Counter[str]) -> Iterator[None]:
    """Count `_SkipRowError` instead of raising it."""
    try:
        yield
    except _SkipRowError as reason:
        skipped[str(reason)] += 1


def _read_json_lines(path: Path, skipped: Counter[str]) -> Iterator[StructureRecord]:
    with _open_text(path) as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            with _counting(skipped):
                yield _from_json(line, f"{path.name}:{number}")


def _from_json(line: str, default_id: str) -> StructureRecord:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise _SkipRowError("not valid JSON") from error
    if not isinstance(row, dict):
        raise _SkipRowError("not a JSON object")
    missing = {"lattice", "species", "frac_coords"} - row.keys()
    if missing:
        raise _SkipRowError(f"no {', '.join(sorted(missing))}")
    lattice, species, coords = row.pop("lattice"), row.pop("species"), row.pop("frac_coords")
    return _record(str(row.pop("id", default_id)), lattice, species, coords, row)


def _record(name: str, lattice: Any, species: Any, coords: Any, metadata: Mapping[str, Any]) -> StructureRecord:  # noqa: ANN401 (rows of a file hold anything until they are checked here)
    from ase.data import atomic_numbers

    try:
        numbers = [atomic_numbers[s] if isinstance(s, str) else int(s) for s in species]
    except (KeyError, TypeError, ValueError) as error:
        raise _SkipRowError("unknown element or partial occupancy") from error
    try:
        cell, frac = np.array(lattice, dtype=np.float64), np.array(coords, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise _SkipRowError("lattice or coordinates are not numbers") from error
    if not numbers or cell.shape != (3, 3) or frac.shape != (len(numbers), 3):
        raise _SkipRowError("shapes of lattice, species and coordinates do not fit together")
    if not all(1 <= z <= _LAST_ELEMENT for z in numbers):
        raise _SkipRowError("unknown element or partial occupancy")
    if not (np.isfinite(cell).all() and np.isfinite(frac).all()):
        raise _SkipRowError("values that are not finite")
    if abs(np.linalg.det(cell)) <= 1e-6 * np.linalg.norm(cell, axis=1).prod():
        raise _SkipRowError("flat cell")
    return StructureRecord(name, cell, np.array(numbers, dtype=np.int64), frac, metadata)


def _read_extxyz(path: Path, skipped: Counter[str]) -> Iterator[StructureRecord]:
    import ase.io

    for number, atoms in enumerate(ase.io.iread(path, index=":", format="extxyz")):
        with _counting(skipped):
            if not atoms.pbc.all():
                raise _SkipRowError("not periodic in three directions")
            name = str(atoms.info.get("id", atoms.info.get("material_id", f"{path.name}:{number}")))
            yield _record(
                name, atoms.cell.array, atoms.numbers.tolist(), atoms.get_scaled_positions(wrap=False), dict(atoms.info)
            )


def _read_csv(path: Path, skipped: Counter[str]) -> Iterator[StructureRecord]:
    csv.field_size_limit(_CSV_FIELD_LIMIT)
    with _open_text(path) as text:
        rows = csv.DictReader(text)
        if "cif" not in (rows.fieldnames or []):
            raise InputError(f"{path} has no column 'cif'; its columns are {rows.fieldnames}.")
        for number, row in enumerate(rows):
            with _counting(skipped):
                cif = row.pop("cif")
                yield _from_cif(cif, row.get("material_id") or f"{path.name}:{number}", row)


def _read_cif_folder(path: Path, skipped: Counter[str]) -> Iterator[StructureRecord]:
    files = sorted(path.glob("*.cif"))
    if not files:
        raise InputError(f"The folder {path} holds no .cif file.")
    for file in files:
        yield from _read_cif_file(file, skipped)


def _read_cif_file(path: Path, skipped: Counter[str]) -> Iterator[StructureRecord]:
    with _counting(skipped):
        try:
            with _open_text(path) as file:
                text = file.read()
        except _UNREADABLE as error:
            # One bad file of a folder must not end the reading of the others.
            raise _SkipRowError("file cannot be read as text") from error
        yield _from_cif(text, path.name, {})


def _from_cif(cif: str, name: str, metadata: Mapping[str, Any]) -> StructureRecord:
    from pymatgen.io.cif import CifParser

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            structure = CifParser.from_str(cif).parse_structures(primitive=False)[0]
    # The parser raises whatever its many helpers raise; the row is counted, and the file goes on.
    except Exception as error:
        raise _SkipRowError("CIF cannot be parsed") from error
    if not structure.is_ordered:
        raise _SkipRowError("unknown element or partial occupancy")
    numbers = [site.specie.Z for site in structure]
    return _record(name, structure.lattice.matrix, numbers, structure.frac_coords, metadata)
