"""The ledger: which shards there are and what became of them, in SQLite on the driver's side.

Only the process that holds the campaign's folder writes it, workers never do. The proof that a shard is done is the
file in its folder; the ledger can be lost and is made again from these.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from chggen_kit.errors import RunDirectoryError

State = Literal["waiting", "running", "done", "failed", "set-aside", "cancelled", "left-out"]
LEDGER_FILE = "ledger.db"
_FORMAT = 1
_SCHEMA = """
CREATE TABLE lanes (
    number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, target TEXT NOT NULL, workflow TEXT NOT NULL,
    backend TEXT NOT NULL, potential TEXT NOT NULL, seed INTEGER NOT NULL, start_atoms INTEGER NOT NULL,
    verb TEXT NOT NULL, config TEXT NOT NULL, identity TEXT NOT NULL
);
CREATE TABLE shards (
    number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, lane INTEGER NOT NULL REFERENCES lanes(number),
    part INTEGER NOT NULL, seed INTEGER NOT NULL, starts INTEGER NOT NULL, atoms INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'waiting', attempts INTEGER NOT NULL DEFAULT 0, deaths INTEGER NOT NULL DEFAULT 0,
    losses INTEGER NOT NULL DEFAULT 0, reason TEXT, changed REAL, structures INTEGER, ok INTEGER, candidates INTEGER,
    cpu_seconds REAL, wall_seconds REAL, peak_memory_MB REAL, out_of_memory INTEGER
);
CREATE INDEX shards_by_state ON shards(state, number);
CREATE INDEX shards_by_lane ON shards(lane, part);
CREATE TABLE sittings (
    number INTEGER PRIMARY KEY, began REAL NOT NULL, host TEXT NOT NULL, pid INTEGER NOT NULL, executor TEXT NOT NULL,
    versions TEXT NOT NULL, seconds REAL NOT NULL DEFAULT 0, atoms INTEGER NOT NULL DEFAULT 0,
    structures INTEGER NOT NULL DEFAULT 0, candidates INTEGER NOT NULL DEFAULT 0, ended TEXT
);
CREATE TABLE failures (
    shard INTEGER NOT NULL REFERENCES shards(number), sitting INTEGER, attempt INTEGER NOT NULL, at REAL NOT NULL,
    fate TEXT NOT NULL, reason TEXT NOT NULL
);
"""


@dataclass(frozen=True)
class LedgerShard:
    """A shard as the ledger has it.

    Attributes:
        number: in the order of the plan.
        name: its hash.
        lane: number of its lane.
        part, seed, starts, atoms: as planned (`atoms`: starts times atoms of a start).
        state: what became of it.
        attempts, deaths, losses: how often it was begun, killed its worker, and lost the place that it ran in.
        reason: why it failed or was set aside.
    """

    number: int
    name: str
    lane: int
    part: int
    seed: int
    starts: int
    atoms: int
    state: State
    attempts: int
    deaths: int
    losses: int
    reason: str | None


_COLUMNS = "number, name, lane, part, seed, starts, atoms, state, attempts, deaths, losses, reason"


class Ledger:
    """The ledger in the folder of a campaign.

    Args:
        folder: of the campaign.
        read_only: for those who only look.

    Raises:
        RunDirectoryError: when it is damaged, of another version, or (to look at) not there.
    """

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        self.path = folder / LEDGER_FILE
        self.is_new = not self.path.exists()
        if read_only and self.is_new:
            raise RunDirectoryError(
                f"There is no campaign in {folder}: it has no {LEDGER_FILE}. Check --out, or begin one with "
                "`chggen campaign run`."
            )
        mode = "ro" if read_only else "rwc"
        with self._explained():
            # A driver that works meanwhile holds the file for milliseconds.
            self._db = sqlite3.connect(f"{self.path.resolve().as_uri()}?mode={mode}", uri=True, timeout=60)
            self._db.row_factory = sqlite3.Row
            if self.is_new:
                with self._db:
                    self._db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_FORMAT}; COMMIT;")
            found = self._db.execute("PRAGMA user_version").fetchone()[0]
        if found != _FORMAT:
            self._db.close()
            raise RunDirectoryError(
                f"The ledger {self.path} has format {found}, and this version of the kit writes {_FORMAT}. Use the "
                "version that began the campaign; or delete the ledger, which is then made again from "
                "the shards that are done."
            )

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise RunDirectoryError(
                f"The ledger {self.path} cannot be used: {error}. With a full disk: free space and repeat the command. "
                "When it is damaged: delete it, and it is made again from "
                "the shards that are done."
            ) from error

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it is kept, or nothing.

        Raises:
            RunDirectoryError: when the file cannot be written.
        """
        with self._explained(), self._db:
            yield self._db

    def rows(self, query: str, values: Iterable[Any] | Mapping[str, Any] = ()) -> list[sqlite3.Row]:
        """Rows of a query.

        Raises:
            RunDirectoryError: when the file cannot be read.
        """
        with self._explained():
            bound = values if isinstance(values, Mapping) else tuple(values)
            return self._db.execute(query, bound).fetchall()

    def shard(self, number: int) -> LedgerShard:
        """One shard by its number."""
        return LedgerShard(**dict(self.rows(f"SELECT {_COLUMNS} FROM shards WHERE number = ?", [number])[0]))  # noqa: S608  our own columns

    def numbers(self, *states: State) -> list[int]:
        """Numbers of the shards in these states, in order."""
        marks = ",".join("?" * len(states))
        query = f"SELECT number FROM shards WHERE state IN ({marks}) ORDER BY number"  # noqa: S608  question marks
        return [row["number"] for row in self.rows(query, states)]

    def lane(self, number: int) -> sqlite3.Row:
        """One lane by its number."""
        return self.rows("SELECT * FROM lanes WHERE number = ?", [number])[0]
