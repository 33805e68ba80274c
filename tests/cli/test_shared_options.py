from __future__ import annotations

from typing import Any

import click
import pytest
from click.testing import CliRunner

from chggen_kit.cli._shared import assignments_option, parse_assignments, parse_scalar
from chggen_kit.errors import InputError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("False", False),
        ("null", None),
        ("none", "none"),  # the name of a choice (align=none), not an absent value
        ("12", 12),
        ("-3", -3),
        ("1e-3", 1e-3),
        (".5", 0.5),
        ("1.", 1.0),
        ("[1, 2]", [1, 2]),
        ('{"a": 1}', {"a": 1}),
        ('"12"', "12"),
        ("", ""),
        ("a b", "a b"),
        ("__import__('os')", "__import__('os')"),
        ("path/to=x", "path/to=x"),
        ("nan", "nan"),
    ],
)
def test_scalars(text: str, value: Any) -> None:
    parsed = parse_scalar(text)
    assert parsed == value
    assert type(parsed) is type(value)


def test_assignments_split_at_the_first_equals_sign() -> None:
    assert parse_assignments(["a=1", "b = x=y"]) == {"a": 1, "b": "x=y"}


@pytest.mark.parametrize("values", [["steps"], ["=1"], ["a=1", "a=2"], ["a=[1"]])
def test_bad_assignments_are_refused(values: list[str]) -> None:
    with pytest.raises(InputError, match=r"NAME=VALUE|twice|begins like JSON"):
        parse_assignments(values)


def test_assignments_option_gives_a_dictionary() -> None:
    seen: list[Any] = []

    @click.command()
    @assignments_option("--sampler-option", what="sampler")
    @assignments_option("-O", "--option", what="plug-in")
    def verb(**options: Any) -> None:
        seen.append(options)

    assert CliRunner().invoke(verb, ["--sampler-option", "steps=5", "-O", "x=y"]).exit_code == 0
    assert seen == [{"sampler_options": {"steps": 5}, "options": {"x": "y"}}]
