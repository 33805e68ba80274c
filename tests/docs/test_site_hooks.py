"""The hooks of the site refuse what would be shown wrong."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest
from mkdocs.exceptions import PluginError

FOLDER = Path(__file__).parents[2] / "scripts" / "site"


@pytest.fixture
def hooks(monkeypatch: pytest.MonkeyPatch) -> tuple[ModuleType, ModuleType, ModuleType]:
    monkeypatch.syspath_prepend(str(FOLDER))
    return tuple(importlib.import_module(name) for name in ("formulas", "markdown_tables", "repository"))  # type: ignore[return-value]


def test_formulas_become_mathml(hooks: tuple[ModuleType, ...]) -> None:
    formulas = hooks[0]
    page = formulas.formulas_to_mathml('<p><span class="arithmatex">\\(x &lt; \\sqrt{2}\\)</span></p>', "page.md")
    assert page.startswith("<p><math")
    assert "<msqrt>" in page
    assert "&#x0003C;" in page
    block = formulas.formulas_to_mathml('<div class="arithmatex">\n\\[a\n\\]</div>', "page.md")
    assert 'class="formula"' in block
    assert 'display="block"' in block


def test_a_command_that_would_be_printed_as_it_stands_is_refused(hooks: tuple[ModuleType, ...]) -> None:
    with pytest.raises(PluginError, match=r"page\.md.*nonsense"):
        hooks[0].formulas_to_mathml('<span class="arithmatex">\\(\\nonsense{x}\\)</span>', "page.md")


def test_texts_in_tables_stay_what_they_are(hooks: tuple[ModuleType, ...]) -> None:
    tables = hooks[1]
    assert tables.code("int | None") == "`int | None`"
    assert tables.code("see `x`") == "``see `x```"
    assert tables.prose("a|b <c> `d|e`\n  *f*") == r"a\|b &lt;c&gt; `d|e` \*f\*"


def test_links_lead_to_the_pages_of_files(hooks: tuple[ModuleType, ...]) -> None:
    repository = hooks[2].Repository({"CHANGELOG.md": "changelog.md"})
    text = "[a](../runs.md#x) [b](../../CHANGELOG.md) [c](../../chggen_kit/torus.py) [d](../../pyproject.toml)"
    text += "\n```\n[e](f)\n```\n"
    done = repository.with_links(text, "docs/howto/inpaint.md", "howto/inpaint.md")
    assert done == (
        "[a](../runs.md#x) [b](../changelog.md) [c][chggen_kit.torus] d (`pyproject.toml`)\n```\n[e](f)\n```\n"
    )


def test_a_link_to_nothing_is_refused(hooks: tuple[ModuleType, ...]) -> None:
    with pytest.raises(PluginError, match=r"README\.md links to docs/nowhere\.md"):
        hooks[2].Repository({}).with_links("[a](docs/nowhere.md)", "README.md", "results.md")


def test_a_missing_section_is_refused(hooks: tuple[ModuleType, ...]) -> None:
    assert hooks[2].section_of("## A\n\nx\n\n## B\n", "A").strip() == "x"
    with pytest.raises(PluginError, match="no section 'C'"):
        hooks[2].section_of("## A\n", "C")
