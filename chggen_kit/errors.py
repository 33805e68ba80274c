"""The errors of the kit: each message says what happened, where, the likely cause, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class ChggenError(Exception):
    """Base of every error that the kit raises on purpose."""


class InputError(ChggenError, ValueError):
    """What the user gave cannot be used (a formula, a file, a mask, a count, an option)."""


class CheckpointError(ChggenError):
    """A checkpoint is missing, damaged, of another architecture, or fails its checksum."""


class PluginError(ChggenError):
    """A plug-in is unknown, broken, registered twice, or breaks its contract."""


class RunDirectoryError(ChggenError):
    """An output directory belongs to another run or cannot be read."""


def unknown_name(kind: str, name: str, choices: Iterable[str]) -> str:
    """Sentence for an unknown name: what was asked for, near matches, and all valid choices."""
    known = sorted(choices)
    near = get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
    listing = ", ".join(known) if known else "none"
    return f"Unknown {kind} {name!r}.{hint} Available: {listing}."
