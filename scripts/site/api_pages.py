"""The Python reference: which modules have a page; mkdocstrings fills it from their docstrings."""

from __future__ import annotations

import ast
from pathlib import Path

from markdown_tables import prose, table
from repository import ROOT

_TITLES = {
    "workflow": "The pipeline",
    "interfaces": "What plug-ins implement",
    "testing": "Checks for plug-ins",
}
_LEFT_OUT = ("cli", "isolated")
"""The command line has a reference of its own; the worker's protocol is no interface for users."""


def api_pages() -> dict[str, str]:
    """Text by path of the index and of one page for each package (or module) of the core."""
    core = ROOT / "chggen_kit"
    found = [p for p in sorted(core.iterdir()) if p.suffix == ".py" or (p / "__init__.py").is_file()]
    public = [p for p in found if not p.name.startswith("_") and p.name not in _LEFT_OUT]
    first = [core / name for name in _TITLES if core / name in public]
    ordered = first + [p for p in public if p not in first]
    pages = {f"api/{p.stem}.md": _page(p) for p in ordered}
    rows = [(f"[`chggen_kit.{p.stem}`]({p.stem}.md)", prose(_TITLES.get(p.stem) or _summary(p))) for p in ordered]
    pages["api/index.md"] = "\n".join(
        [
            "# Python API\n",
            "Made from the docstrings. Shapes stand in brackets (`[n_atoms, 3]`), units in names (`symprec_A`).\n",
            table(("module", "what it holds"), rows),
        ]
    )
    return pages


def _page(path: Path) -> str:
    modules = [path] if path.is_file() else sorted(p for p in path.rglob("*.py") if not _private(p))
    names = [".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for p in modules]
    # A package before its modules.
    blocks = [f"::: {name}\n" for name in sorted(names)]
    return "\n".join([f"# {path.stem}\n", *blocks])


def _private(path: Path) -> bool:
    return any(part.startswith("_") and part != "__init__.py" for part in path.relative_to(ROOT).parts)


def _summary(path: Path) -> str:
    file = path if path.is_file() else path / "__init__.py"
    return (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").split("\n\n")[0]
