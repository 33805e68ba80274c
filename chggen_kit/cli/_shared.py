"""Options that several verbs share."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from chggen_kit.cli._state import CliState, cli_state
from chggen_kit.errors import InputError

__all__ = [
    "CliState",
    "assignments_option",
    "backend_option",
    "checkpoint_option",
    "cli_state",
    "out_option",
    "parse_assignments",
    "parse_scalar",
    "potential_option",
    "seed_option",
]

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
Decorator = Callable[[Decorated], Decorated]

_INTEGER = re.compile(r"[+-]?\d+")
_FLOAT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def seed_option(default: int = 0) -> Decorator[Any]:
    """`--seed`: the same seed and settings give the same structures."""
    return click.option("--seed", type=click.IntRange(min=0), default=default, show_default=True, help="Random seed.")


def out_option(*, required: bool = True) -> Decorator[Any]:
    """`--out`: the run directory."""
    return click.option(
        "--out",
        type=click.Path(file_okay=False, path_type=Path),
        required=required,
        help="Directory of the run; the same command goes on with a run that was stopped.",
    )


def backend_option() -> Decorator[Any]:
    """`--backend`: a score model by name; None means the default one."""
    return click.option("--backend", default=None, metavar="NAME", help="Generative backend [the kit's own].")


def potential_option() -> Decorator[Any]:
    """`--potential`: a potential by name; None means the default one."""
    return click.option("--potential", default=None, metavar="NAME", help="Interatomic potential [the kit's own].")


def checkpoint_option() -> Decorator[Any]:
    """`--checkpoint`: a file with a backend's weights."""
    return click.option(
        "--checkpoint",
        type=click.Path(path_type=Path),
        default=None,
        help="Weights of the backend [those that it ships].",
    )


def assignments_option(*declarations: str, what: str) -> Decorator[Any]:
    """An option `--x-option NAME=VALUE`, repeatable, that gives a dictionary (parameter `x_options`)."""
    longest = max(declarations, key=len).lstrip("-").replace("-", "_")

    def collect(_: click.Context, __: click.Parameter, values: Sequence[str]) -> dict[str, Any]:
        return parse_assignments(values, declarations[-1])

    return click.option(
        *declarations,
        f"{longest}s",
        multiple=True,
        metavar="NAME=VALUE",
        callback=collect,
        help=f"Option of the {what}; repeatable. `chggen plugins show NAME` lists them.",
    )


def parse_assignments(values: Sequence[str], option: str = "--option") -> dict[str, Any]:
    """Dictionary of `NAME=VALUE` texts; values as `parse_scalar` reads them.

    Raises:
        InputError: for a text without `=` or name, or a name given twice.
    """
    parsed: dict[str, Any] = {}
    for text in values:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name:
            raise InputError(f"{option} {text!r} is not of the form NAME=VALUE (for example steps=100).")
        if name in parsed:
            raise InputError(f"{option} gives {name!r} twice: {parsed[name]!r} and {value!r}.")
        parsed[name] = parse_scalar(value)
    return parsed


def parse_scalar(text: str) -> Any:  # noqa: ANN401 - whatever the text spells
    """Value that `text` spells: `true`, `false`, `null`, a number, a JSON list, object or quoted text, else the text.

    Raises:
        InputError: for something that begins like JSON and is none.
    """
    text = text.strip()
    words: Mapping[str, bool | None] = {"true": True, "false": False, "null": None}
    if text.lower() in words:
        return words[text.lower()]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if text[:1] in {"[", "{", '"'}:
        try:
            return json.loads(text)
        except json.JSONDecodeError as exc:
            raise InputError(f"{text!r} begins like JSON but cannot be read: {exc}.") from exc
    return text
