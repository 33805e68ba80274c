"""Locks of folders: the operating system frees them with the process that holds them, however it ends."""

from __future__ import annotations

import fcntl
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chggen_kit.errors import RunDirectoryError


class LockedError(RunDirectoryError):
    """A folder is in use by another process."""


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


@contextmanager
def held(folder: Path, what: str) -> Iterator[None]:
    """Hold a folder that only one process may change, made if need be.

    Args:
        folder: the folder.
        what: is in it, for messages.

    Raises:
        RunDirectoryError: when another process holds it (named with its host), it cannot be written, or its file system
            knows no locks.
    """
    path = folder / ".lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise RunDirectoryError(
            f"Cannot write to the folder {folder} of {what}: {error.strerror}. Choose another with --out, or get the "
            "right to write there."
        ) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(handle, 200, 0).decode(errors="replace").strip()
            raise LockedError(
                f"{what[:1].upper()}{what[1:]} in {folder} is in use by another process"
                f"{f' ({holder})' if holder else ''}. Wait for it to end, or choose another folder with --out."
            ) from error
        except OSError as error:
            raise RunDirectoryError(
                f"The file system of {folder} cannot lock files ({error.strerror}), so two processes could spoil each "
                "other's work. Choose a folder on another one with --out."
            ) from error
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {platform.node()}".encode(), 0)
        yield
    finally:
        os.close(handle)
