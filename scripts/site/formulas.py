r"""Formulas as MathML, made when the site is built: `$…$` and `$$…$$` in the pages, no script in the browser."""

from __future__ import annotations

import html
import re

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError

# What the extension pymdownx.arithmatex (generic) makes of a formula.
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\s*\\([(\[])(.*?)\\[)\]]\s*</\1>', re.DOTALL)
_UNKNOWN = re.compile(r"<m[ion]>\\|\\[A-Za-z]+")


def formulas_to_mathml(page: str, name: str) -> str:
    """`page` with all formulas as MathML.

    Raises:
        PluginError: for a formula with a command that the converter does not know, which it would print as it stands.
    """

    def replaced(match: re.Match[str]) -> str:
        latex = html.unescape(match[3]).strip()
        block = match[2] == "["
        mathml = convert(latex, display="block" if block else "inline")
        if _UNKNOWN.search(html.unescape(mathml)):
            raise PluginError(f"{name}: a command of the formula {latex!r} is not known to latex2mathml.")
        return f'<div class="formula">{mathml}</div>' if block else mathml

    return _FORMULA.sub(replaced, page)
