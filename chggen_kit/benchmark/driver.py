"""Runs the cells of a plan that are not there yet, some at a time, and follows budgets of CPU time."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from chggen_kit.benchmark.cells import Cell, Lane, Plan
from chggen_kit.benchmark.outcome import CellOutcome, read_outcome
from chggen_kit.benchmark.worker import Job, do_job, work_on
from chggen_kit.execution.pool import run_directly, worker_pool
from chggen_kit.interfaces import Ended, Progress
from chggen_kit.plugins import Registry

_LOG = logging.getLogger(__name__)
_MOST_PARTS = 1000
"""Of a budget of time: more would mean that a part costs next to nothing."""
_LOOK_EVERY_S = 5.0


@dataclass(frozen=True)
class LaneCell:
    """A cell of a lane that has been run, or was tried.

    Attributes:
        cell: the cell.
        outcome: what came of it; None when it failed.
        reason: why it failed.
    """

    cell: Cell
    outcome: CellOutcome | None
    reason: str | None = None


@dataclass
class Driver:
    """Brings a plan to its end.

    Attributes:
        plan: what is to be run.
        cache: folder of the cells' run directories.
        done: outcomes by name of the cell.
        failed: reasons by name of the cell.
    """

    plan: Plan
    cache: Path
    done: dict[str, CellOutcome] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def folder(self, cell: Cell) -> Path:
        """Run directory of a cell."""
        return self.cache / cell.name

    def run(self, workers: int, registry: Registry, progress: Progress | None = None) -> None:
        """Run what is missing; a cell that fails does not end the others.

        Args:
            workers: processes; 0 to work in this one.
            registry: plug-ins of this process; others find their own.
            progress: told how many cells are done, and how long the rest will take.
        """
        queue: deque[Cell] = deque()
        queued: set[str] = set()
        for lane in self.plan.lanes:
            self._queue_next(lane, queue, queued)
        clock = _Clock(self, progress)
        clock.tell(len(queue))
        if workers == 0:
            while queue:
                cell = queue.popleft()
                ended = run_directly(cell.name, work_on, Job.of(cell, self.folder(cell)), registry)
                self._take(ended, cell, queue, queued)
                clock.tell(len(queue))
            return
        running: dict[str, Cell] = {}
        with worker_pool(min(workers, max(len(queue), 1))) as pool:
            while queue or not pool.is_idle:
                while queue and pool.has_room:
                    cell = queue.popleft()
                    running[cell.name] = cell
                    pool.submit(cell.name, do_job, Job.of(cell, self.folder(cell)))
                for ended in pool.next_ended(_LOOK_EVERY_S):
                    self._take(ended, running.pop(ended.key), queue, queued)
                clock.tell(len(queue) + len(running))

    def lane_cells(self, lane: Lane) -> Iterator[LaneCell]:
        """Cells of a lane that were run, up to its budget or the first failure."""
        budget, spent = self.plan.spec.budget.cpu_seconds, 0.0
        for part in range(_MOST_PARTS):
            cell = lane.cell(part)
            outcome = self.done.get(cell.name)
            if outcome is None:
                yield LaneCell(cell, None, self.failed.get(cell.name, "it was not run"))
                return
            yield LaneCell(cell, outcome)
            spent += outcome.cpu_seconds
            if budget is None or spent >= budget:
                return
        _LOG.warning("%s, %s: %d parts and CPU time left; no more are begun.", lane.system, lane.method, _MOST_PARTS)

    def next_cell(self, lane: Lane) -> Cell | None:
        """The first cell of a lane that has no outcome yet; None when the lane is at its end."""
        budget, spent = self.plan.spec.budget.cpu_seconds, 0.0
        for part in range(_MOST_PARTS):
            cell = lane.cell(part)
            if cell.name in self.failed:
                return None
            if cell.name not in self.done:
                found = read_outcome(self.folder(cell), cell.name)
                if found is None:
                    return cell
                self.done[cell.name] = found
            spent += self.done[cell.name].cpu_seconds
            if budget is None or spent >= budget:
                return None
        return None

    def _queue_next(self, lane: Lane, queue: deque[Cell], queued: set[str]) -> None:
        cell = self.next_cell(lane)
        if cell is not None and cell.name not in queued:
            queued.add(cell.name)
            queue.append(cell)

    def _take(self, ended: Ended, cell: Cell, queue: deque[Cell], queued: set[str]) -> None:
        if ended.reason is not None:
            self.failed[cell.name] = ended.reason
            _LOG.warning("%s, %s, seed %d failed: %s", cell.lane.system, cell.lane.method, cell.lane.seed, ended.reason)
            return
        found = read_outcome(self.folder(cell), cell.name)
        if found is None:
            self.failed[cell.name] = "its worker left no outcome"
            return
        self.done[cell.name] = found
        if self.plan.spec.budget.cpu_seconds is not None:
            # Lanes of several methods can go through the same cell.
            for lane in self.plan.lanes:
                self._queue_next(lane, queue, queued)


class _Clock:
    """Tells how far the work is, and how long it will take at the pace of this sitting."""

    def __init__(self, driver: Driver, progress: Progress | None) -> None:
        self._driver, self._progress = driver, progress
        self._began = time.monotonic()
        self._before = self._weight_done()

    def _weight_done(self) -> float:
        """Work done: shares of budgets of time, or atoms times starts."""
        driver = self._driver
        budget = driver.plan.spec.budget.cpu_seconds
        names = {cell.name: cell for cell in driver.plan.first_cells()}
        if budget is None:
            return float(sum(_weight(cell) for name, cell in names.items() if name in driver.done))
        return sum(min(one.cpu_seconds, budget) for one in driver.done.values())

    def _weight_all(self) -> float:
        driver = self._driver
        budget = driver.plan.spec.budget.cpu_seconds
        names = {cell.name: cell for cell in driver.plan.first_cells()}
        if budget is None:
            return float(sum(_weight(cell) for name, cell in names.items() if name not in driver.failed))
        return budget * len(names)

    def tell(self, left: int) -> None:
        """Report."""
        if self._progress is None:
            return
        driver = self._driver
        done = len(driver.done) + len(driver.failed)
        message = f"{len(driver.failed)} failed" if driver.failed else ""
        worked = self._weight_done() - self._before
        if worked > 0 and left:
            seconds = (time.monotonic() - self._began) * max(self._weight_all() - self._weight_done(), 0) / worked
            message = ", ".join(filter(None, [message, f"about {in_words(seconds)} left"]))
        self._progress.update(done, done + left, message)


def _weight(cell: Cell) -> int:
    return cell.lane.n_atoms * cell.config.n


def in_words(seconds: float) -> str:
    """A time, roughly: `40 s`, `12 min`, `3.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
