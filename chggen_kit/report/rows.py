"""Rows of run directories: the structures that they hold, as plain values and for the viewer."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase.db

from chggen_kit.errors import InputError
from chggen_kit.report.content import Crystal
from chggen_kit.workflow.export import find_database
from chggen_kit.workflow.records import StructureData


@dataclass(frozen=True)
class RunRow:
    """One row of `results.db`.

    Attributes:
        keys: its key-value pairs (docs/runs.md), with `natoms`.
        relaxed, drawn: its structures.
    """

    keys: Mapping[str, Any]
    relaxed: StructureData | None
    drawn: StructureData | None

    @property
    def final(self) -> StructureData | None:
        """The relaxed structure, or the drawn one."""
        return self.relaxed or self.drawn

    def guests(self, symbols: Collection[str]) -> tuple[int, ...]:
        """Indices of the guests: what follows the host's atoms, or all atoms of the elements `symbols`."""
        final = self.final
        if final is None:
            return ()
        host_atoms = int(self.keys.get("host_atoms", 0))
        if host_atoms:
            return tuple(range(host_atoms, len(final.species)))
        return tuple(index for index, symbol in enumerate(final.species) if symbol in symbols)

    def crystal(self, symbols: Collection[str]) -> Crystal | None:
        """For the viewer; None without any structure."""
        return None if self.final is None else Crystal(self.relaxed, self.drawn, self.guests(symbols))


def read_rows(run: Path) -> list[RunRow]:
    """All rows of a run, failures included, as stored.

    Raises:
        InputError: when there is no database, or it cannot be read.
    """
    database = find_database(run)
    try:
        with ase.db.connect(str(database), type="db", use_lock_file=False) as connection:
            return [_row(row) for row in connection.select()]
    except Exception as error:
        # SQLite and ase raise errors of several kinds on a file that is not theirs.
        raise InputError(
            f"{database} is not a readable database of results: {type(error).__name__}: {error}. It is damaged, or "
            "another program wrote it; repeat the command of the run to have it written again."
        ) from error


def _row(row: Any) -> RunRow:  # noqa: ANN401  ase.db's row, untyped
    values = {**row.key_value_pairs, "natoms": row.natoms, "formula": row.formula}
    return RunRow(values, _structure(row.data.get("relaxed")), _structure(row.data.get("as_generated")))


def _structure(data: Any) -> StructureData | None:  # noqa: ANN401  JSON
    return None if data is None else StructureData.model_validate(data)
