"""The run directory: one owner at a time, finished pieces of work that survive a kill, and one configuration."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chggen_kit.errors import RunDirectoryError

_MISSING = "(not set)"


def write_atomically(path: Path, text: str) -> None:
    """Write `text` so that `path` holds either all of it or what it held before, also after a loss of power."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    publish(temporary, path)


def publish(temporary: Path, path: Path) -> None:
    """Rename a finished temporary file to `path`, and make the rename itself durable."""
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_json(path: Path) -> Any:  # noqa: ANN401  JSON can hold anything
    """Content of a JSON file.

    Raises:
        RunDirectoryError: when it cannot be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise RunDirectoryError(
            f"Cannot read {path}: {error}. The file was changed from outside; delete it to have its part of the work "
            "done again, or choose another output directory."
        ) from error


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{name}."))
        else:
            flat[name] = value
    return flat


def _short(value: object) -> str:
    text = json.dumps(value) if value != _MISSING else _MISSING
    return text if len(text) <= 60 else f"{text[:57]}..."


class RunDirectory:
    """A directory that holds one run.

    `run.json` is written first and says what the run is; `shards/` holds one file for each finished piece of work;
    a temporary name marks what is not finished, and is cleared when the run goes on.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.shards = path / "shards"
        self.run_file = path / "run.json"
        self.database = path / "results.db"
        self.summary = path / "summary.json"
        self.judgement = path / "judgement.csv"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory; the operating system frees it when the process ends, however it ends.

        Raises:
            RunDirectoryError: when another process holds it, or it cannot be made.
        """
        try:
            self.shards.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise RunDirectoryError(f"Cannot write to the output directory {self.path}: {error.strerror}.") from error
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise RunDirectoryError(
                    f"The output directory {self.path} is in use by another process. Wait for it to end, or choose "
                    "another directory with --out."
                ) from error
            yield
        finally:
            os.close(handle)

    def check_free(self) -> None:
        """Refuse a directory that holds something else than a run.

        Raises:
            RunDirectoryError: when the path is a file, or a non-empty directory without `run.json`.
        """
        if self.path.exists() and not self.path.is_dir():
            raise RunDirectoryError(f"The output directory {self.path} is a file. Choose another with --out.")
        if not self.path.is_dir() or self.run_file.exists():
            return
        strangers = sorted(entry.name for entry in self.path.iterdir() if not entry.name.startswith("."))
        if strangers and strangers != ["shards"]:
            raise RunDirectoryError(
                f"The output directory {self.path} holds other files ({', '.join(strangers[:3])}) and no run.json, so "
                "it is not a run of this kit. Choose an empty or a new directory with --out."
            )

    def open(self, description: Mapping[str, Any]) -> dict[str, Any]:
        """Start the run, or go on with it; returns what `run.json` holds.

        `description["identity"]` must be equal to that of the run that the directory holds.

        Raises:
            RunDirectoryError: when the directory belongs to another run; the message names the keys that differ.
        """
        self.shards.mkdir(exist_ok=True)
        # SQLite keeps a journal beside a database that is being written: `.results.db.PID.tmp-journal`.
        for left_over in (*self.path.glob(".*.tmp*"), *self.shards.glob(".*.tmp*")):
            left_over.unlink()
        if not self.run_file.exists():
            write_atomically(self.run_file, json.dumps(description, indent=2, sort_keys=True) + "\n")
        stored = read_json(self.run_file)
        theirs = flatten(stored["identity"]) if isinstance(stored, dict) and "identity" in stored else {}
        # Through JSON, so that tuples and lists compare as what was stored.
        ours = flatten(json.loads(json.dumps(description["identity"])))
        differing = [key for key in sorted({*theirs, *ours}) if theirs.get(key, _MISSING) != ours.get(key, _MISSING)]
        if differing:
            listing = "; ".join(
                f"{key} is {_short(theirs.get(key, _MISSING))} there and {_short(ours.get(key, _MISSING))} here"
                for key in differing[:8]
            )
            raise RunDirectoryError(
                f"The output directory {self.path} belongs to another run: {listing}. Choose another directory with "
                "--out, or repeat the command that started that run to go on with it."
            )
        result: dict[str, Any] = stored
        return result

    def shard_path(self, name: str) -> Path:
        """File of the finished piece of work `name`."""
        return self.shards / f"{name}.json"

    def read_shard(self, name: str, run_hash: str) -> dict[str, Any] | None:
        """A finished piece of work, or None.

        Raises:
            RunDirectoryError: when the file is damaged or comes from another run.
        """
        path = self.shard_path(name)
        if not path.exists():
            return None
        content = read_json(path)
        if not isinstance(content, dict) or content.get("run") != run_hash:
            raise RunDirectoryError(
                f"{path} does not belong to this run. Delete it to have its part of the work done again."
            )
        return content

    def write_shard(self, name: str, run_hash: str, content: Mapping[str, Any]) -> None:
        """Store a finished piece of work."""
        write_atomically(self.shard_path(name), json.dumps({"run": run_hash, **content}) + "\n")
