"""What a worker does: one shard, an ordinary run, with a file at its end that says what came of it."""

from __future__ import annotations

import errno
import json
import os
import platform
import sqlite3
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from chggen_kit.errors import RunDirectoryError
from chggen_kit.execution.locks import alone
from chggen_kit.interfaces import Progress
from chggen_kit.plugins import Registry, get_registry
from chggen_kit.workflow.rundir import RunDirectory, read_json, write_atomically

SHARDS_FOLDER = "shards"
DONE_FILE = "shard.json"
"""In the run directory of a shard; it is written last, and is the proof that the shard is done."""
SITTINGS_FILE = ".sittings.jsonl"
"""One line when a worker begins and one when it ends: which worker was on it, and how often."""
_STORAGE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.EFBIG}
_SQLITE_STORAGE = {"SQLITE_FULL", "SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_IOERR"}


@dataclass(frozen=True)
class ShardJob:
    """A shard in plain values, for another process.

    Attributes:
        name: of the shard.
        verb: of the run.
        config: of the run, as JSON.
        parts: what its parts resolved to when it was planned.
        folder: its run directory.
    """

    name: str
    verb: str
    config: str
    parts: Mapping[str, Any]
    folder: Path


class ShardOutcome(BaseModel):
    """What came of a shard.

    Attributes:
        shard: its name.
        structures: all of them.
        ok: those that came through.
        candidates: those of them that are symmetric.
        outcomes: how many structures ended how.
        cpu_seconds, wall_seconds: of all pieces of work, in s, sittings that were cut short included as far as they
            finished pieces.
        peak_memory_MB: largest of any piece, in 10^6 bytes.
        network_calls: evaluations of the score model, each for one batch.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    shard: str
    structures: int
    ok: int
    candidates: int
    outcomes: Mapping[str, int] = {}
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    peak_memory_MB: float = 0.0
    network_calls: int = 0


class StorageProblem(BaseModel):
    """Returned in place of an outcome when the shard could not be written: no fault of its own.

    Attributes:
        what: in words.
    """

    model_config = ConfigDict(frozen=True)

    what: str


def shard_folder(root: Path, name: str) -> Path:
    """Run directory of a shard; folders of at most 256 entries each, since file systems slow down with more."""
    return root / SHARDS_FOLDER / name[1:3] / name


def read_outcome(folder: Path, name: str) -> ShardOutcome | None:
    """What came of the shard in `folder`; None when it is not done.

    Raises:
        RunDirectoryError: when the file is damaged, or that of another shard.
    """
    path = folder / DONE_FILE
    if not path.is_file():
        return None
    plain = read_json(path)
    try:
        found = ShardOutcome.model_validate(plain)
    except ValueError as error:
        raise RunDirectoryError(f"{path} is damaged. Delete it to have it made again from its run.") from error
    if found.shard != name:
        raise RunDirectoryError(f"{path} belongs to the shard {found.shard}. Delete its folder to have it done again.")
    return found


def do_shard(job: ShardJob) -> ShardOutcome | StorageProblem:
    """Do a shard, or what is left of it.

    Raises:
        ChggenError: as the run.
    """
    return work_on(job, get_registry())


def work_on(job: ShardJob, registry: Registry, progress: Progress | None = None) -> ShardOutcome | StorageProblem:
    """As `do_shard`, with these plug-ins. The worker that comes second waits, and finds the work done."""
    try:
        with alone(job.folder):
            found = read_outcome(job.folder, job.name)
            if found is None:
                found = _run(job, registry, progress)
            return found
    except (OSError, sqlite3.Error, RunDirectoryError) as error:
        problem = storage_problem(error)
        if problem is None:
            raise
        return StorageProblem(what=f"{job.folder}: {problem}")


def storage_problem(error: BaseException) -> str | None:
    """Why nothing can be written, when that is what `error` tells; else None."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _STORAGE:
            return os.strerror(cause.errno or 0)
        if isinstance(cause, sqlite3.Error):
            name = getattr(cause, "sqlite_errorname", "") or ""
            if any(name.startswith(one) for one in _SQLITE_STORAGE):
                return str(cause)
        cause = cause.__cause__
    return None


def _run(job: ShardJob, registry: Registry, progress: Progress | None) -> ShardOutcome:
    # Pulls in torch and pymatgen, which the command line does without.
    from chggen_kit.execution.cost import cost_of
    from chggen_kit.workflow.config import GenerateConfig, InpaintConfig
    from chggen_kit.workflow.pipeline import run_generate, run_inpaint
    from chggen_kit.workflow.records import OK

    job.folder.mkdir(parents=True, exist_ok=True)
    if RunDirectory(job.folder).run_file.exists():
        _check_parts(job)
    _note(job.folder, "begin")
    if job.verb == "generate":
        result = run_generate(
            GenerateConfig.model_validate_json(job.config), job.folder, registry=registry, progress=progress
        )
    else:
        result = run_inpaint(
            InpaintConfig.model_validate_json(job.config), job.folder, registry=registry, progress=progress
        )
    _check_parts(job)
    excluded = result.config.excluded_groups
    outcome = ShardOutcome(
        shard=job.name,
        structures=len(result.records),
        ok=sum(record.outcome == OK for record in result.records),
        candidates=sum(record.is_symmetric(excluded) for record in result.records),
        outcomes=dict(sorted(Counter(record.outcome for record in result.records).items())),
        **cost_of(job.folder),
    )
    write_atomically(job.folder / DONE_FILE, outcome.model_dump_json() + "\n")
    _note(job.folder, "end")
    return outcome


def _check_parts(job: ShardJob) -> None:
    """Refuse weights that are not those of the plan: a file can be replaced under the same name.

    Raises:
        RunDirectoryError: naming what differs.
    """
    resolved = read_json(RunDirectory(job.folder).run_file)["identity"]["resolved"]
    planned = json.loads(json.dumps(dict(job.parts)))
    differing = [name for name, value in planned.items() if resolved.get(name) != value]
    if differing:
        raise RunDirectoryError(
            f"The shard {job.name} was planned with another {', '.join(differing)} than its worker found. Put the "
            f"weights back that were there, delete {job.folder}, and retry it; or begin another campaign."
        )


def _note(folder: Path, event: str) -> None:
    line = {"event": event, "host": platform.node(), "pid": os.getpid()}
    with (folder / SITTINGS_FILE).open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")
