"""The documentation site builds without a warning, holds what the program knows, and needs no network."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from chggen_kit.cli import VERBS, cli
from chggen_kit.plugins import PluginEntry, Registry, describe_options
from chggen_kit.plugins.discovery import OWN_DISTRIBUTION

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "docs").rglob("*.md"))
_CODE = re.compile(r"^```.*?^```|``.*?``|`[^`\n]*`", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as built: 10 CPU seconds."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-6000:]
    return folder


def _text(page: Path) -> str:
    """What a reader sees of a page, spaces run together."""
    content = page.read_text(encoding="utf-8")
    article = content[content.index("<article") : content.index("</article>")]
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", article)).split())


def _own_plugins() -> list[PluginEntry]:
    return [e for e in Registry.discover().entries() if e.origin.distribution == OWN_DISTRIBUTION]


def test_every_plugin_has_a_page_with_all_of_its_options(site: Path) -> None:
    for entry in _own_plugins():
        text = _text(site / "plugins" / f"{entry.kind}-{entry.name}.html")
        model = entry.load_options()
        for option in [] if model is None else describe_options(model):
            for part in (option.name, option.type, option.default, option.description.replace("`", "")):
                assert " ".join(part.split()) in text, f"{entry.kind} {entry.name}: {part!r}"


def _commands() -> Iterator[tuple[str, click.Command]]:
    root = click.Context(cli, info_name="chggen")
    for verb in VERBS:
        command = cli.get_command(root, verb)
        assert command is not None
        yield verb, command
        if isinstance(command, click.Group):
            context = click.Context(command, info_name=verb, parent=root)
            for below in command.list_commands(context):
                found = command.get_command(context, below)
                assert found is not None
                yield verb, found


def test_every_verb_has_a_page_with_all_of_its_options(site: Path) -> None:
    shared = _text(site / "commands/index.html")
    for verb, command in _commands():
        text = _text(site / "commands" / f"{verb}.html")
        for parameter in command.params:
            for name in parameter.opts if isinstance(parameter, click.Option) else []:
                assert name in text or name in shared, f"{verb}: {name}"


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    loaded = re.compile(
        r"""<(?:script|img|iframe|source)\b[^>]*\bsrc=["']?(?:https?:)?//|<link\b[^>]*href=["']?https?://"""
    )
    styled = re.compile(r"@import|url\(\s*[\"']?(?:https?:)?//")
    for page in site.rglob("*.html"):
        assert not loaded.search(page.read_text(encoding="utf-8")), page
    for style in site.rglob("*.css"):
        assert not styled.search(style.read_text(encoding="utf-8")), style


def test_no_page_names_this_machine(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        for place in (str(ROOT), str(Path.home()) + "/", sys.prefix + "/"):
            assert place not in text, f"{page}: {place}"


def test_formulas_are_shown_without_scripts(site: Path) -> None:
    for source in SOURCES:
        text = _CODE.sub("", source.read_text(encoding="utf-8"))
        blocks = re.findall(r"\$\$.*?\$\$", text, re.DOTALL)
        inline = re.findall(r"\$[^$\s](?:[^$]*[^$\s])?\$", re.sub(r"\$\$.*?\$\$", "", text, flags=re.DOTALL))
        page = site / source.relative_to(ROOT / "docs").with_suffix(".html")
        content = page.read_text(encoding="utf-8")
        assert content.count("<math") == len(blocks) + len(inline), source
        assert "arithmatex" not in content, source


def _slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", text).strip().replace(" ", "-")


def _anchors(page: Path) -> set[str]:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return {_slug(title) for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}


@pytest.mark.parametrize("page", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_work_in_the_repository_too(page: Path) -> None:
    text = _CODE.sub("", page.read_text(encoding="utf-8"))
    for target, anchor in re.findall(r"\]\(([^)\s#:]*)(?:#([^)\s]*))?\)", text):
        file = (page.parent / target).resolve() if target else page
        assert file.is_file(), f"{page}: {target}"
        if anchor:
            assert anchor in _anchors(file), f"{page}: {target}#{anchor}"
