"""Frames and plain descriptions come back as they were."""

from __future__ import annotations

import io
import math
from pathlib import Path

import pytest
import torch

from chggen_kit.errors import PluginError
from chggen_kit.interfaces import PotentialInfo
from chggen_kit.isolated.frames import pack, unpack
from chggen_kit.isolated.plain import (
    description,
    error_from_plain,
    error_to_plain,
    from_description,
    from_plain,
    to_plain,
)


def reader(data: bytes) -> object:
    stream = io.BytesIO(data)

    def read(count: int) -> bytes:
        part = stream.read(count)
        if len(part) < count:
            raise EOFError
        return part

    return read


def test_tensors_keep_their_bits() -> None:
    base = torch.linspace(0, 1, 12, dtype=torch.float64).reshape(3, 4)
    tensors = {
        "strided": base.t(),
        "shared": base[1:],
        "nan": torch.tensor([math.nan, math.inf, -0.0]),
        "whole": torch.arange(5),
        "mask": torch.tensor([True, False]),
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(1.5),
    }
    header, result = unpack(reader(pack({"a": [1, math.inf, 0.1]}, tensors)))  # type: ignore[arg-type]  # a reader
    assert header == {"a": [1, math.inf, 0.1]}
    assert sorted(result) == sorted(tensors)
    for name, tensor in tensors.items():
        assert result[name].dtype == tensor.dtype
        torch.testing.assert_close(result[name], tensor, rtol=0, atol=0, equal_nan=True)


def test_a_cut_frame_is_the_end() -> None:
    frame = pack({"a": 1}, {"x": torch.ones(3)})
    with pytest.raises(EOFError):
        unpack(reader(frame[:-1]))  # type: ignore[arg-type]  # a reader


def test_a_body_that_is_no_safetensors_is_refused() -> None:
    frame = pack({"a": 1}, {"x": torch.ones(3)})
    with pytest.raises(PluginError, match="damaged frame"):
        unpack(reader(frame[:30] + bytes(len(frame) - 30)))  # type: ignore[arg-type]  # a reader


def test_plain_values_keep_their_types() -> None:
    value = {"a": (1, 2.5), "b": frozenset({3, 1}), "c": [None, True, "x"], "d": {"e": ()}}
    assert from_plain(to_plain(value)) == value
    assert to_plain(Path("a/b")) == "a/b"
    with pytest.raises(PluginError, match="object"):
        to_plain(object())


def test_a_description_of_another_version_is_refused() -> None:
    info = PotentialInfo("p", "raw-pbe", frozenset({1, 8}), math.inf, 12, "MIT")
    plain = description(info)
    assert from_description(PotentialInfo, plain) == info
    with pytest.raises(PluginError, match="same version"):
        from_description(PotentialInfo, {**plain, "new": 1})


def test_lack_of_memory_on_a_device_is_told_apart() -> None:
    error = error_from_plain(error_to_plain(torch.OutOfMemoryError("device is full")), "toy")
    assert isinstance(error, torch.OutOfMemoryError)
