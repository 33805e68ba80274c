"""Chemical families of compounds, by simple rules."""

from __future__ import annotations

from collections.abc import Collection

_ANIONS = ("F", "O", "Cl", "N", "Br", "I", "S", "Se", "H", "P", "As", "Te", "Sb", "Bi")
"""Anion formers, by falling electronegativity (Pauling's scale; hydrogen before the pnictogens of its own value)."""
_FAMILY = {
    **dict.fromkeys(("F", "Cl", "Br", "I"), "halide"),
    "O": "oxide",
    **dict.fromkeys(("S", "Se", "Te"), "chalcogenide"),
    **dict.fromkeys(("N", "P", "As", "Sb", "Bi"), "pnictide"),
    "H": "hydride",
}
_COVALENT = frozenset({"B", "C", "Si", "Ge", "He", "Ne", "Ar", "Kr", "Xe", "Rn", "At"})

FAMILIES = ("intermetallic", "oxide", "halide", "chalcogenide", "pnictide", "hydride", "other")
"""All families, in the order of tables."""


def family(symbols: Collection[str]) -> str:
    """Chemical family of a compound of the elements `symbols`; the first rule that fits.

    1. One element: `other` where it is an anion former or one of B, C, Si, Ge or a noble gas, else `intermetallic`.
    2. The most electronegative anion former present decides: F, Cl, Br, I `halide`; O `oxide`; S, Se, Te
       `chalcogenide`; N, P, As, Sb, Bi `pnictide`; H `hydride`. So a phosphate is an oxide, an oxyfluoride a halide.
    3. `other` with B, C, Si, Ge or a noble gas (borides, carbides, silicides, germanides); else `intermetallic`.
    """
    present = set(symbols)
    if len(present) > 1:
        for symbol in _ANIONS:
            if symbol in present:
                return _FAMILY[symbol]
    return "other" if present & (_COVALENT | set(_ANIONS)) else "intermetallic"
