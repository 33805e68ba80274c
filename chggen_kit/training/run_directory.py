"""The output directory of a training run: whose it is, and the note on its data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from chggen_kit.errors import RunDirectoryError

NOTE_FILE = "data.json"
CRYSTALS_FILE = "crystals.pt"
VALIDATION_FILE = "validation.pt"
_UNFINISHED = {name for file in (NOTE_FILE, CRYSTALS_FILE, VALIDATION_FILE) for name in (file, f".{file}.partial")}
"""What a run that was stopped while it prepared its data leaves."""


def check_directory(out: Path, trainer: str) -> None:
    """Check that `out` is new, empty, or holds a run of `trainer`.

    Raises:
        RunDirectoryError: when it holds something else.
    """
    if not out.exists() or (out / NOTE_FILE).exists():
        return
    foreign = sorted(path.name for path in out.iterdir() if path.name not in _UNFINISHED)
    if foreign:
        raise RunDirectoryError(
            f"{out} holds files, but no run of `chggen train {trainer}` (no {NOTE_FILE}): {', '.join(foreign[:5])}"
            f"{', ...' if len(foreign) > 5 else ''}. Give a new or empty directory, or that of a run."
        )


def read_note(out: Path) -> dict[str, Any] | None:
    """What `write_note` wrote, or None.

    Raises:
        RunDirectoryError: when the file is something else.
    """
    path = out / NOTE_FILE
    if not path.exists():
        return None
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunDirectoryError(
            f"{path} is not a note on a training run ({error}). Give another --out; --init-from keeps weights."
        ) from error
    if not isinstance(note, dict) or not isinstance(note.get("request"), dict):
        raise RunDirectoryError(f"{path} was not written by a trainer of chggen-kit. Give another --out.")
    return note


def write_note(out: Path, note: dict[str, Any]) -> None:
    """Write `note`, through a temporary name."""
    temporary = out / f".{NOTE_FILE}.partial"
    temporary.write_text(json.dumps(note), encoding="utf-8")
    temporary.replace(out / NOTE_FILE)
