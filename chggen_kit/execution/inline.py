"""The executor that has no workers: each task is done at once, in this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chggen_kit.execution.pool import run_directly
from chggen_kit.interfaces.executor import Ended, Executor


class InlineExecutor(Executor):
    """Does a task when it is submitted: for plug-ins that only this process knows, and to look for faults."""

    def __init__(self) -> None:
        self._ended: list[Ended] = []

    @property
    def places(self) -> int:
        return 1

    @property
    def running(self) -> int:
        return len(self._ended)

    def submit(self, key: str, task: Callable[..., Any], *arguments: object) -> None:
        self._ended.append(run_directly(key, task, *arguments))

    def next_ended(self, timeout_s: float | None = None) -> list[Ended]:
        del timeout_s
        ended, self._ended = self._ended, []
        return ended

    def close(self) -> None:
        self._ended.clear()
