"""A directory of finished pieces for one evaluation: a killed one goes on, and ends as if it had never been killed."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from chggen_kit.interfaces import Progress
from chggen_kit.workflow.config import config_hash
from chggen_kit.workflow.rundir import RunDirectory
from chggen_kit.workflow.runner import Runner, torch_threads

_LOG = logging.getLogger(__name__)


@contextmanager
def pieces(
    path: Path,
    identity: Mapping[str, Any],
    *,
    versions: Mapping[str, str] | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Iterator[Runner]:
    """Hold the directory `path` and run pieces of work in it.

    Args:
        path: made where it does not exist; holds `run.json` and one file in `shards/` for each finished piece.
        identity: everything that the result depends on, plain JSON; pieces of another identity are never mixed in.
        versions: of the software, for the record.
        threads: of torch while pieces run; those of the first sitting are kept.
        progress: told how far the work is.

    Raises:
        RunDirectoryError: when `path` belongs to another run, to another process, or holds other files.
    """
    directory = RunDirectory(path)
    directory.check_free()
    plain: dict[str, Any] = json.loads(json.dumps(identity))
    description = {
        "identity": plain,
        "versions": dict(versions or {}),
        "threads": threads or torch.get_num_threads(),
    }
    with directory.locked():
        going_on = directory.run_file.exists()
        stored = directory.open(description)
        if going_on:
            _LOG.info("Going on with %s.", path)
        with torch_threads(stored["threads"]):
            yield Runner(directory, config_hash(plain), progress)
