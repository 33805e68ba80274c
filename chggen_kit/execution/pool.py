"""Worker processes for cells: one task each at a time, and a worker that dies takes nothing but its task with it.

Each place of the pool is a `ProcessPoolExecutor` of one process of its own. In a pool of many the death of one process
breaks all of it, and does not tell whose task it was.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait as wait_for_sentinels
from typing import Any

from chggen_kit.errors import ChggenError
from chggen_kit.interfaces.executor import Ended, Executor

_LOG = logging.getLogger(__name__)


def run_directly(key: str, task: Callable[..., Any], *arguments: object) -> Ended:
    """A task in this process, as a worker does it."""
    return _told(key, lambda: task(*arguments))


def _told(key: str, result: Callable[[], Any]) -> Ended:
    try:
        return Ended(key, result(), None)
    except ChggenError as error:
        return Ended(key, None, str(error) or type(error).__name__, "failed")
    except BrokenProcessPool:
        return Ended(
            key,
            None,
            "its worker process died (killed, out of memory, or a crash of a compiled library); the same command does "
            "it again",
            "died",
        )
    except Exception as error:  # noqa: BLE001 - whatever it is, one cell must not end the others
        _LOG.warning("%s failed unforeseen.", key, exc_info=error)
        return Ended(key, None, f"unforeseen: {type(error).__name__}: {error}", "failed")


class WorkerPool(Executor):
    """Places for tasks on this machine.

    Attributes:
        size: tasks at a time.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._context = multiprocessing.get_context("spawn")
        self._places: list[ProcessPoolExecutor | None] = [None] * size
        self._running: dict[Future[Any], tuple[int, str]] = {}

    @property
    def places(self) -> int:
        return self.size

    @property
    def running(self) -> int:
        return len(self._running)

    def submit(self, key: str, task: Callable[..., Any], *arguments: object) -> None:
        """Begin a task, which must be a function of a module; there must be room."""
        taken = {place for place, _ in self._running.values()}
        place = next(index for index in range(self.size) if index not in taken)
        try:
            future = self._executor(place).submit(task, *arguments)
        except BrokenProcessPool:
            # Its process was killed while it had nothing to do.
            self._places[place] = None
            future = self._executor(place).submit(task, *arguments)
        self._running[future] = (place, key)

    def _executor(self, place: int) -> ProcessPoolExecutor:
        executor = self._places[place]
        if executor is None:
            executor = ProcessPoolExecutor(
                max_workers=1, mp_context=self._context, initializer=prepare_worker, initargs=(place,)
            )
            self._places[place] = executor
        return executor

    def next_ended(self, timeout_s: float | None = None) -> list[Ended]:
        """Tasks that have ended, after waiting for at least one; empty when the time is over."""
        done, _ = wait(self._running, timeout=timeout_s, return_when=FIRST_COMPLETED)
        ended = []
        for future in done:
            place, key = self._running.pop(future)
            ended.append(_told(key, future.result))
            executor = self._places[place]
            if isinstance(future.exception(), BrokenProcessPool) and executor is not None:
                executor.shutdown(wait=False)
                self._places[place] = None
        return ended

    def close(self) -> None:
        """End the workers, whatever they are doing."""
        for executor in self._places:
            if executor is None:
                continue
            if self.is_idle:
                executor.shutdown()
                continue
            # A cell can run for hours: what it has stored is kept, and it goes on next time.
            processes = list((getattr(executor, "_processes", None) or {}).values())
            executor.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                process.terminate()
        self._places = [None] * self.size
        self._running.clear()


@contextmanager
def worker_pool(size: int) -> Iterator[WorkerPool]:
    """A pool for the length of the block."""
    pool = WorkerPool(size)
    try:
        yield pool
    finally:
        pool.close()


def prepare_worker(place: int) -> None:
    """Set up a worker process: one thread, one device, and an end when the process that began it ends."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    import torch

    torch.set_num_threads(1)
    if torch.cuda.is_available():
        torch.cuda.set_device(place % torch.cuda.device_count())


def _end_with(sentinel: int) -> None:
    # Nobody would take the result of an orphan, and it would keep its cell locked.
    wait_for_sentinels([sentinel])
    os._exit(1)
