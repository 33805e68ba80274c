"""From a name or a file to a MACE network, without running anybody's code unasked."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from chggen_kit.errors import CheckpointError, InputError, unknown_name
from chggen_mace.options import MaceOptions
from chggen_mace.releases import RELEASES

_ENVIRONMENT = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
_KINDS = ("MACE", "ScaleShiftMACE")


@dataclass(frozen=True)
class LoadedModel:
    """A network and where it comes from.

    Attributes:
        network: an instance of `mace.modules.MACE`, without gradients of its parameters.
        name: released name, or the file's name and the beginning of its SHA-256.
        energy_frame: what its energies can be compared with.
        licence: of the weights.
    """

    network: Any
    name: str
    energy_frame: str
    licence: str


def load_model(options: MaceOptions) -> LoadedModel:
    """The network that `options` name, on its device and in its precision.

    Raises:
        InputError: when the pickle is not trusted, the energy frame of a file is not given, or the device is not there.
        CheckpointError: when the file is missing, cannot be downloaded, or holds something else.
    """
    file = Path(options.model).expanduser()
    release = None if file.is_file() else RELEASES.get(options.model)
    if release is None and not file.is_file():
        looks_like_path = file.suffix or len(file.parts) > 1
        raise CheckpointError(
            f"There is no MACE model at {file}."
            if looks_like_path
            else f"{unknown_name('MACE model', options.model, RELEASES)} Or give the path of a model file."
        )
    frame = options.energy_frame or (release.energy_frame if release else None)
    if frame is None:
        raise InputError(
            f"What the energies of {file.name} can be compared with is not known: give energy_frame, for example "
            "raw-pbe (MPtrj without corrections), r2scan, or unknown."
        )
    if not options.trust_pickle:
        raise InputError(
            f"The MACE model {options.model!r} is a pickle, which can run any code while it is loaded. If you trust "
            "where it comes from, set the option trust_pickle=true."
        )
    with _torch_defaults_kept():
        path = _download(options.model) if release else file
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        network = _unpickle(path)
    name = f"mace-{options.model}" if release else f"mace-{path.stem}-{digest[:8]}"
    return LoadedModel(_prepare(network, options), name, frame, release.licence if release else "not stated")


@contextlib.contextmanager
def _torch_defaults_kept() -> Iterator[None]:
    """Importing mace makes `torch.load` unpickle everything, for everybody in this process: undo that."""
    before = os.environ.get(_ENVIRONMENT)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_ENVIRONMENT, None)
        else:
            os.environ[_ENVIRONMENT] = before


def _download(name: str) -> Path:
    foundations = importlib.import_module("mace.calculators.foundations_models")
    try:
        with contextlib.redirect_stdout(sys.stderr):  # mace prints its progress
            return Path(foundations.download_mace_mp_checkpoint(name))
    except Exception as error:  # whatever the network raises
        raise CheckpointError(
            f"The MACE model {name!r} is not in the cache and cannot be downloaded: {type(error).__name__}: {error}. "
            "Download it where there is a network, and give the path of the file, with its energy_frame."
        ) from error


def _unpickle(path: Path) -> Any:  # noqa: ANN401 - mace has no type information
    importlib.import_module("mace.modules")
    try:
        # The user has said that the file is trusted (`trust_pickle`); MACE has no other format.
        network = torch.load(path, map_location="cpu", weights_only=False)
    except Exception as error:  # unpickling raises anything
        raise CheckpointError(
            f"{path} cannot be loaded as a MACE model: {type(error).__name__}: {error}. A model that was compiled for "
            "LAMMPS, or saved by another version of mace-torch, does not do."
        ) from error
    kind = type(network).__name__
    if kind not in _KINDS:
        raise CheckpointError(f"{path} holds a {kind}; a potential is one of {', '.join(_KINDS)}.")
    if getattr(network, "embedding_specs", None):
        raise CheckpointError(
            f"The MACE model {path} needs more than positions and elements: {', '.join(network.embedding_specs)}. Such "
            "models cannot be used here."
        )
    return network


def _prepare(network: Any, options: MaceOptions) -> Any:  # noqa: ANN401 - mace has no type information
    try:
        known = torch.device(options.device).type in ("cpu", "cuda")
        moved = network.to(options.device) if known else None
    except (RuntimeError, AssertionError) as error:  # torch without CUDA raises AssertionError
        raise InputError(f"MACE cannot run on device {options.device!r}: {error}. Use 'cpu'.") from error
    if moved is None:
        raise InputError(f"MACE cannot run on device {options.device!r}. Use 'cpu' or 'cuda'.")
    if options.dtype is not None:
        moved = moved.to(getattr(torch, options.dtype))
    for parameter in moved.parameters():
        parameter.requires_grad = False
    return moved.eval()
