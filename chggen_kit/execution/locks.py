"""Locks of folders: the operating system frees them with the process that holds them, however it ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chggen_kit.errors import RunDirectoryError


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the folder of one run, after waiting for whoever else works on it.

    Raises:
        RunDirectoryError: when nothing can be written there.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder.parent / f".{folder.name}.lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise RunDirectoryError(f"Cannot write to the folder of runs {folder.parent}: {error.strerror}.") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
