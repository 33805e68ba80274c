"""Where tasks run: worker processes here, or on the nodes of a cluster."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Fate = Literal["done", "failed", "died", "lost"]


@dataclass(frozen=True)
class Ended:
    """A task that has ended.

    Attributes:
        key: of the task.
        value: what it returned; None unless it is done.
        reason: why it is not done; None when it is.
        fate: `done`; `failed` with an error; `died` when its worker process died under it, which can be the task's
            own fault; `lost` when the place where it ran went away (a node, or an allocation at its end), which is not.
    """

    key: str
    value: Any
    reason: str | None
    fate: Fate = "done"


class Executor(ABC):
    """Runs tasks in other processes; who uses it keeps the record of them and decides what is tried again.

    Laws: every task that was submitted ends exactly once in `next_ended`, whatever becomes of its worker, unless
    `close` comes first; a worker that dies takes no other task with it than those of its own place; tasks may end in
    any order; nothing is tried again here. One thread uses an executor. After `close` no worker computes on for long:
    those here are ended, those of a cluster are cancelled.

    A task is a function of a module, which workers import by its name, with arguments that can be pickled.
    """

    @property
    @abstractmethod
    def places(self) -> int:
        """Tasks that are worth submitting at a time, at least 1. It may change while workers come and go."""

    @property
    @abstractmethod
    def running(self) -> int:
        """Tasks submitted that have not ended."""

    @property
    def has_room(self) -> bool:
        """Whether another task can be submitted."""
        return self.running < self.places

    @property
    def is_idle(self) -> bool:
        """Whether nothing is running."""
        return self.running == 0

    @abstractmethod
    def submit(self, key: str, task: Callable[..., Any], *arguments: object) -> None:
        """Begin a task; there must be room.

        Args:
            key: that `Ended` will name; of no other task that is running.
            task: a function of a module.
            arguments: of it.

        Raises:
            ChggenError: when no worker can be had at all.
        """

    @abstractmethod
    def next_ended(self, timeout_s: float | None = None) -> list[Ended]:
        """Tasks that have ended, after waiting for at least one.

        Args:
            timeout_s: after which it is empty; None to wait for as long as it takes.
        """

    @abstractmethod
    def close(self) -> None:
        """End the workers, whatever they are doing; safe to call twice."""
