"""The page itself: one HTML file that loads nothing and lets nothing else run."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from chggen_kit import __version__
from chggen_kit.errors import ChggenError
from chggen_kit.report.content import ReportContent
from chggen_kit.report.drawing import THEMES, FigureSpec, render
from chggen_kit.report.payload import embedded, page_payload
from chggen_kit.report.summary import energy_rows, rate_rows

if TYPE_CHECKING:
    from markupsafe import Markup

VIEWER_SHA256 = "f7cc78921ae72e7623e89cdd111434f58c2efddd2ffda1cd212644b406fb8016"
"""Of `vendor/3Dmol-min.js` (see the README beside it)."""
_SCRIPTS = ("theme.js", "files.js", "filters.js", "table.js", "crystal.js", "viewer.js", "main.js")
_VIEWER = "3Dmol-min.js"


def _asset(folder: str, name: str) -> str:
    return (files("chggen_kit.report") / folder / name).read_text(encoding="utf-8")


def _viewer() -> str:
    text = _asset("vendor", _VIEWER)
    found = sha256(text.encode()).hexdigest()
    if found != VIEWER_SHA256:
        raise ChggenError(
            f"The viewer {_VIEWER} of the installed package was changed: its SHA-256 is {found} and not "
            f"{VIEWER_SHA256}. Install chggen-kit again."
        )
    return text


def _digest(text: str) -> str:
    """Source expression of Content-Security-Policy for an inline script or style."""
    return f"'sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}'"


def _policy(scripts: Sequence[str], styles: Sequence[str]) -> str:
    """Nothing is loaded, and only these scripts run: text that found its way into the page cannot."""
    parts = (
        "default-src 'none'",
        f"script-src {' '.join(map(_digest, scripts))}",
        f"style-src {' '.join(map(_digest, styles))}",
        "img-src data: blob:",
        "base-uri 'none'",
        "form-action 'none'",
    )
    return "; ".join(parts)


def _picture(spec: FigureSpec) -> dict[str, Any]:
    sources = {theme: f"data:image/svg+xml;base64,{base64.b64encode(render(spec, theme)).decode()}" for theme in THEMES}
    return {"spec": spec, "sources": sources, "width": round(96 * spec.size[0]), "height": round(96 * spec.size[1])}


def render_page(content: ReportContent, figures: Mapping[str, Sequence[FigureSpec]]) -> str:
    """The page as text.

    Args:
        content: what it shows.
        figures: by section: `success`, `distributions`, `phases`, `cost`, `environments`.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    # Only our own files are marked as safe; everything else is escaped by the template.
    scripts = [_viewer(), *(_asset("assets", name) for name in _SCRIPTS)]
    style = _asset("assets", "report.css")
    environment = Environment(
        loader=PackageLoader("chggen_kit.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    data: Markup = Markup(embedded(page_payload(content)))  # noqa: S704  `embedded` escapes it for its place
    return environment.get_template("report.html.j2").render(
        content=content,
        version=__version__,
        policy=_policy(scripts, [style]),
        style=Markup(style),  # noqa: S704  a file of this package
        scripts=[Markup(one) for one in scripts],  # noqa: S704  files of this package
        data=data,
        rates=rate_rows(content),
        energies=energy_rows(content),
        pictures={name: [_picture(spec) for spec in group] for name, group in figures.items()},
        configuration=json.dumps(content.configuration, indent=2, ensure_ascii=False, sort_keys=True),
        comparisons={name: one.as_json() for name, one in content.environments.items()},
    )
