"""The files that results are written to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from chggen_kit.errors import InputError
from chggen_kit.io.files import Format

SUFFIXES: Mapping[Format, str] = {"cif": ".cif", "poscar": ".vasp", "json": ".json", "extxyz": ".extxyz"}
"""Suffix of the files of each format."""


def refuse_existing(targets: Iterable[Path]) -> None:
    """Raise `InputError` when one of `targets` exists, or a file stands where one of its directories should be."""
    for target in targets:
        place = next((parent for parent in target.parents if parent.is_file()), target)
        if place.exists():
            raise InputError(f"{place} is there already, and nothing is overwritten. Choose another place with --out.")
