"""Pages that lie elsewhere in the repository, and links that work there as well as on the site."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.exceptions import PluginError

ROOT = Path(__file__).resolve().parents[2]
_LINK = re.compile(r"(?<!\!)\[(?P<text>[^\]\[]*)\]\((?P<target>[^)\s#:]+)(?P<anchor>#[^)\s]*)?\)")
_FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.MULTILINE | re.DOTALL)


def copied_pages() -> list[tuple[str, str, str]]:
    """Path in the repository, path on the site, and text of every page that is kept outside docs/."""
    pages = [("CHANGELOG.md", "changelog.md")]
    cards = sorted(ROOT.glob("backends/*/weights/*.md"))
    pages += [(str(path.relative_to(ROOT)), f"cards/{path.name}") for path in cards]
    pages.append(("chggen_kit/thermo/data/README.md", "cards/reference-phases.md"))
    return [(source, target, (ROOT / source).read_text(encoding="utf-8")) for source, target in pages]


def section_of(text: str, title: str) -> str:
    """What stands under the heading `## title`, without the heading.

    Raises:
        PluginError: when there is no such heading.
    """
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if found is None:
        raise PluginError(f"README.md has no section {title!r}; a page of the docs asks for it.")
    return found.group(1)


class Repository:
    """Where the repository's files are on the site.

    Args:
        homes: path on the site by path in the repository, for pages kept outside docs/.
    """

    def __init__(self, homes: dict[str, str]) -> None:
        self.homes = homes

    def source_of(self, page: str) -> str | None:
        """Path in the repository of a page of the site; None for one that is made."""
        for source, target in self.homes.items():
            if target == page:
                return source
        return f"docs/{page}" if (ROOT / "docs" / page).is_file() else None

    def with_links(self, text: str, source: str, page: str) -> str:
        """`text` of the file `source`, with links for `page` of the site; code blocks are left alone.

        Raises:
            PluginError: for a link to a file that does not exist.
        """
        pieces, end = [], 0
        for fence in _FENCE.finditer(text):
            pieces += [self._relink(text[end : fence.start()], source, page), fence.group(0)]
            end = fence.end()
        return "".join([*pieces, self._relink(text[end:], source, page)])

    def _relink(self, text: str, source: str, page: str) -> str:
        def replaced(match: re.Match[str]) -> str:
            return self._link(match["text"], match["target"], match["anchor"] or "", source, page)

        return _LINK.sub(replaced, text)

    def _link(self, text: str, target: str, anchor: str, source: str, page: str) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if not (ROOT / path).exists():
            raise PluginError(f"{source} links to {target}, which does not exist.")
        if path == "README.md":
            # The site's own first page stands in for it; the README's sections are not on it.
            path, anchor = "docs/index.md", ""
        home = path.removeprefix("docs/") if path.startswith("docs/") else self.homes.get(path)
        if home is not None:
            return f"[{text}]({posixpath.relpath(home, posixpath.dirname(page) or '.')}{anchor})"
        if path.startswith("chggen_kit/") and path.endswith(".py"):
            return f"[{text}][{path.removesuffix('.py').removesuffix('/__init__').replace('/', '.')}]"
        # A file of the source that the site does not hold is named; whoever reads the site finds it by that.
        return text if path in text else f"{text} (`{path}`)"
