"""The executor `local`: worker processes on this machine, and nothing else to install or to start."""

from __future__ import annotations

import os

from pydantic import BaseModel, ConfigDict, Field

from chggen_kit.execution.pool import WorkerPool


class LocalOptions(BaseModel):
    """Options of the executor `local`.

    Attributes:
        workers: processes; None for one a device where torch finds any, else one a core that this process may use.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    workers: int | None = Field(default=None, ge=1)


def build(options: LocalOptions) -> WorkerPool:
    """The executor; its processes begin with their first task."""
    return WorkerPool(options.workers or default_workers())


def default_workers() -> int:
    """One worker a device, where there are any, else one a core."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.device_count()
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
