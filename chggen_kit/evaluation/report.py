"""What an evaluation hands back: plain numbers for a file, tables for a terminal."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from rich.box import SIMPLE_HEAD
from rich.table import Table

from chggen_kit.workflow.rundir import write_atomically


class Report(ABC):
    """Result of one evaluation; derive a frozen dataclass from it."""

    name: ClassVar[str]
    """Of the evaluation, and of its file `NAME.json`."""

    @abstractmethod
    def as_json(self) -> dict[str, Any]:
        """Everything that was measured, and with what, in plain JSON (NaN as null)."""

    @abstractmethod
    def tables(self) -> list[Table]:
        """The same for reading, main table first."""

    def write(self, directory: Path) -> Path:
        """Write `NAME.json` into `directory`, replacing that of an earlier sitting."""
        path = directory / f"{self.name}.json"
        write_atomically(path, json.dumps(self.as_json(), indent=2, allow_nan=False) + "\n")
        return path


def table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table whose first column is text and whose others are numbers."""
    made = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for number, heading in enumerate(headings):
        made.add_column(heading, justify="left" if number == 0 else "right")
    for row in rows:
        made.add_row(*row)
    return made
