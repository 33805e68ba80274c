"""The driver: gives shards to an executor and enters what becomes of them. It is the ledger's only writer."""

from __future__ import annotations

import json
import logging
import os
import platform
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from chggen_kit.campaign.folder import mark_done
from chggen_kit.campaign.ledger import Ledger, LedgerShard
from chggen_kit.campaign.shard import ShardJob, ShardOutcome, StorageProblem, do_shard, shard_folder
from chggen_kit.errors import RunDirectoryError
from chggen_kit.interfaces.executor import Ended, Executor
from chggen_kit.interfaces.sampler import Progress

_LOG = logging.getLogger(__name__)
CANCEL_FILE = "cancel"
"""Its presence tells the driver to stop; `chggen campaign cancel` makes it."""
_LOOK_EVERY_S = 1.0
_TELL_EVERY_S = 1.0


@dataclass
class Driver:
    """Brings the shards of a ledger to their end.

    Attributes:
        ledger: of the campaign, whose folder this process holds.
        folder: of the campaign.
        executor: runs shards.
        worker_deaths: a shard that killed its worker so often is set aside.
        progress: told how far it is.
        task: what is done with the job of a shard.
    """

    ledger: Ledger
    folder: Path
    executor: Executor
    worker_deaths: int = 2
    progress: Progress | None = None
    task: Callable[[ShardJob], ShardOutcome | StorageProblem] = do_shard
    _told: float = -_TELL_EVERY_S
    _sitting: int = 0
    _began: float = field(default_factory=time.monotonic)
    _running: dict[str, int] = field(default_factory=dict)

    def run(self, executor_name: str, versions: Mapping[str, str], *, only: Sequence[int] | None = None) -> bool:
        """Run what waits; whether it came to the end (else it was cancelled).

        Args:
            executor_name: for the record.
            versions: of the software of this sitting, for the record.
            only: numbers of the shards that are meant; all that wait by default.

        Raises:
            RunDirectoryError: when nothing can be written any more; everything that is done is kept.
        """
        (self.folder / CANCEL_FILE).unlink(missing_ok=True)
        queue = deque(self.ledger.numbers("waiting") if only is None else only)
        with self.ledger.writing() as db:
            row = [time.time(), platform.node(), os.getpid(), executor_name, json.dumps(dict(versions))]
            added = db.execute(
                "INSERT INTO sittings (began, host, pid, executor, versions) VALUES (?, ?, ?, ?, ?)", row
            )
            self._sitting = int(added.lastrowid or 0)
        self._began = time.monotonic()
        ended = "interrupted"
        try:
            while queue or not self.executor.is_idle:
                if (self.folder / CANCEL_FILE).exists():
                    self._stop("cancelled")
                    ended = "cancelled"
                    return False
                self._submit(queue)
                self._take(self.executor.next_ended(_LOOK_EVERY_S), queue)
                self._tell(len(queue))
            ended = "finished"
        finally:
            self.executor.close()
            if ended != "finished":
                self._note_end(ended)
        self._note_end(ended)
        return True

    def _submit(self, queue: deque[int]) -> None:
        chosen: list[LedgerShard] = []
        while queue and len(chosen) + self.executor.running < self.executor.places:
            chosen.append(self.ledger.shard(queue.popleft()))
        if not chosen:
            return
        with self.ledger.writing() as db:
            db.executemany(
                "UPDATE shards SET state = 'running', attempts = attempts + 1, changed = ? WHERE number = ?",
                [(time.time(), one.number) for one in chosen],
            )
        for shard in chosen:
            self._running[shard.name] = shard.number
            self.executor.submit(shard.name, self.task, self._job(shard))

    def _job(self, shard: LedgerShard) -> ShardJob:
        verb, config, parts = _lane(self.ledger, shard.lane)
        values = {**config, "seed": shard.seed, "n": shard.starts}
        return ShardJob(shard.name, verb, json.dumps(values), parts, shard_folder(self.folder, shard.name))

    def _take(self, ended: list[Ended], queue: deque[int]) -> None:
        if not ended:
            return
        problem = None
        with self.ledger.writing() as db:
            totals = {"atoms": 0, "structures": 0, "candidates": 0}
            for one in ended:
                shard = self.ledger.shard(self._running.pop(one.key))
                if isinstance(one.value, StorageProblem):
                    problem = one.value.what
                    db.execute("UPDATE shards SET state = 'waiting' WHERE number = ?", [shard.number])
                elif isinstance(one.value, ShardOutcome):
                    mark_done(db, shard.number, one.value.model_dump())
                    totals["atoms"] += shard.atoms
                    totals["structures"] += one.value.structures
                    totals["candidates"] += one.value.candidates
                else:
                    self._failed(db, shard, one, queue)
            db.execute(
                "UPDATE sittings SET seconds = :seconds, atoms = atoms + :atoms, "
                "structures = structures + :structures, candidates = candidates + :candidates WHERE number = :number",
                {**totals, "seconds": time.monotonic() - self._began, "number": self._sitting},
            )
        if problem is not None:
            self._stop("waiting")
            raise RunDirectoryError(
                f"A shard could not be written: {problem}. The disk may be full, a quota used up, or the folder "
                "read-only. Make room or get the right to write, then repeat the command: what is done is kept."
            )

    def _failed(self, db: Any, shard: LedgerShard, ended: Ended, queue: deque[int]) -> None:  # noqa: ANN401  a connection
        reason = ended.reason or "its worker gave nothing back"
        # So that equal reasons can be counted.
        reason = reason.replace(str(shard_folder(self.folder, shard.name)), "the folder of the shard").rstrip(".")
        db.execute(
            "INSERT INTO failures VALUES (?, ?, ?, ?, ?, ?)",
            [shard.number, self._sitting, shard.attempts, time.time(), ended.fate, reason],
        )
        state, deaths, losses = "failed", shard.deaths, shard.losses
        if ended.fate == "lost":
            state, losses = "waiting", losses + 1
        elif ended.fate == "died":
            deaths += 1
            state = "set-aside" if deaths >= self.worker_deaths else "waiting"
            if state == "set-aside":
                reason = f"it killed its worker {deaths} times (out of memory, or a crash of a compiled library)"
        if state == "waiting":
            queue.append(shard.number)
        else:
            _LOG.warning("Shard %s: %s.", shard.name, reason)
        db.execute(
            "UPDATE shards SET state = ?, deaths = ?, losses = ?, reason = ?, changed = ? WHERE number = ?",
            [state, deaths, losses, reason, time.time(), shard.number],
        )

    def _stop(self, state: str) -> None:
        """End the workers; what they were on waits or is cancelled, and their finished pieces stay."""
        self.executor.close()
        self._running.clear()
        with self.ledger.writing() as db:
            left = "('running', 'waiting')" if state == "cancelled" else "('running')"
            db.execute(f"UPDATE shards SET state = ? WHERE state IN {left}", [state])  # noqa: S608  one of two texts
        (self.folder / CANCEL_FILE).unlink(missing_ok=True)

    def _note_end(self, how: str) -> None:
        try:
            with self.ledger.writing() as db:
                db.execute("UPDATE sittings SET ended = ? WHERE number = ?", [how, self._sitting])
        except RunDirectoryError as error:
            # On a full disk; what brought the driver here is told, and the next sitting needs no end of this one.
            _LOG.debug("The end of the sitting was not noted: %s", error)

    def _tell(self, waiting: int) -> None:
        now = time.monotonic() - self._began
        if self.progress is None or (now - self._told < _TELL_EVERY_S and (waiting or not self.executor.is_idle)):
            return
        self._told = now
        counts = {row["state"]: row["n"] for row in self.ledger.rows("SELECT state, count(*) n FROM shards GROUP BY 1")}
        bad = counts.get("failed", 0) + counts.get("set-aside", 0)
        done = counts.get("done", 0) + bad
        message = f"{bad} failed or set aside" if bad else ""
        self.progress.update(done, done + waiting + self.executor.running, message)


@lru_cache(maxsize=4096)
def _lane(ledger: Ledger, number: int) -> tuple[str, dict[str, Any], dict[str, Any]]:
    row = ledger.lane(number)
    return row["verb"], json.loads(row["config"]), json.loads(row["identity"])["parts"]
