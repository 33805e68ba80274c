"""Reads PyTorch's zip files without executing anything: tensors and plain collections come through, nothing else.

A pickle is a program. Official checkpoints hold objects of half a dozen packages (callbacks, configuration nodes), so
`torch.load(weights_only=True)` refuses them and `weights_only=False` would run whatever they hold. Here every global
that a pickle names is looked up in a table of ours: containers and the makers of tensors, replaced by our own; what
belongs to other packages becomes an inert class, whose instances swallow everything; and what a checkpoint has no
business to name (the standard library, functions of PyTorch) is refused.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import sys
from _compat_pickle import IMPORT_MAPPING
from collections import OrderedDict, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import torch
from torch import Tensor

from chggen_diffcsp.archive import TorchZip
from chggen_kit.errors import CheckpointError

_DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_LARGEST = 2**62
"""Beyond the shape and strides of any tensor."""
_MAX_TUPLE = 10_000
"""Parts of a tuple, those of the tuples in it included: more only serve to keep the machine busy hashing them."""
_HARMLESS = frozenset(
    (module, name)
    for module, names in {
        "builtins": "bool bytes complex float frozenset int long object range slice str unicode",
        "collections": "Counter deque",
        "argparse": "Namespace",
        "copyreg": "_reconstructor",
        "datetime": "date datetime timedelta",
        "functools": "partial",
        "pathlib": "Path PosixPath PurePosixPath WindowsPath PureWindowsPath",
        "pathlib._local": "Path PosixPath PurePosixPath WindowsPath PureWindowsPath",
        "typing": "Any Dict List Optional Tuple Union",
        "_codecs": "encode",
        "torch": "Size device dtype float16 float32 float64 int32 int64 bool",
        "torch.nn.parameter": "Parameter",
        "torch.serialization": "_get_layout",
    }.items()
    for name in names.split()
)
"""Names of the standard library and of PyTorch that genuine checkpoints hold; they become inert all the same."""
_PYTHON_2 = {**{old: new for old, new in IMPORT_MAPPING.items() if old != new}, "__builtin__": "builtins"}
_REFUSED_OPCODES = frozenset({"EXT1", "EXT2", "EXT4"})
"""They name globals by numbers of a registry, past `find_class`; no checkpoint has them."""


def read_torch_zip(path: Path) -> Any:  # noqa: ANN401  (whatever the file holds)
    """Content of a file written by `torch.save`, tensors as `StoredTensor`, foreign objects as `Inert`.

    Raises:
        CheckpointError: when the file is missing, damaged, of another kind, or names what no checkpoint holds.
    """
    if not path.is_file():
        raise CheckpointError(f"There is no file {path}. Check the path of the checkpoint.")
    archive = TorchZip(path)
    content = archive.pickle_bytes()
    _scan(content, path)
    try:
        return _Unpickler(content, archive).load()
    except CheckpointError:
        raise
    # Whatever a crafted or damaged pickle makes the machine trip over, the file is at fault.
    except Exception as error:
        raise CheckpointError(
            f"{path} holds a damaged or foreign pickle ({type(error).__name__}: {error}). Nothing of it was executed. "
            "Copy or download the checkpoint again."
        ) from error


class Inert(type):
    """Metaclass of the stand-ins for foreign classes and functions: they can't be changed, and do nothing."""

    def __setattr__(cls, name: str, value: object) -> NoReturn:
        raise TypeError(f"a stand-in for a foreign object has no attribute {name!r} to set")


class _Swallower:
    """Takes whatever a pickle gives to an object, and keeps a state of plain data under `state`."""

    state: Any = None

    def __new__(cls, *arguments: object, **options: object) -> _Swallower:  # noqa: PYI034  (any subclass)
        del arguments, options
        return object.__new__(cls)

    def __init__(self, *arguments: object, **options: object) -> None:
        pass

    def __call__(self, *arguments: object, **options: object) -> _Swallower:
        del arguments, options
        return self

    def __setstate__(self, state: object) -> None:
        object.__setattr__(self, "state", state)

    def __setitem__(self, key: object, value: object) -> None:
        pass

    def append(self, value: object) -> None:
        """Nothing."""

    def extend(self, values: object) -> None:
        """Nothing."""

    def add(self, value: object) -> None:
        """Nothing."""


class _Locked:
    """Refuses a pickle's attempt to change one of our own objects."""

    __slots__ = ()

    def __setstate__(self, state: object) -> NoReturn:
        raise pickle.UnpicklingError("the pickle tries to change the reader's own objects")


@dataclass(frozen=True)
class _StorageKind(_Locked):
    dtype: torch.dtype


@dataclass(frozen=True)
class _Storage(_Locked):
    """Numbers that lie beside the pickle."""

    archive: TorchZip
    dtype: torch.dtype
    key: str
    size: int


@dataclass(frozen=True)
class StoredTensor(_Locked):
    """A tensor that is still in the file.

    Attributes:
        storage: where its numbers lie.
        offset: first number.
        shape: its shape.
        stride: its strides.
    """

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Memory that the tensor takes."""
        return math.prod(self.shape) * self.storage.dtype.itemsize

    def read(self) -> Tensor:
        """The tensor, contiguous and on the CPU.

        Raises:
            CheckpointError: when it does not lie inside its storage.
        """
        numbers = (self.offset, *self.shape, *self.stride)
        plain = all(type(number) is int and 0 <= number < _LARGEST for number in numbers)
        if not plain or len(self.shape) != len(self.stride):
            raise CheckpointError(f"{self.storage.archive.path} holds a tensor of an impossible shape. Do not use it.")
        count, last = 1, self.offset
        for size, stride in zip(self.shape, self.stride, strict=False):
            count *= size
            last += (size - 1) * stride
        # More numbers than are stored would be a tensor blown up by strides of zero.
        if (count and last >= self.storage.size) or count > self.storage.size:
            raise CheckpointError(
                f"{self.storage.archive.path} holds a tensor of shape {self.shape} that does not fit the "
                f"{self.storage.size} numbers stored for it. The file is damaged; copy or download it again."
            )
        flat = self.storage.archive.numbers(self.storage.key, self.storage.size, self.storage.dtype)
        return torch.as_strided(flat, self.shape, self.stride, self.offset).clone()


class _MakeTensor(_Locked):
    """Stands in for `torch._utils._rebuild_tensor_v2`."""

    __slots__ = ()

    def __call__(self, storage: object, offset: int, shape: object, stride: object, *rest: object) -> StoredTensor:
        del rest
        if not isinstance(storage, _Storage) or not isinstance(shape, tuple) or not isinstance(stride, tuple):
            raise pickle.UnpicklingError("a tensor is made of something else than stored numbers")
        return StoredTensor(storage, offset, shape, stride)


class _MakeParameter(_Locked):
    """Stands in for `torch._utils._rebuild_parameter`."""

    __slots__ = ()

    def __call__(self, data: object, *rest: object) -> object:
        del rest
        return data


class _MakeContainer(_Locked):
    """Stands in for a type of container; what is copied into containers may not add up to more than the pickle."""

    __slots__ = ("_kind", "_unpickler")

    def __init__(self, kind: type, unpickler: _Unpickler) -> None:
        self._kind, self._unpickler = kind, unpickler

    def __call__(self, *arguments: object) -> object:
        if self._kind is defaultdict:
            return _PlainDict()
        if any(not isinstance(argument, (list, tuple, set)) for argument in arguments) or len(arguments) > 1:
            raise pickle.UnpicklingError(f"a {self._kind.__name__} is made of something else than a list")
        parts = [part for argument in arguments for part in argument]  # type: ignore[attr-defined]  # checked above
        self._unpickler.count(len(parts))
        if self._kind in (dict, OrderedDict):
            made = _PlainDict()
            for pair in parts:
                if not isinstance(pair, (list, tuple)) or len(pair) != 2:
                    raise pickle.UnpicklingError("a dictionary is made of something else than pairs")
                made[pair[0]] = pair[1]
            return made
        if self._kind is set:
            for part in parts:
                _check_key(part)
        if self._kind is tuple:
            self._unpickler.weigh(tuple_of_parts := tuple(parts))
            return tuple_of_parts
        return self._kind(parts)


class _PlainDict(OrderedDict[object, object]):
    """A dictionary with keys that cost nothing to hash."""

    def __setitem__(self, key: object, value: object) -> None:
        _check_key(key)
        super().__setitem__(key, value)

    def __setstate__(self, state: object) -> None:
        """Attributes that a pickle puts on a dictionary (as on a state_dict) are of no use here."""


def _check_key(key: object) -> None:
    if not (key is None or isinstance(key, (str, bytes, int, float, Inert, _Swallower))):
        raise pickle.UnpicklingError(f"a {type(key).__name__} is the key of a dictionary or a member of a set")


# The one in Python: that in C fills dictionaries and makes tuples where nobody can look on.
class _Unpickler(pickle._Unpickler):  # noqa: SLF001  (public as the documented fallback of pickle.Unpickler)
    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)  # noqa: SLF001  (as above)
    stack: list[Any]
    append: Any
    pop_mark: Any

    def __init__(self, content: bytes, archive: TorchZip) -> None:
        super().__init__(io.BytesIO(content))
        self._archive = archive
        self._stand_ins: dict[tuple[str, str], type] = {}
        self._left = len(content)
        self._tuple_sizes: dict[int, tuple[object, int]] = {}
        kinds = (OrderedDict, defaultdict)
        self._containers = {("collections", kind.__name__): _MakeContainer(kind, self) for kind in kinds}
        for module in ("builtins", "__builtin__"):
            for kind in (dict, list, set, tuple):
                self._containers[module, kind.__name__] = _MakeContainer(kind, self)

    def count(self, copied: int) -> None:
        """Note that `copied` parts went into a container."""
        self._left -= copied
        if self._left < 0:
            raise pickle.UnpicklingError("its containers are copied over and over")

    def weigh(self, made: tuple[object, ...]) -> None:
        """Refuse a tuple that is a bomb."""
        parts = (self._tuple_sizes.get(id(part), (part, 1))[1] for part in made)
        size = 1 + sum(parts)
        if size > _MAX_TUPLE:
            raise pickle.UnpicklingError("it nests tuples in tuples beyond measure")
        # The tuple is kept, so that no other can get its identity.
        self._tuple_sizes[id(made)] = (made, size)

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401  (as in the base class)
        """Our own replacement for a global."""
        if (module, name) in self._containers:
            return self._containers[module, name]
        if module == "torch._utils" and name in ("_rebuild_tensor_v2", "_rebuild_parameter"):
            return _MakeTensor() if name == "_rebuild_tensor_v2" else _MakeParameter()
        if module == "torch" and name in _DTYPES:
            return _StorageKind(_DTYPES[name])
        if not _may_be_named(_PYTHON_2.get(module, module), name):
            raise CheckpointError(
                f"{self._archive.path} names {module}.{name}, which no DiffCSP checkpoint holds: it could run code "
                "when it is loaded by other programs. Nothing was executed. Do not use this file, and tell whoever "
                "gave it to you."
            )
        key = (module, name)
        if key not in self._stand_ins:
            self._stand_ins[key] = Inert(name, (_Swallower,), {"__module__": module})
        return self._stand_ins[key]

    def persistent_load(self, pid: Any) -> _Storage:  # noqa: ANN401  (as in the base class)
        """A reference to stored numbers; they are read when a tensor is."""
        match pid:
            case ("storage", _StorageKind(dtype=dtype), str() as key, str(), int() as size) if key.isalnum():
                return _Storage(self._archive, dtype, key, size)
            case _:
                raise pickle.UnpicklingError("a reference to stored numbers has an unknown form")


def _checked_tuple(opcode: bytes) -> None:
    load: Any = _Unpickler.dispatch[opcode[0]]

    def load_and_check(unpickler: _Unpickler) -> None:
        load(unpickler)
        unpickler.weigh(unpickler.stack[-1])

    _Unpickler.dispatch[opcode[0]] = load_and_check


def _load_dict(unpickler: _Unpickler) -> None:
    items = unpickler.pop_mark()
    made = _PlainDict()
    for key, value in zip(items[::2], items[1::2], strict=True):
        made[key] = value
    unpickler.append(made)


def _checked_members(unpickler: _Unpickler) -> list[Any]:
    items: list[Any] = unpickler.pop_mark()
    for item in items:
        _check_key(item)
    return items


def _load_additems(unpickler: _Unpickler) -> None:
    for item in _checked_members(unpickler):
        unpickler.stack[-1].add(item)


for _opcode in (pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3):
    _checked_tuple(_opcode)
_Unpickler.dispatch[pickle.DICT[0]] = _load_dict
_Unpickler.dispatch[pickle.EMPTY_DICT[0]] = lambda unpickler: unpickler.append(_PlainDict())
_Unpickler.dispatch[pickle.ADDITEMS[0]] = _load_additems
_Unpickler.dispatch[pickle.FROZENSET[0]] = lambda unpickler: unpickler.append(frozenset(_checked_members(unpickler)))


def _may_be_named(module: str, name: str) -> bool:
    """Whether a genuine checkpoint could name this global: other packages' anything, of Python and PyTorch a few."""
    if (module, name) in _HARMLESS:
        return True
    if module == "torch.optim" or module.startswith(("torch.optim.", "torch.utils.data.")):
        return True
    top = module.partition(".")[0]
    # The top-level names of Python 2 and of other platforms are in these lists too.
    return top != "torch" and top not in sys.stdlib_module_names and top not in IMPORT_MAPPING


def _scan(content: bytes, path: Path) -> None:
    """Refuse a pickle that is cut off, or that asks for memory which has nothing to do with its size."""
    try:
        for opcode, argument, _ in pickletools.genops(content):
            if opcode.name in _REFUSED_OPCODES:
                raise CheckpointError(
                    f"{path} uses Python's extension registry, which no DiffCSP checkpoint does. Nothing was executed. "
                    "Do not use this file."
                )
            # The memo is an array as long as its largest index.
            if opcode.name in ("PUT", "LONG_BINPUT") and isinstance(argument, int) and argument > len(content):
                raise CheckpointError(
                    f"{path} asks for a table of {argument} entries with {len(content)} bytes of instructions. "
                    "The file is damaged or made to exhaust memory; do not use it."
                )
    except ValueError as error:
        raise CheckpointError(
            f"{path} holds a damaged pickle ({error}). Copy or download the checkpoint again."
        ) from error
