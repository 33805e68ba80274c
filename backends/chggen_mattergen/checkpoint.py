"""Reads a model folder in the layout of the released models: `config.yaml` and, somewhere below, `last.ckpt`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from chggen_kit.errors import CheckpointError
from chggen_mattergen.config import build_diffusion_module, read_config

_PREFIX = "diffusion_module."
_CHUNK = 1 << 22
_GLOBAL = re.compile(r"\bGLOBAL ([\w.]+)")
"""The class or function in torch's message about a pickle that it refuses."""


@dataclass(frozen=True)
class Checkpoint:
    """A network with its noise processes, as MatterGen has them.

    Attributes:
        module: MatterGen's `DiffusionModule`, in evaluation mode, float32.
        name: of the folder.
        sha256: of the file with the weights, hexadecimal.
    """

    module: Any
    name: str
    sha256: str


def find_weights(folder: Path) -> Path:
    """The file `last.ckpt` below `folder`.

    Raises:
        CheckpointError: when there is none, or several.
    """
    if not folder.is_dir():
        raise CheckpointError(
            f"{folder} is not a folder. Give the folder of a MatterGen model, which holds `config.yaml` and "
            "`checkpoints/last.ckpt`, or the name of a released model."
        )
    found = sorted(path for path in folder.rglob("last.ckpt") if path.is_file())
    if not found or not (folder / "config.yaml").is_file():
        missing = " and ".join(
            name
            for name, there in (("config.yaml", (folder / "config.yaml").is_file()), ("last.ckpt", bool(found)))
            if not there
        )
        raise CheckpointError(
            f"{folder} holds no {missing}. A MatterGen model has `config.yaml` and `checkpoints/last.ckpt`."
        )
    if len(found) > 1:
        names = ", ".join(str(path.relative_to(folder)) for path in found)
        raise CheckpointError(f"{folder} holds several files last.ckpt ({names}). Keep the one that is meant.")
    return found[0]


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read the model in `folder`, executing nothing that its files hold.

    Raises:
        CheckpointError: when a file is missing, damaged, or of another kind; when the weights do not fit the network.
        PluginError: when the package `mattergen` cannot be used.
    """
    path = find_weights(folder)
    weights = _read_weights(path)
    config = folder / "config.yaml"
    module = build_diffusion_module(read_config(config), config)
    _load_strictly(module, weights, path)
    module.eval().requires_grad_(requires_grad=False)
    return Checkpoint(module, folder.resolve().name, sha256_of(path))


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_CHUNK):
            digest.update(block)
    return digest.hexdigest()


def _read_weights(path: Path) -> dict[str, Tensor]:
    # Git LFS leaves a short text in place of a file that was not fetched.
    try:
        with path.open("rb") as file:
            begin = file.read(40)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error}.") from error
    if begin.startswith(b"version https://git-lfs"):
        raise CheckpointError(
            f"{path} is a pointer of Git LFS, not the weights. Run `git lfs pull`, or download the file."
        )
    try:
        # Mapped, so that what is not used (the optimiser's state) is not read.
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except UnpicklingError as error:
        # Torch's own message says first how to switch the protection off, so only the name is taken from it.
        named = _GLOBAL.search(str(error))
        raise CheckpointError(
            f"{path} holds more than numbers and plain data{f' ({named[1]})' if named else ''}, and reading that would "
            "execute code it brings. Ask its author for a file saved with plain data only."
        ) from None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{path} is not a readable checkpoint ({str(error).splitlines()[0]}). It is probably truncated or of "
            "another kind; copy or download it again."
        ) from error
    state = content.get("state_dict") if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path} has no table of weights (`state_dict`): it is no checkpoint of MatterGen.")
    return {str(name): value for name, value in state.items()}


def _load_strictly(module: torch.nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    given = {name.removeprefix(_PREFIX): value for name, value in weights.items()}
    expected = module.state_dict()
    missing = sorted(set(expected) - set(given))
    extra = sorted(set(given) - set(expected))
    shapes = sorted(name for name in set(expected) & set(given) if expected[name].shape != given[name].shape)
    if missing or extra or shapes:
        raise CheckpointError(
            f"The weights in {path} do not fit the network that its config.yaml describes: missing {missing[:5]}, not "
            f"wanted {extra[:5]}, wrong shapes {shapes[:5]}. The two files belong to different models."
        )
    bad = sorted(name for name, value in given.items() if not bool(torch.isfinite(value).all()))
    if bad:
        raise CheckpointError(
            f"The weights in {path} are not finite: {', '.join(bad[:5])}. They were damaged, or the training diverged."
        )
    module.load_state_dict(given, strict=True)
