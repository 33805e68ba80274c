"""Formulas that training must never see, so that benchmarks on them mean something."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterable
from pathlib import Path

from chggen_kit.errors import InputError

SHIPPED = Path(__file__).parents[1] / "data" / "held_out_formulas.txt.gz"
"""Reduced formulas of the validation and test rows, and of the showcase systems; one a line, canonical form."""
NOTHING = "none"
"""Stands for no list at all, where data have splits of their own that a benchmark prescribes."""


def read_held_out(path: Path | None = None) -> frozenset[str]:
    """Formulas of a text file (one a line, `#` starts a comment, `.gz` allowed), by default of the shipped one.

    Formulas are compared in the form of `chggen_kit.io.readers.canonical_formula`.

    Raises:
        InputError: when the file does not exist or holds something else.
    """
    from chggen_kit.io.readers import parse_formula

    file = path or SHIPPED
    if not file.is_file():
        raise InputError(f"There is no list of held-out formulas at {file}.")
    try:
        text = gzip.decompress(file.read_bytes()).decode() if file.suffix == ".gz" else file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} is not a text file of formulas: {error}") from error
    formulas = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    # The shipped list is canonical already, and parsing its thousands of formulas would take seconds.
    return frozenset(formulas) if path is None else frozenset(parse_formula(f) for f in formulas)


def fingerprint(formulas: Iterable[str]) -> str:
    """SHA-256, hexadecimal, of a set of formulas in canonical form."""
    return hashlib.sha256("\n".join(sorted(formulas)).encode()).hexdigest()
