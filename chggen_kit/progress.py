"""Progress of long pieces of work: on a terminal, as plain lines, as JSON lines, or not at all.

    with make_progress("auto", "generate ZnP2S6") as progress:
        with progress.stage("relax 1/2", total=64) as advance:
            relaxer.relax(structures, progress=advance)

Everything goes to standard error, so that standard output stays free for results.
"""

from __future__ import annotations

import json
import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, TextIO, get_args

from chggen_kit.errors import InputError, unknown_name

if TYPE_CHECKING:
    from rich.progress import Progress as RichBars
    from rich.progress import TaskID

ProgressMode = Literal["auto", "rich", "plain", "json", "none"]
MODES: tuple[ProgressMode, ...] = get_args(ProgressMode)

PLAIN_INTERVAL_S = 5.0
JSON_INTERVAL_S = 0.2


class ProgressReporter(ABC):
    """Base of the reporters: a stack of named stages, the innermost of which `update` advances.

    It satisfies `chggen_kit.interfaces.Progress`, and so does what `stage` gives.
    """

    def __init__(self, description: str = "") -> None:
        self.description = description
        self._stages: list[str] = []

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[ProgressReporter]:
        """Open the stage `name` of `total` units; it ends with the block, as failed when that raises."""
        self._stages.append(name)
        self._begin(name, total)
        completed = False
        try:
            yield self
            completed = True
        finally:
            self._end(name, completed=completed)
            self._stages.pop()

    def update(self, done: int, total: int, message: str = "") -> None:
        """Report `done` of `total` units of the innermost stage (of the whole work outside any)."""
        self._advance(self._stages[-1] if self._stages else self.description, done, total, message)

    @contextmanager
    def running(self) -> Iterator[ProgressReporter]:
        """The reporter in use; subclasses set up and tear down their display here."""
        yield self

    @abstractmethod
    def _begin(self, stage: str, total: int | None) -> None: ...

    @abstractmethod
    def _advance(self, stage: str, done: int, total: int, message: str) -> None: ...

    @abstractmethod
    def _end(self, stage: str, *, completed: bool) -> None: ...


class NullProgress(ProgressReporter):
    """Says nothing."""

    def _begin(self, stage: str, total: int | None) -> None:
        pass

    def _advance(self, stage: str, done: int, total: int, message: str) -> None:
        pass

    def _end(self, stage: str, *, completed: bool) -> None:
        pass


class PlainProgress(ProgressReporter):
    """One line when a stage begins and ends, and in between one every tenth of it or five seconds, whichever is later.

    A tenth of a fast stage is not worth a line and a slow one must show that it lives: a line is written when five
    seconds have passed since the last one, or when a tenth has been done and a second has passed.
    """

    def __init__(
        self, description: str = "", stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(description)
        self._stream, self._clock = stream, clock
        self._last: dict[str, tuple[float, float]] = {}  # stage: time and share of the last line
        self._started: dict[str, float] = {}

    def _begin(self, stage: str, total: int | None) -> None:
        self._started[stage] = self._clock()
        self._last[stage] = (self._clock(), 0.0)
        self._write(f"{stage}: started" + (f", {total} to do" if total is not None else ""))

    def _advance(self, stage: str, done: int, total: int, message: str) -> None:
        now, share = self._clock(), done / total if total else 1.0
        when, before = self._last.setdefault(stage, (now, 0.0))
        due = now - when >= PLAIN_INTERVAL_S or (share - before >= 0.1 and now - when >= 1.0)
        if due:
            self._last[stage] = (now, share)
            self._write(f"{stage}: {done}/{total} ({share:.0%})" + (f" {message}" if message else ""))

    def _end(self, stage: str, *, completed: bool) -> None:
        took = self._clock() - self._started.pop(stage, self._clock())
        self._write(f"{stage}: {'done' if completed else 'stopped'} after {took:.1f} s")

    def _write(self, text: str) -> None:
        stream = self._stream or sys.stderr
        stream.write(text + "\n")
        stream.flush()


class JsonProgress(ProgressReporter):
    """One JSON object a line: `event` (begin, advance, end), `run`, `stage`, `elapsed_s`, and what goes with the event.

    Advances are written at most five times a second, the last one of a stage always.
    """

    def __init__(
        self, description: str = "", stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(description)
        self._stream, self._clock = stream, clock
        self._origin = clock()
        self._last = float("-inf")

    def _begin(self, stage: str, total: int | None) -> None:
        self._write("begin", stage, total=total)

    def _advance(self, stage: str, done: int, total: int, message: str) -> None:
        now = self._clock()
        if done < total and now - self._last < JSON_INTERVAL_S:
            return
        self._last = now
        self._write("advance", stage, done=done, total=total, message=message)

    def _end(self, stage: str, *, completed: bool) -> None:
        self._write("end", stage, completed=completed)

    def _write(self, event: str, stage: str, **facts: object) -> None:
        stream = self._stream or sys.stderr
        elapsed = round(self._clock() - self._origin, 3)
        line = {"event": event, "run": self.description, "stage": stage, "elapsed_s": elapsed, **facts}
        stream.write(json.dumps(line, ensure_ascii=False) + "\n")
        stream.flush()


class RichProgress(ProgressReporter):
    """Bars on a terminal, one a stage."""

    def __init__(self, description: str = "") -> None:
        super().__init__(description)
        self._bars: RichBars | None = None
        self._tasks: dict[str, TaskID] = {}

    @contextmanager
    def running(self) -> Iterator[ProgressReporter]:
        """Show the bars, below whatever else is written to standard error meanwhile."""
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[message]}"),
            console=Console(stderr=True),
        )
        with self._bars:
            yield self
        self._bars = None
        self._tasks.clear()

    def _begin(self, stage: str, total: int | None) -> None:
        if self._bars is not None:
            self._tasks[stage] = self._bars.add_task(stage, total=total, message="")

    def _advance(self, stage: str, done: int, total: int, message: str) -> None:
        if self._bars is not None:
            if stage not in self._tasks:
                self._begin(stage, total)
            self._bars.update(self._tasks[stage], completed=done, total=total, message=message)

    def _end(self, stage: str, *, completed: bool) -> None:
        if self._bars is not None:
            task = self._tasks.pop(stage)
            self._bars.update(task, message="" if completed else "stopped")
            self._bars.stop_task(task)


def choose_mode(mode: str) -> ProgressMode:
    """The mode that `auto` means here: rich on a terminal, plain lines otherwise; other modes are themselves.

    Raises:
        InputError: for an unknown mode.
    """
    for known in MODES:
        if mode == known != "auto":
            return known
    if mode != "auto":
        raise InputError(unknown_name("progress mode", mode, MODES))
    return "rich" if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" else "plain"


@contextmanager
def make_progress(mode: str = "auto", description: str = "") -> Iterator[ProgressReporter]:
    """A reporter of `mode` (`auto`, `rich`, `plain`, `json`, `none`) for the length of the block.

    Raises:
        InputError: for an unknown mode.
    """
    reporters: dict[ProgressMode, Callable[[str], ProgressReporter]] = {
        "rich": RichProgress,
        "plain": PlainProgress,
        "json": JsonProgress,
        "none": NullProgress,
    }
    with reporters[choose_mode(mode)](description).running() as progress:
        yield progress
