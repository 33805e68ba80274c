"""Crafted pickles: nothing of them is executed, whatever they hold."""

from __future__ import annotations

import builtins
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffcsp_runs import foreign, settings, state_dict, write_run

from chggen_diffcsp import unpickle
from chggen_diffcsp.checkpoint import load_checkpoint
from chggen_diffcsp.unpickle import StoredTensor, read_torch_zip
from chggen_kit.errors import CheckpointError


class _Reduced:
    """Pickles as a call."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self._call


def _with_pickle(path: Path, content: bytes, **parts: bytes) -> Path:
    """A file as torch.save writes it, around `content`."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/version", b"3\n")
        for name, part in parts.items():
            archive.writestr(f"archive/data/{name}", part)
    return path


@pytest.mark.parametrize("where", ["state", "extra"])
@pytest.mark.parametrize(
    "make",
    [
        lambda trap: _Reduced(os.system, f"touch {trap}"),
        lambda trap: _Reduced(builtins.eval, f"open({str(trap)!r}, 'w')"),
        lambda trap: _Reduced(builtins.exec, f"open({str(trap)!r}, 'w')"),
        lambda trap: _Reduced(builtins.open, str(trap), "w"),
        lambda trap: _Reduced(builtins.getattr, str(trap), "upper"),
        lambda trap: _Reduced(torch.save, [1], str(trap)),
        lambda trap: _Reduced(torch.hub.load_state_dict_from_url, f"file://{trap}"),
        lambda trap: _Reduced(torch.load, str(trap)),
        lambda trap: _Reduced(torch.jit.load, str(trap)),
        lambda trap: _Reduced(os.mkdir, str(trap)),
    ],
    ids=["os.system", "eval", "exec", "open", "getattr", "torch.save", "torch.hub", "torch.load", "torch.jit", "mkdir"],
)
def test_a_run_directory_that_calls_something_is_refused(
    tmp_path: Path, make: Callable[[Path], object], where: str
) -> None:
    trap = tmp_path / "trap"
    evil = make(trap)
    if where == "state":
        run = write_run(tmp_path / "run", state={**state_dict(settings()), "decoder.evil": evil})
    else:
        run = write_run(tmp_path / "run", extra={"callbacks": {"evil": evil}})
    with pytest.raises(CheckpointError, match=r"Nothing (of it )?was executed") as caught:
        load_checkpoint(run)
    assert not trap.exists()
    assert "epoch=7" in str(caught.value)


def test_the_traps_would_have_worked(tmp_path: Path) -> None:
    """The same file does run its code in a reader that does not care."""
    trap = tmp_path / "trap"
    run = write_run(tmp_path / "run", extra={"evil": _Reduced(os.mkdir, str(trap))}, name="last.ckpt")
    (tmp_path / "bare.pkl").write_bytes(pickle.dumps(_Reduced(os.mkdir, str(trap))))
    pickle.loads((tmp_path / "bare.pkl").read_bytes())  # noqa: S301  (our own file)
    assert trap.is_dir()
    trap.rmdir()
    with pytest.raises(CheckpointError):
        load_checkpoint(run)
    assert not trap.exists()


@pytest.mark.parametrize(
    "name",
    ["posix system", "nt system", "__builtin__ eval", "subprocess Popen", "commands getoutput", "runpy run_path"],
)
def test_globals_of_python_by_any_name_are_refused(tmp_path: Path, name: str) -> None:
    module, attribute = name.split()
    content = b"\x80\x02c" + f"{module}\n{attribute}\n".encode() + b"X\x04\x00\x00\x00true\x85R."
    with pytest.raises(CheckpointError, match="Nothing was executed"):
        read_torch_zip(_with_pickle(tmp_path / "a.ckpt", content))


def test_foreign_objects_are_inert_whatever_is_done_to_them(tmp_path: Path) -> None:
    """Calls, states with attributes to set, items, and use as a key: nothing happens, nothing sticks."""
    thing = b"cevil.package\nThing\n"
    # BUILD with a slot state: setattr(thing, "__class__", dict).
    build = b"N}X\x09\x00\x00\x00__class__c__builtin__\ndict\ns\x86b"
    made = thing + b")\x81" + build
    called = thing + b")R)R"  # called, and what came out of it called again
    key_a, key_b, key_c = (b"X\x01\x00\x00\x00" + letter for letter in (b"a", b"b", b"c"))
    filled = thing + b")\x81" + key_a + b"K\x01s" + b"K\x02a"  # thing["a"] = 1; thing.append(2)
    content = b"\x80\x02}" + key_a + made + b"s" + key_b + called + b"s" + key_c + filled + b"s."
    result = read_torch_zip(_with_pickle(tmp_path / "a.ckpt", content))
    for value in result.values():
        assert type(type(value)) is unpickle.Inert
        assert type(value).__name__ == "Thing"
    assert len(result) == 3


@pytest.mark.parametrize(
    "target",
    [
        b"ctorch._utils\n_rebuild_tensor_v2\n",
        b"ctorch\nFloatStorage\n",
        b"ccollections\nOrderedDict\n",
        b"cevil.package\nThing\n",
    ],
    ids=["maker", "storage", "class", "stand-in"],
)
def test_the_readers_own_objects_cannot_be_changed(tmp_path: Path, target: bytes) -> None:
    """BUILD on a global itself: `setattr(function, "__defaults__", ...)` and the like."""
    content = b"\x80\x02" + target + b"N}X\x05\x00\x00\x00__x__K\x01s\x86b."
    with pytest.raises(CheckpointError, match="Nothing of it was executed"):
        read_torch_zip(_with_pickle(tmp_path / "a.ckpt", content))
    assert not hasattr(OrderedDict, "__x__")


def test_attributes_on_the_state_dict_do_not_hide_its_entries(tmp_path: Path) -> None:
    state = OrderedDict(state_dict(settings()))
    state.items = foreign("evil.package", "Thing")()  # type: ignore[method-assign]  # that is the attack
    loaded = load_checkpoint(write_run(tmp_path / "run", state=state))
    assert torch.equal(loaded.state_dict()["decoder.coord_out.weight"], state["decoder.coord_out.weight"])


def _tensor(size: int, shape: tuple[int, ...], stride: tuple[int, ...], offset: int = 0) -> bytes:
    """Pickle of a tensor over storage `0` of `size` numbers."""

    def number(value: int) -> bytes:
        return b"\x8a\x08" + struct.pack("<q", value)

    def numbers(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(number(value) for value in values) + b"t"

    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu" + number(size)
    maker = b"ctorch._utils\n_rebuild_tensor_v2\n"
    return (
        b"\x80\x02"
        + maker
        + b"("
        + storage
        + b"tQ"
        + number(offset)
        + numbers(shape)
        + numbers(stride)
        + b"\x89Nt"
        + b"R."
    )


def test_a_tensor_is_read(tmp_path: Path) -> None:
    path = _with_pickle(tmp_path / "a.pt", _tensor(6, (2, 3), (1, 2)), **{"0": struct.pack("<6f", *range(6))})
    tensor = read_torch_zip(path)
    assert isinstance(tensor, StoredTensor)
    assert torch.equal(tensor.read(), torch.tensor([[0.0, 2, 4], [1, 3, 5]]))


@pytest.mark.parametrize(
    ("size", "shape", "stride", "offset"),
    [
        (6, (3, 3), (3, 1), 0),  # past the end
        (6, (2, 3), (3, 1), 1),  # past the end by its offset
        (6, (10**9, 10**9), (0, 0), 0),  # a few numbers blown up
        (6, (2, 3), (-3, 1), 5),  # backwards
        (10**15, (10**15,), (1,), 0),  # more than is there
        (7, (7,), (1,), 0),  # a storage of another size than it says
        (6, (2, 3), (1,), 0),
    ],
)
def test_a_tensor_beyond_its_numbers_is_refused(
    tmp_path: Path, size: int, shape: tuple[int, ...], stride: tuple[int, ...], offset: int
) -> None:
    content = _tensor(size, shape, stride, offset)
    tensor = read_torch_zip(_with_pickle(tmp_path / "a.pt", content, **{"0": struct.pack("<6f", *range(6))}))
    with pytest.raises(CheckpointError):
        tensor.read()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x80\x02K\x01r\xff\xff\xff\x7f.", "exhaust memory"),  # the memo's index: gigabytes for one entry
        (b"\x80\x04\x96" + struct.pack("<Q", 2**40) + b".", "damaged"),  # a bytearray of a terabyte
        (b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b".", "damaged"),
        (b"\x80\x02\x82\x01.", "extension registry"),
        (b"\x80\x02}q\x00X\x05\x00\x00\x00st", "damaged"),
        (b"\x80\x02X\x04\x00\x00\x00spamQ.", "unknown form"),
        (b"", "damaged"),
    ],
    ids=["memo", "bytearray", "bytes", "extension", "cut-off", "persistent-id", "empty"],
)
def test_pickles_that_ask_for_too_much_or_are_damaged(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        read_torch_zip(_with_pickle(tmp_path / "a.ckpt", content))


def test_compressed_parts_are_refused(tmp_path: Path) -> None:
    """A few kilobytes can unpack to gigabytes; torch.save never compresses."""
    path = tmp_path / "bomb.ckpt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02N." + b"\x00" * 10**7)
    with pytest.raises(CheckpointError, match="compressed"):
        read_torch_zip(path)


def test_files_of_other_kinds_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    with pytest.raises(CheckpointError, match="no file"):
        read_torch_zip(path)
    path.write_bytes(b"not a zip file")
    with pytest.raises(CheckpointError, match=r"not a file that torch\.save wrote"):
        read_torch_zip(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(CheckpointError, match=r"data\.pkl"):
        read_torch_zip(path)


def test_scalers_are_read_without_their_package(tmp_path: Path) -> None:
    scaler = foreign("diffcsp.common.data_utils", "StandardScalerTorch")()
    scaler.means, scaler.stds = torch.tensor([2.4, 2.7, 3.7, 87, 85, 86]), torch.ones(6)
    torch.save(scaler, tmp_path / "lattice_scaler.pt")
    loaded = read_torch_zip(tmp_path / "lattice_scaler.pt")
    assert torch.equal(loaded.state["means"].read(), scaler.means)


def test_a_key_that_takes_for_ever_to_hash_is_refused(tmp_path: Path) -> None:
    nested = b"q\x00h\x00\x86" * 60  # a tuple of twice the last one, sixty times
    file = _with_pickle(tmp_path / "bomb.ckpt", b"\x80\x02})" + nested + b"K\x01s.")
    with pytest.raises(CheckpointError, match="tuples in tuples"):
        read_torch_zip(file)
    file = _with_pickle(tmp_path / "key.ckpt", b"\x80\x02}K\x01K\x02\x86K\x01s.")
    with pytest.raises(CheckpointError, match="tuple is the key"):
        read_torch_zip(file)


def test_lists_copied_over_and_over_are_refused(tmp_path: Path) -> None:
    parts = b"](" + b"N" * 1000 + b"eq\x00"  # a list of a thousand nothings
    content = b"\x80\x02" + parts + b"".join(b"cbuiltins\nlist\nh\x00\x85R" for _ in range(500)) + b"."
    with pytest.raises(CheckpointError, match="over and over"):
        read_torch_zip(_with_pickle(tmp_path / "lists.ckpt", content))
    text = b"\x80\x02cbuiltins\nlist\nX\x03\x00\x00\x00abc\x85R."
    with pytest.raises(CheckpointError, match="something else than a list"):
        read_torch_zip(_with_pickle(tmp_path / "text.ckpt", text))


def test_one_tensor_under_many_names_is_refused(tmp_path: Path) -> None:
    numbers = torch.zeros(1000)
    write_run(tmp_path / "run", state={f"decoder.copy_{i}": numbers for i in range(50)})
    with pytest.raises(CheckpointError, match="over and over"):
        load_checkpoint(tmp_path / "run")
