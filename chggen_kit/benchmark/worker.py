"""What a worker process does: one cell, and nobody else on it meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chggen_kit.benchmark.cells import Cell
from chggen_kit.benchmark.outcome import read_outcome, run_cell
from chggen_kit.execution.locks import alone
from chggen_kit.interfaces import Progress
from chggen_kit.plugins import Registry, get_registry
from chggen_kit.workflow.config import GenerateConfig, InpaintConfig


@dataclass(frozen=True)
class Job:
    """A cell in plain values, for another process.

    Attributes:
        cell: its hash.
        identity: what that is a hash of.
        verb: of the run.
        config: of the run, as JSON.
        folder: its run directory.
    """

    cell: str
    identity: Mapping[str, Any]
    verb: str
    config: str
    folder: Path

    @classmethod
    def of(cls, cell: Cell, folder: Path) -> Job:
        """The job of a cell."""
        return cls(cell.name, cell.identity, cell.config.verb, cell.config.model_dump_json(), folder)


def do_job(job: Job) -> None:
    """Do a cell, or what is left of it; its outcome is in its folder.

    Raises:
        ChggenError: as the run.
    """
    work_on(job, get_registry())


def work_on(job: Job, registry: Registry, progress: Progress | None = None) -> None:
    """As `do_job`, with these plug-ins."""
    kind = GenerateConfig if job.verb == "generate" else InpaintConfig
    with alone(job.folder):
        if read_outcome(job.folder, job.cell) is None:
            config = kind.model_validate_json(job.config)
            run_cell(job.cell, job.identity, config, job.folder, registry, progress)
