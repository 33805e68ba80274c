"""Descriptions and errors as plain JSON, and back."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from chggen_kit import errors
from chggen_kit.errors import ChggenError, PluginError

Described = TypeVar("Described")
_MARK = "__kind__"
_TRACEBACK_LINES = 20


def to_plain(value: Any) -> Any:  # noqa: ANN401 - any plain value
    """`value` (numbers, texts, mappings, lists, tuples, sets, paths) as JSON that `from_plain` reads back.

    Raises:
        PluginError: for a value of another type.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): to_plain(part) for key, part in value.items()}
    if isinstance(value, list):
        return [to_plain(part) for part in value]
    if isinstance(value, tuple):
        return {_MARK: "tuple", "items": [to_plain(part) for part in value]}
    if isinstance(value, set | frozenset):
        return {_MARK: "set", "items": [to_plain(part) for part in sorted(value)]}
    raise PluginError(
        f"{value!r} ({type(value).__name__}) cannot be sent to or from a plug-in in another environment: numbers, "
        "texts, lists, tuples, sets and mappings of them can."
    )


def from_plain(value: Any) -> Any:  # noqa: ANN401 - any plain value
    """What `to_plain` wrote; sets come back frozen."""
    if isinstance(value, list):
        return [from_plain(part) for part in value]
    if isinstance(value, Mapping):
        if _MARK in value:
            items = [from_plain(part) for part in value["items"]]
            return tuple(items) if value[_MARK] == "tuple" else frozenset(items)
        return {key: from_plain(part) for key, part in value.items()}
    return value


def description(instance: Any) -> dict[str, Any]:  # noqa: ANN401 - any dataclass
    """Fields of a dataclass as JSON."""
    return {f.name: to_plain(getattr(instance, f.name)) for f in fields(instance)}


def from_description(kind: type[Described], plain: Mapping[str, Any]) -> Described:
    """The dataclass that `description` wrote.

    Raises:
        PluginError: when the fields are not those of `kind`, as with a worker that runs another version of the kit.
    """
    try:
        return kind(**{name: from_plain(value) for name, value in plain.items()})
    except TypeError as error:
        raise PluginError(
            f"The worker describes its {kind.__name__} as another version of the kit does: {error}. Use the same "
            "version of chggen-kit on both sides."
        ) from error


def error_to_plain(error: BaseException) -> dict[str, Any]:
    """What the other side needs to raise `error` again."""
    names = [cls.__name__ for cls in type(error).__mro__]
    lines = "".join(traceback.format_exception(error)).splitlines()[-_TRACEBACK_LINES:]
    return {"types": names, "kit": isinstance(error, ChggenError), "message": str(error), "traceback": lines}


def error_from_plain(plain: Mapping[str, Any], what: str) -> Exception:
    """The error that `error_to_plain` wrote: the kit's own as they are, lack of memory as such, others explained."""
    names, message = list(plain["types"]), str(plain["message"])
    if plain["kit"]:
        for name in names:
            kind = getattr(errors, name, None)
            if isinstance(kind, type) and issubclass(kind, ChggenError):
                return kind(message)
    if "OutOfMemoryError" in names:
        import torch

        return torch.OutOfMemoryError(message)
    if "MemoryError" in names:
        return MemoryError(message)
    trace = "\n".join(f"  {line}" for line in plain["traceback"])
    return PluginError(f"The {what} failed with {names[0]}: {message}. The end of its traceback:\n{trace}")
