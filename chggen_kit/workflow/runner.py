"""Does the pieces of a run, each once: finished ones are read back, unfinished ones done again from their start."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TypeVar

import torch
from pydantic import BaseModel

from chggen_kit.interfaces import Progress
from chggen_kit.progress import ProgressReporter
from chggen_kit.workflow.meter import Meter
from chggen_kit.workflow.rundir import RunDirectory

AnyRecord = TypeVar("AnyRecord", bound=BaseModel)


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch use `count` threads: the last bits of its sums depend on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Labelled:
    """Progress of one piece of work for a receiver without stages: its place in the run goes before each message."""

    def __init__(self, progress: Progress, label: str) -> None:
        self._progress = progress
        self._label = label

    def update(self, done: int, total: int, message: str = "") -> None:
        """Pass on, labelled."""
        self._progress.update(done, total, f"{self._label}: {message}" if message else self._label)


class Runner:
    """Runs pieces of work over a run directory.

    Attributes:
        seconds: time that the pieces took, by kind, those of earlier sittings included.
        computed: pieces done in this sitting.
    """

    def __init__(self, directory: RunDirectory, run_hash: str, progress: Progress | None) -> None:
        self._directory = directory
        self._hash = run_hash
        self._progress = progress
        self.seconds: dict[str, float] = defaultdict(float)
        self.computed = 0

    def piece(
        self,
        kind: str,
        number: int,
        of: int,
        record: type[AnyRecord],
        work: Callable[[Progress | None], Sequence[AnyRecord]],
    ) -> list[AnyRecord]:
        """Result of piece `number` of the `of` pieces of a kind, from its file or by doing it."""
        name = f"{kind}-{number:04d}"
        stored = self._directory.read_shard(name, self._hash)
        if stored is None:
            label = kind.replace("-", ", ", 1).replace("-", " ")
            if of > 1:
                label = f"{label} ({number + 1} of {of})"
            meter = Meter()
            with self._stage(label) as progress:
                done = work(progress)
            cost = asdict(meter.read())
            self._directory.write_shard(
                name, self._hash, {**cost, "records": [one.model_dump(mode="json") for one in done]}
            )
            self.computed += 1
            # What is read back is what goes on: a run that was never killed sees the same records as one that was.
            stored = self._directory.read_shard(name, self._hash) or {}
        self.seconds[kind] += stored["seconds"]
        return [record.model_validate(one) for one in stored["records"]]

    @contextmanager
    def _stage(self, label: str) -> Iterator[Progress | None]:
        if isinstance(self._progress, ProgressReporter):
            with self._progress.stage(label) as advance:
                yield advance
        else:
            yield None if self._progress is None else Labelled(self._progress, label)
