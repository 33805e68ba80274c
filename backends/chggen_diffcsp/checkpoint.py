"""Checkpoints: official run directories, and the kit's own single files for shipping. Neither executes anything."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from chggen_diffcsp.hparams import Settings, read_settings
from chggen_diffcsp.network import CSPNet
from chggen_diffcsp.unpickle import StoredTensor, read_torch_zip
from chggen_kit.errors import CheckpointError

FORMAT = "chggen-diffcsp-1"
"""Written into the kit's own files."""
_KEY = "chggen_diffcsp"
"""Key of our JSON text in the metadata of a safetensors header."""
_DECODER = "decoder."
SCHEDULES = (
    "beta_scheduler.betas",
    "beta_scheduler.alphas",
    "beta_scheduler.alphas_cumprod",
    "beta_scheduler.sigmas",
    "sigma_scheduler.sigmas",
    "sigma_scheduler.sigmas_norm",
)
"""Buffers beside the network's weights, `[T + 1]` each."""


@dataclass(frozen=True)
class Checkpoint:
    """A trained network with its noise schedules.

    Attributes:
        network: in evaluation mode, float32.
        settings: how it was set up.
        schedules: the buffers named in `SCHEDULES`, `[T + 1]`, float32.
        name: id, the name of its file.
        sha256: of the file, hexadecimal; empty for a checkpoint that was never written.
        facts: how it was trained (free form, JSON), for the kit's own files.
    """

    network: CSPNet
    settings: Settings
    schedules: Mapping[str, Tensor]
    name: str
    sha256: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    def state_dict(self) -> dict[str, Tensor]:
        """Weights and schedules under their official names."""
        weights = {_DECODER + name: tensor.detach() for name, tensor in self.network.state_dict().items()}
        return {**weights, **self.schedules}


def load_checkpoint(path: Path, *, sha256: str | None = None) -> Checkpoint:
    """Read a checkpoint.

    Args:
        path: an official run directory, a .ckpt file in one, or a .safetensors file of the kit.
        sha256: expected checksum of the file with the weights, hexadecimal; None accepts any.

    Raises:
        CheckpointError: when something is missing, damaged, of another kind, or has another checksum.
    """
    if not path.exists():
        raise CheckpointError(f"There is no checkpoint at {path}. Check the path given by the option `checkpoint`.")
    file = choose_file(path) if path.is_dir() else path
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if sha256 is not None and digest != sha256:
        raise CheckpointError(
            f"The checkpoint {file} has the SHA-256 {digest}, its model card says {sha256}. It was changed or damaged; "
            "install the package again."
        )
    if file.suffix == ".safetensors":
        settings, tensors, facts = _read_own(file)
    else:
        settings, tensors, facts = read_settings(file.parent / "hparams.yaml"), _read_official(file), {}
    return build_checkpoint(settings, tensors, file, sha256=digest, facts=facts)


def choose_file(directory: Path) -> Path:
    """The checkpoint that the published code takes: a name with 'last' in it, else the highest epoch.

    Raises:
        CheckpointError: when there is none.
    """
    files = sorted(directory.glob("*.ckpt"))
    last = [file for file in files if "last" in file.name]
    epochs = {file: int(match[1]) for file in files if (match := re.search(r"epoch=(\d+)", file.name))}
    if last:
        return last[-1]
    if epochs:
        return max(files, key=lambda file: epochs.get(file, -1))
    raise CheckpointError(
        f"{directory} holds no checkpoint of DiffCSP: no .ckpt file whose name contains 'last' or 'epoch=NUMBER'. "
        "Give a run directory, with hparams.yaml in it."
    )


def _read_official(file: Path) -> dict[str, Tensor]:
    content = read_torch_zip(file)
    state = dict.get(content, "state_dict") if isinstance(content, dict) else None
    if not isinstance(state, dict):
        raise CheckpointError(
            f"{file} holds no state_dict, so it is no checkpoint of a Lightning training. Give the run directory of "
            "a DiffCSP training."
        )
    tensors = {}
    left = file.stat().st_size
    # A pickle may have put attributes on the mapping that hide its methods.
    for name, value in dict.items(state):
        if not isinstance(name, str) or not isinstance(value, StoredTensor):
            shown = repr(name) if isinstance(name, str) else f"of type {type(name).__name__}"
            raise CheckpointError(
                f"The entry {shown} of the state_dict in {file} is not a tensor; do not use this file."
            )
        left -= value.nbytes
        if left < 0:
            raise CheckpointError(
                f"The state_dict in {file} names the same numbers over and over: it would take more memory than the "
                "file is long. Do not use this file."
            )
        tensors[name] = value.read()
    return tensors


def build_checkpoint(
    settings: Settings,
    tensors: Mapping[str, Tensor],
    file: Path,
    *,
    sha256: str = "",
    facts: Mapping[str, Any] | None = None,
) -> Checkpoint:
    """The network of `settings` with all of `tensors`, no more and no less, under their official names.

    Raises:
        CheckpointError: naming keys that are missing or not wanted, wrong shapes and types, and what is not finite.
    """
    # Made without memory and without random numbers: the weights come from the file.
    with torch.device("meta"):
        network = CSPNet(settings.network).float()
    expected = {_DECODER + name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    expected |= dict.fromkeys(SCHEDULES, (settings.timesteps + 1,))
    missing, extra = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
    if missing or extra:
        raise CheckpointError(
            f"The weights in {file} do not fit the model that its settings describe. Missing: {_listed(missing)}. Not "
            f"wanted: {_listed(extra)}. The weights and the settings come from different models; use a run directory "
            "as training wrote it."
        )
    wrong = [
        f"{name} is {tuple(tensors[name].shape)} instead of {shape}"
        for name, shape in expected.items()
        if tuple(tensors[name].shape) != shape
    ]
    wrong += [
        f"{name} is {str(tensors[name].dtype).removeprefix('torch.')} instead of float32"
        for name in expected
        if tensors[name].dtype != torch.float32
    ]
    wrong += [f"{name} is not finite" for name in expected if not bool(torch.isfinite(tensors[name]).all())]
    if wrong:
        raise CheckpointError(
            f"The weights in {file} cannot be used: {_listed(wrong)}. They belong to other settings, or the training "
            "diverged; use a run directory as training wrote it."
        )
    weights = {name.removeprefix(_DECODER): tensors[name] for name in expected if name.startswith(_DECODER)}
    network.load_state_dict(weights, assign=True)
    return Checkpoint(
        network=network.eval(),
        settings=settings,
        schedules={name: tensors[name] for name in SCHEDULES},
        name=file.name if file.suffix == ".safetensors" else f"{file.parent.resolve().name}/{file.name}",
        sha256=sha256,
        facts=facts or {},
    )


def _listed(items: list[str]) -> str:
    more = f" and {len(items) - 8} more" if len(items) > 8 else ""
    return (", ".join(items[:8]) or "none") + more


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write `checkpoint` as one safetensors file of the kit, through a temporary name."""
    from safetensors.torch import save

    header = {"format": FORMAT, "settings": checkpoint.settings.to_dict(), "facts": dict(checkpoint.facts)}
    tensors = {name: tensor.cpu().contiguous() for name, tensor in checkpoint.state_dict().items()}
    temporary = path.with_name(f".{path.name}.partial")
    # One key: safetensors orders several at random, and equal checkpoints would be unequal files.
    temporary.write_bytes(save(tensors, metadata={_KEY: json.dumps(header, sort_keys=True)}))
    temporary.replace(path)


def _read_own(file: Path) -> tuple[Settings, dict[str, Tensor], Mapping[str, Any]]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    content = file.read_bytes()
    try:
        tensors = load(content)
    except SafetensorError as error:
        raise CheckpointError(
            f"The checkpoint {file} is not a readable safetensors file ({error}). It is probably truncated or of "
            "another kind; copy or download it again."
        ) from error
    # The library has parsed the frame of the header, so it is well formed.
    size = int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8 : 8 + size]).get("__metadata__") or {}
    try:
        header = json.loads(metadata.get(_KEY, "{}"))
        if header.get("format") != FORMAT:
            raise CheckpointError(
                f"{file} is a safetensors file of the format {header.get('format')!r}, not {FORMAT!r}: the weights of "
                "another model, or of another version of chggen-kit."
            )
        return Settings.from_dict(header["settings"]), tensors, dict(header["facts"])
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f"The header of the checkpoint {file} is incomplete or not valid ({error!r}). It was written by another "
            "version of chggen-kit or edited by hand; download it again."
        ) from error
