"""Commands that the pages of docs/ show, in blocks and in the text, have the options that they use."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from chggen_kit.cli import cli

DOCS = Path(__file__).parents[2] / "docs"
_PAGES = {str(page.relative_to(DOCS)): page.read_text(encoding="utf-8") for page in sorted(DOCS.rglob("*.md"))}


def _shown(text: str) -> list[str]:
    """Whole lines of blocks, and code within lines, that begin with `chggen`."""
    joined = text.replace("\\\n", " ")
    lines = [line.strip() for line in joined.splitlines()]
    found = [line for line in lines if line.startswith("chggen ")]
    found += re.findall(r"`(chggen [a-z][^`]*)`", re.sub(r"^```.*?^```", "", joined, flags=re.MULTILINE | re.DOTALL))
    return [line.split(" #")[0].split(" && ")[0] for line in found]


COMMANDS = [pytest.param(line, id=f"{page}: {line}") for page, text in _PAGES.items() for line in _shown(text)]


def _refused(line: str) -> set[str]:
    """Options of `line` that its command does not have."""
    words = shlex.split(line)[1:]
    command: click.Command = cli
    context = click.Context(cli, info_name="chggen")
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name = words.pop(0)
        found = command.get_command(context, name)
        if found is None:
            assert name.isupper(), f"{line}: there is no {name!r}"  # stands for any name, as in `chggen train NAME`
            return set()
        command, context = found, click.Context(found, info_name=name, parent=context)
    known = {name for parameter in command.get_params(context) for name in parameter.opts + parameter.secondary_opts}
    return {word.split("=")[0] for word in words if re.match(r"--?[a-zA-Z]", word)} - known


@pytest.mark.parametrize("line", COMMANDS)
def test_shown_commands_have_their_options(line: str) -> None:
    assert not _refused(line)


def test_the_pages_show_many_commands() -> None:
    assert len(COMMANDS) > 80


def test_a_wrong_option_would_be_noticed() -> None:
    assert _refused("chggen generate ZnP2S6 --sed 1") == {"--sed"}
    with pytest.raises(AssertionError, match="there is no 'generat'"):
        _refused("chggen generat ZnP2S6")
