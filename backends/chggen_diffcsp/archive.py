"""The zip files that `torch.save` writes: one pickle, and stored numbers beside it."""

from __future__ import annotations

import zipfile
from pathlib import Path

import torch
from torch import Tensor

from chggen_kit.errors import CheckpointError

_MAX_PICKLE_BYTES = 8 * 2**20
"""A checkpoint's pickle holds names and shapes, numbers lie beside it: a few hundred kilobytes are usual."""


class TorchZip:
    """The zip file: one pickle, and stored numbers beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with zipfile.ZipFile(path) as archive:
                entries = {entry.filename: entry for entry in archive.infolist()}
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise CheckpointError(
                f"{path} is not a file that torch.save wrote since PyTorch 1.6 ({error}). It is probably truncated or "
                "of another kind; copy or download it again."
            ) from error
        pickles = [name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise CheckpointError(f"{path} is a zip file, but not one that torch.save wrote: it holds no data.pkl.")
        self._prefix = pickles[0].removesuffix("data.pkl")
        self._entries = entries
        if "byteorder" in self._names() and self._read("byteorder", 16) != b"little":
            raise CheckpointError(f"{path} was written on a big-endian machine, which is not supported.")

    def _names(self) -> set[str]:
        return {name.removeprefix(self._prefix) for name in self._entries}

    def _read(self, name: str, most: int) -> bytes:
        entry = self._entries.get(self._prefix + name)
        if entry is None:
            raise CheckpointError(f"{self.path} lacks its part {name}. It is damaged; copy or download it again.")
        # torch.save never compresses; a compressed entry could unpack to any size.
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > most:
            raise CheckpointError(
                f"The part {name} of {self.path} is compressed, or larger ({entry.file_size} bytes) than the {most} "
                "that it should have. The file is damaged or was not written by torch.save."
            )
        try:
            with zipfile.ZipFile(self.path) as archive:
                return archive.read(entry)
        except (zipfile.BadZipFile, OSError, EOFError) as error:
            raise CheckpointError(f"{self.path} is damaged ({error}); copy or download it again.") from error

    def pickle_bytes(self) -> bytes:
        """The pickle."""
        return self._read("data.pkl", _MAX_PICKLE_BYTES)

    def numbers(self, key: str, size: int, dtype: torch.dtype) -> Tensor:
        """The `size` numbers stored under `key`, flat."""
        wanted = size * dtype.itemsize
        content = self._read(f"data/{key}", wanted)
        if len(content) != wanted:
            raise CheckpointError(
                f"{self.path} holds {len(content)} bytes where {wanted} should be. It is damaged; copy or download it "
                "again."
            )
        if not content:
            return torch.empty(0, dtype=dtype)
        return torch.frombuffer(bytearray(content), dtype=dtype)
