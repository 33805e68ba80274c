"""The data of a training run: selected once, kept in the run's directory, and checked when the run goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from chggen_kit.errors import RunDirectoryError
from chggen_kit.io.readers import StructureRecord
from chggen_kit.state import CrystalBatch
from chggen_kit.training.dataset import (
    CrystalSet,
    Selection,
    read_all,
    sample_formulas,
    sample_records,
    select_records,
    split_of,
)
from chggen_kit.training.held_out import NOTHING, fingerprint, read_held_out
from chggen_kit.training.run_directory import CRYSTALS_FILE, VALIDATION_FILE, read_note, write_note

VALIDATION_ROWS = 512
VALIDATION_ATOMS = 20
"""Errors per noise level are measured on at most this many structures of at most this many atoms."""
VALIDATION_SHARE = 0.05
"""Of the formulas, at most `VALIDATION_ROWS`, held out where the data name no split."""


@dataclass(frozen=True)
class DataRules:
    """What a backend asks of its training set.

    Attributes:
        max_atomic_number: largest atomic number that its network takes.
        convert: brings a structure into the form that the network is trained on (a reduced cell, ...).
        request: facts of the request beyond the options that all trainers share, plain values.
    """

    max_atomic_number: int
    convert: Callable[[StructureRecord], StructureRecord] | None = None
    request: Mapping[str, Any] = field(default_factory=dict)


class RunData(NamedTuple):
    """What a run trains and is measured on.

    Attributes:
        crystals: training set.
        validation: clean crystals, or None.
        note: what data.json holds: the request, counts, reasons.
        fresh: whether the data were selected now.
    """

    crystals: CrystalSet
    validation: CrystalBatch | None
    note: dict[str, Any]
    fresh: bool


class _Validation(NamedTuple):
    records: list[StructureRecord]
    formulas: frozenset[str]
    source: str


def prepare(paths: Sequence[Path], out: Path, given: Mapping[str, Any], rules: DataRules) -> RunData:
    """Select the data of a run, or load those that `out` holds.

    Args:
        paths: data sets to train on.
        out: the run's directory, which exists.
        given: the command's options `split`, `validation_split`, `validation_data`, `max_atoms`, `max_above_hull` and
            `held_out`; with `none` for the last, formulas of validation rows stay in the training set too.
        rules: what the backend asks of its training set.

    Raises:
        InputError: when a data set or list cannot be read, or no structure is left.
        RunDirectoryError: when `out` holds a run on other data, or cannot be read.
    """
    hold_out = given["held_out"] != NOTHING
    held_out = read_held_out(given["held_out"]) if hold_out else frozenset()
    extra = given["validation_data"]
    request = {
        "data": [_identity(path) for path in paths],
        "split": given["split"],
        "validation_split": given["validation_split"],
        "validation_data": None if extra is None else _identity(extra),
        "max_atoms": given["max_atoms"],
        "max_above_hull": given["max_above_hull"],
        "held_out_formulas": len(held_out),
        "held_out_sha256": fingerprint(held_out),
        **rules.request,
    }
    note = read_note(out)
    fresh = note is None
    if note is None:
        note = _select(paths, out, request, extra, held_out if hold_out else None, rules)
    # A run of another backend may lack what this one asks for, or have more.
    keys = dict.fromkeys([*request, "trainer"])
    different = [key for key in keys if request.get(key) != note["request"].get(key)]
    if different:
        raise RunDirectoryError(
            f"{out} holds a run on other data (different: {', '.join(different)}): {note['request']}. Give the same "
            "data and selection to go on with it, or another --out."
        )
    validation = CrystalSet.load(out / VALIDATION_FILE).batch if note.get("validation") else None
    return RunData(CrystalSet.load(out / CRYSTALS_FILE), validation, note, fresh)


def _identity(path: Path) -> list[Any]:
    return [str(path.resolve()), path.stat().st_size]


def _select(
    paths: Sequence[Path],
    out: Path,
    request: dict[str, Any],
    extra: Path | None,
    held_out: frozenset[str] | None,
    rules: DataRules,
) -> dict[str, Any]:
    """Select, write the tensors and, last, the note: a directory with a note is prepared."""
    records, unreadable = read_all(paths)
    selection = Selection(
        request["split"],
        request["max_atoms"],
        request["max_above_hull"],
        held_out or frozenset(),
        max_atomic_number=rules.max_atomic_number,
    )
    validation = _validation(records, extra, request, selection)
    if held_out is not None:
        selection = replace(selection, validation_formulas=validation.formulas)
    used, left_out = select_records(records, selection)
    convert = rules.convert or (lambda record: record)
    CrystalSet.from_records(map(convert, used)).save(out / CRYSTALS_FILE)
    (out / VALIDATION_FILE).unlink(missing_ok=True)
    if validation.records:
        CrystalSet.from_records(map(convert, validation.records)).save(out / VALIDATION_FILE)
    note = {
        "request": request,
        "used": len(used),
        "left_out": dict(Counter(left_out) + unreadable),
        "validation": len(validation.records),
        "validation_source": validation.source,
        "volume_per_atom_A3": [selection.min_volume, selection.max_volume],
        "sources": dict(Counter(str(r.metadata.get("source") or "not stated") for r in used).most_common()),
    }
    write_note(out, note)
    return note


def _validation(
    records: Sequence[StructureRecord], extra: Path | None, request: Mapping[str, Any], training: Selection
) -> _Validation:
    """Validation rows, and the formulas that training has to leave out for them."""
    split = request["validation_split"]
    small = Selection(
        split,
        VALIDATION_ATOMS,
        request["max_above_hull"],
        named_split_only=extra is None,
        max_atomic_number=training.max_atomic_number,
    )
    if extra is not None:
        source = f"rows of {extra.name} that name the split {split} or none"
        rows = select_records(read_all([extra])[0], small)[0]
    elif any(split_of(record) is not None for record in records):
        source = f"rows of the split {split}"
        rows = select_records(records, small)[0]
    else:
        # Formulas, not rows: polymorphs and duplicates of what is trained on would flatter the error.
        candidates = [r for r in select_records(records, training)[0] if r.n_atoms <= VALIDATION_ATOMS]
        formulas = sample_formulas(candidates, share=VALIDATION_SHARE, at_most=VALIDATION_ROWS)
        source = f"rows of {len(formulas)} formulas that were drawn, as no row names a split"
        rows = [record for record in candidates if record.formula in formulas]
        return _Validation(sample_records(rows, VALIDATION_ROWS), formulas, source)
    rows = sample_records(rows, VALIDATION_ROWS)
    return _Validation(rows, frozenset(record.formula for record in rows), source)
