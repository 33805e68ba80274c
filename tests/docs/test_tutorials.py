"""The code that the pages of docs/ show is run, in the order of the page and in one folder for each page.

A block is run when the line `<!-- run -->` stands before it; `<!-- run: slow, 60 s -->` leaves it to the slow tests,
which run whole pages, and names its time on one core of a busy machine.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from chggen_kit.cli import cli

DOCS = Path(__file__).parents[2] / "docs"
_BLOCK = re.compile(
    r"^<!-- run(?P<slow>: slow, [^>]*?)? -->\n```(?P<language>\w+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)
_MARK = re.compile(r"^\s*<!-- run", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    language: str
    code: str
    slow: bool
    line: int


def _blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(found["language"], found["code"], found["slow"] is not None, text[: found.start("code")].count("\n"))
        for found in _BLOCK.finditer(text)
    ]


PAGES = {str(p.relative_to(DOCS)): blocks for p in sorted(DOCS.rglob("*.md")) if (blocks := _blocks(p))}
# A block may need what any block before it wrote, so a page with slow ones is run in full by the slow test.
SLOW_PAGES = {name: blocks for name, blocks in PAGES.items() if any(block.slow for block in blocks)}


def test_every_mark_has_its_block() -> None:
    for page in DOCS.rglob("*.md"):
        assert len(_MARK.findall(page.read_text(encoding="utf-8"))) == len(_blocks(page)), page


def test_the_main_pages_are_run() -> None:
    assert {"quickstart.md", "howto/inpaint.md", "concepts/noise.md"} <= set(PAGES)
    assert all(block.language in ("bash", "python") for blocks in PAGES.values() for block in blocks)


@pytest.mark.parametrize("name", PAGES)
def test_fast_code_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, which has imported the heavy libraries already."""
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "__main__"}
    for block in PAGES[name]:
        if block.slow:
            continue
        if block.language == "python":
            exec(compile("\n" * block.line + block.code, f"docs/{name}", "exec"), namespace)  # noqa: S102 - our page
            continue
        for line in block.code.replace("\\\n", " ").splitlines():
            program, *arguments = shlex.split(line, comments=True)
            assert program == "chggen", f"docs/{name}: a fast block holds {program!r}; mark it slow, or leave it out"
            done = CliRunner().invoke(cli, arguments)
            assert done.exit_code == 0, f"docs/{name}: {line}\n{done.output[-4000:]}"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", SLOW_PAGES)
def test_all_code_runs(name: str, tmp_path: Path) -> None:
    """As a reader would: the programs of this environment, one block after another."""
    environment = {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    for block in SLOW_PAGES[name]:
        command = ["bash", "-euo", "pipefail", "-c"] if block.language == "bash" else [sys.executable, "-c"]
        done = subprocess.run(  # noqa: S603 - our own pages
            [*command, block.code],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"docs/{name}, line {block.line}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
