"""Checkpoints: one safetensors file that holds the weights, and all that is needed to use them, in its header."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from chggen_kit.errors import CheckpointError
from chggen_kit.training.checks import check_number
from chggen_nequip.network import MAX_ATOMIC_NUMBER, Architecture, ScoreNetwork

FORMAT = "chggen-nequip-1"
"""Written into every file; a change of the format or of what a weight means changes it."""
_KEY = "chggen_nequip"
"""Key of our JSON text in the metadata of the safetensors header."""


@dataclass(frozen=True)
class Checkpoint:
    """A trained network and its facts.

    Attributes:
        network: in evaluation mode, float32.
        sigma_min: smallest and
        sigma_max: largest noise level in Å that it was trained on.
        elements: atomic numbers that it was trained on.
        max_atoms: atoms of the largest crystal that it was trained on.
        facts: how it was trained (free form, JSON).
        sha256: of the file, hexadecimal; empty for a checkpoint that was never written.
    """

    network: ScoreNetwork
    sigma_min: float
    sigma_max: float
    elements: frozenset[int]
    max_atoms: int
    facts: Mapping[str, Any] = field(default_factory=dict)
    sha256: str = ""


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write `checkpoint` to `path`, through a temporary name."""
    from safetensors.torch import save

    header = {
        "format": FORMAT,
        "architecture": checkpoint.network.architecture.to_dict(),
        "sigma_min": checkpoint.sigma_min,
        "sigma_max": checkpoint.sigma_max,
        "elements": sorted(checkpoint.elements),
        "max_atoms": checkpoint.max_atoms,
        "facts": dict(checkpoint.facts),
    }
    # One key: safetensors orders several at random, and equal checkpoints would be unequal files.
    metadata = {_KEY: json.dumps(header, sort_keys=True)}
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.network.state_dict().items()}
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_bytes(save(weights, metadata=metadata))
    temporary.replace(path)


def load_checkpoint(path: Path, *, sha256: str | None = None) -> Checkpoint:
    """Read a checkpoint, executing nothing that it holds.

    Args:
        path: the `.safetensors` file.
        sha256: expected checksum, hexadecimal; None accepts any.

    Raises:
        CheckpointError: when the file is missing, damaged, of another format or architecture, holds other weights
            than the architecture needs or weights that are not finite float32 numbers, or has another checksum.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    if not path.is_file():
        raise CheckpointError(f"There is no checkpoint at {path}. Check the path given by the option `checkpoint`.")
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if sha256 is not None and digest != sha256:
        raise CheckpointError(
            f"The checkpoint {path} has the SHA-256 {digest}, its model card says {sha256}. It was changed or damaged; "
            "install the package again."
        )
    try:
        weights = load(content)
    except SafetensorError as error:
        raise CheckpointError(
            f"The checkpoint {path} is not a readable safetensors file ({error}). It is probably truncated or of "
            "another kind; copy or download it again."
        ) from error
    header = _header(content, path)
    try:
        _check_header(header)
        architecture = Architecture.from_dict(header["architecture"])
        with warnings.catch_warnings():
            # e3nn 0.4.4 compiles modules in a way that newer releases of torch comment on.
            warnings.filterwarnings("ignore", message="The TorchScript type system", category=UserWarning)
            # Whatever PyTorch's default precision is, a checkpoint is float32.
            network = ScoreNetwork(architecture).float()
        result = Checkpoint(
            network=network,
            sigma_min=float(header["sigma_min"]),
            sigma_max=float(header["sigma_max"]),
            elements=frozenset(header["elements"]),
            max_atoms=header["max_atoms"],
            facts=header["facts"],
            sha256=digest,
        )
    except (KeyError, TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        raise CheckpointError(
            f"The header of the checkpoint {path} is incomplete or not valid ({error!r}). It was written by another "
            "version of chggen-kit or edited by hand; train or download it again."
        ) from error
    _load_strictly(network, weights, path)
    network.eval()
    return result


def _header(content: bytes, path: Path) -> dict[str, Any]:
    """Our JSON object in a safetensors header (whose frame the library has parsed, so it is well formed)."""
    size = int.from_bytes(content[:8], "little")
    text = json.loads(content[8 : 8 + size]).get("__metadata__", {}).get(_KEY, "{}")
    try:
        header: dict[str, Any] = dict(json.loads(text))
    except (ValueError, TypeError, RecursionError) as error:
        raise CheckpointError(
            f"The header of the checkpoint {path} is not valid JSON ({error}). It was edited by hand; copy or download "
            "the file again."
        ) from error
    if header.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} is a safetensors file of the format {header.get('format')!r}, not {FORMAT!r}: the weights of "
            "another model, or of another version of chggen-kit. Give a file written by `chggen train nequip`."
        )
    return header


def _check_header(header: dict[str, Any]) -> None:
    """Raise `KeyError`, `TypeError`, `ValueError` or `OverflowError` for what training would not have written."""
    if not isinstance(header["architecture"], dict) or not isinstance(header["facts"], dict):
        raise TypeError("architecture and facts must be objects")
    check_number("sigma_min", header["sigma_min"], above=0)
    check_number("sigma_max", header["sigma_max"], above=header["sigma_min"])
    check_number("max_atoms", header["max_atoms"], whole=True, low=1)
    if not isinstance(header["elements"], list) or not header["elements"]:
        raise TypeError(f"elements must be a list of atomic numbers, not {header['elements']!r}")
    for element in header["elements"]:
        check_number("an atomic number", element, whole=True, low=1, high=MAX_ATOMIC_NUMBER)


def _load_strictly(network: ScoreNetwork, weights: Mapping[str, Any], path: Path) -> None:
    expected = network.state_dict()
    missing, extra = sorted(expected.keys() - weights.keys()), sorted(weights.keys() - expected.keys())
    shapes = [
        f"{name} is {tuple(weights[name].shape)} instead of {tuple(expected[name].shape)}"
        for name in sorted(expected.keys() & weights.keys())
        if weights[name].shape != expected[name].shape
    ]
    if missing or extra or shapes:
        raise CheckpointError(
            f"The weights in {path} do not fit the architecture that its header names: missing {missing[:5]}, "
            f"not wanted {extra[:5]}, wrong shapes {shapes[:5]}. The file was put together from different models; "
            "use the file as training wrote it."
        )
    unusable = [
        f"{name} is {str(weights[name].dtype).removeprefix('torch.')}"
        if weights[name].dtype != expected[name].dtype
        else f"{name} is not finite"
        for name in sorted(expected)
        if weights[name].dtype != expected[name].dtype or not bool(torch.isfinite(weights[name]).all())
    ]
    if unusable:
        raise CheckpointError(
            f"The weights in {path} are not finite float32 numbers: {', '.join(unusable[:5])}. They were converted, "
            "damaged, or saved by a training that diverged; use the file as training wrote it, or train again."
        )
    network.load_state_dict(weights)
