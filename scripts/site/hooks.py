"""Hooks of the documentation site (mkdocs.yml): what the program knows is written down by the program."""

from __future__ import annotations

from typing import Any

from api_pages import api_pages
from command_pages import command_pages
from formulas import formulas_to_mathml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from plugin_pages import plugin_pages
from repository import ROOT, Repository, copied_pages, section_of

_README_SECTION = "<!-- here: README.md, "
_repository = Repository({})


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages that are made from the program, and those that are kept elsewhere in the repository."""
    sections = {
        "Plug-ins": plugin_pages(),
        "Commands": command_pages(),
        "Python API": api_pages(),
    }
    copied = copied_pages()
    for pages in (*sections.values(), {target: text for _, target, text in copied}):
        for target, text in pages.items():
            files.append(File.generated(config, target, content=text))
    _repository.homes = {source: target for source, target, _ in copied}
    nav: list[Any] = config.nav or []
    for title, pages in sections.items():
        _section(nav, title).extend(sorted(p for p in pages if not p.endswith("index.md")))
    _section(nav, "Results").extend(sorted(t for _, t, _ in copied if t.startswith("cards/")))
    named = set(_named(nav))
    found = {file.src_uri for file in files.documentation_pages()}
    _section(nav, "In depth").extend(sorted(found - named))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links to files of the repository lead to their pages, and put in sections of the README."""
    del config, files
    parts = markdown.split(_README_SECTION)
    for i, part in enumerate(parts[1:], start=1):
        title, _, rest = part.partition(" -->")
        section = section_of((ROOT / "README.md").read_text(encoding="utf-8"), title)
        parts[i] = _repository.with_links(section, "README.md", page.file.src_uri) + rest
    source = _repository.source_of(page.file.src_uri)
    parts[0] = parts[0] if source is None else _repository.with_links(parts[0], source, page.file.src_uri)
    return "".join(parts)


def on_page_content(html: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn formulas into MathML, which browsers show without any script."""
    del config, files
    return formulas_to_mathml(html, str(page.file.src_uri))


def _section(nav: list[Any], title: str) -> list[Any]:
    """The list of pages under `title`."""
    for entry in nav:
        if isinstance(entry, dict) and isinstance(entry.get(title), list):
            found: list[Any] = entry[title]
            return found
    raise KeyError(f"mkdocs.yml has no section {title!r}; hooks.py fills it.")


def _named(entries: list[Any]) -> list[str]:
    """Every page that a navigation names."""
    pages: list[str] = []
    for entry in entries:
        for value in entry.values() if isinstance(entry, dict) else (entry,):
            pages += _named(value) if isinstance(value, list) else [str(value)]
    return pages
