"""The protocol between the kit and a worker: frames of a JSON header and tensors in the safetensors format.

A frame is the four bytes `CHGW`, the lengths of header and body (4 and 8 bytes, most significant first), the header
(JSON, UTF-8) and the body (safetensors, or nothing). Nothing that is read can run code: there is no pickle.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from chggen_kit.errors import PluginError

PROTOCOL = 1
"""Raised with every change that an older side would misunderstand."""
MAGIC = b"CHGW"
_LENGTHS = struct.Struct(">IQ")
_MAX_HEADER, _MAX_BODY = 1 << 26, 1 << 40
_MAX_NOISE = 1 << 20
"""Bytes that may precede the first frame: what an interpreter prints before it runs our code."""

Read = Callable[[int], bytes]
"""Reads exactly so many bytes; raises `EOFError` where the stream ends before."""


def pack(header: Mapping[str, Any], tensors: Mapping[str, Tensor] | None = None) -> bytes:
    """One frame of a header (plain JSON) and tensors, which are copied to the CPU."""
    from safetensors.torch import save

    text = json.dumps(header).encode()
    # Copies, because the format refuses tensors that share memory.
    plain = {name: t.detach().to("cpu", copy=True).contiguous() for name, t in (tensors or {}).items()}
    body = save(plain) if plain else b""
    return b"".join((MAGIC, _LENGTHS.pack(len(text), len(body)), text, body))


def unpack(read: Read, *, after_noise: bool = False) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and tensors of the next frame.

    Args:
        read: gives the bytes of the stream.
        after_noise: skip what comes before the frame.

    Raises:
        EOFError: when the stream ends.
        PluginError: when what comes is no frame.
    """
    start = read(len(MAGIC))
    skipped = 0
    while after_noise and start != MAGIC and skipped < _MAX_NOISE:
        start = start[1:] + read(1)
        skipped += 1
    if start != MAGIC:
        raise PluginError(f"The channel to the worker holds {start!r} where a frame should begin.")
    header_length, body_length = _LENGTHS.unpack(read(_LENGTHS.size))
    if header_length > _MAX_HEADER or body_length > _MAX_BODY:
        raise PluginError(f"The channel to the worker announces a frame of {header_length} + {body_length} bytes.")
    text, body = read(header_length), read(body_length)
    try:
        return dict(json.loads(text)), _tensors(body)
    except Exception as error:  # the safetensors library raises an error of its own, which is no ValueError
        raise PluginError(f"The channel to the worker holds a damaged frame: {error}.") from error


def _tensors(body: bytes) -> dict[str, Tensor]:
    if not body:
        return {}
    from safetensors.torch import load

    tensors: dict[str, Tensor] = load(body)
    return tensors
