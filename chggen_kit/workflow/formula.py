"""Reading what users write: formulas, guest counts and lists of elements."""

from __future__ import annotations

import math
import re
import unicodedata
import warnings
from difflib import get_close_matches

from pymatgen.core import Composition, Element

from chggen_kit.errors import InputError

# Deuterium and tritium are isotopes: the kit knows elements only.
_SYMBOLS = tuple(sorted({element.value for element in Element} - {"D", "T"}))
_TOKEN = re.compile(r"\s*(?:(?P<symbol>[A-Z][a-z]?)|(?P<open>[(\[{])|(?P<close>[)\]}]))(?P<amount>[0-9]*\.?[0-9]*)")
_BRACKETS = {")": "(", "]": "[", "}": "{"}


def check_symbol(symbol: str, where: str) -> str:
    """Return `symbol` when it is the exact symbol of an element.

    Raises:
        InputError: otherwise, with the nearest symbols.
    """
    if symbol in _SYMBOLS:
        return symbol
    near = get_close_matches(symbol.capitalize(), _SYMBOLS, n=4, cutoff=0.5)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    raise InputError(f"Unknown element {symbol!r} in {where}.{hint} Symbols are written as in the periodic table (Zn).")


def _amount(text: str, formula: str) -> int:
    """Whole, positive amount after a symbol or a bracket (1 when nothing is written)."""
    if not text:
        return 1
    value = float(text) if text != "." else 0.0
    if value <= 0:
        raise InputError(f"The amount {text!r} in the formula {formula!r} is not positive. Leave that element out.")
    if value != int(value):
        raise InputError(
            f"The amount {text!r} in the formula {formula!r} is not whole: a cell holds whole atoms. "
            "Multiply the formula until all amounts are whole (Li0.5CoO2 is LiCo2O4)."
        )
    return int(value)


def _close_group(groups: list[tuple[str, dict[str, int]]], bracket: str, formula: str) -> dict[str, int]:
    """Take the innermost open group off the stack."""
    if len(groups) == 1 or groups[-1][0] != _BRACKETS[bracket]:
        raise InputError(f"A bracket closes that was not opened in the formula {formula!r}.")
    parts = groups.pop()[1]
    if not parts:
        raise InputError(f"A pair of brackets holds nothing in the formula {formula!r}.")
    return parts


def parse_composition(text: str) -> Composition:
    """Composition of one cell, with the amounts as written: `Zn2P4S12` holds 18 atoms, and `ZnSP2S5` is `ZnP2S6`.

    Brackets and subscript digits are understood.

    Raises:
        InputError: when the formula is empty, malformed, holds an unknown element, or an amount that is fractional,
            zero or negative.
    """
    formula = unicodedata.normalize("NFKC", text).strip()
    if not formula:
        raise InputError("The formula is empty. Write it as ZnP2S6.")
    # A stack of open groups: the bracket that opened each, and what it holds so far.
    groups: list[tuple[str, dict[str, int]]] = [("", {})]
    position = 0
    while position < len(formula):
        token = _TOKEN.match(formula, position)
        if token is None or (token["open"] and token["amount"]):
            raise InputError(
                f"Cannot read the formula {formula!r} from {formula[position:]!r} on. Element symbols begin with a "
                "capital letter and amounts are whole and positive, as in Zn3(PS4)2."
            )
        position = token.end()
        if token["open"]:
            groups.append((token["open"], {}))
            continue
        if token["symbol"]:
            parts = {check_symbol(token["symbol"], f"the formula {formula!r}"): 1}
        else:
            parts = _close_group(groups, token["close"], formula)
        times = _amount(token["amount"], formula)
        for symbol, count in parts.items():
            groups[-1][1][symbol] = groups[-1][1].get(symbol, 0) + count * times
    if len(groups) > 1:
        raise InputError(f"A bracket is not closed in the formula {formula!r}.")
    return Composition(groups[0][1])


def formula_units(composition: Composition, count: int) -> Composition:
    """Composition of a cell with `count` times the atoms of `composition`.

    Raises:
        InputError: when `count` is not at least 1.
    """
    if count < 1:
        raise InputError(f"The number of formula units must be at least 1, not {count}.")
    return composition * count


def atom_counts(composition: Composition) -> dict[str, int]:
    """Whole atoms of each element, by symbol, in the order of the composition.

    Raises:
        InputError: when the composition is empty or an amount is not whole and positive.
    """
    counts = {element.symbol: round(amount) for element, amount in composition.items()}
    if not counts or any(
        count < 1 or abs(count - amount) > 1e-8
        for count, amount in zip(counts.values(), composition.values(), strict=True)
    ):
        raise InputError(f"{composition.formula!r} is not a composition of whole atoms.")
    return counts


def parse_guest_counts(text: str) -> dict[str, int]:
    """Guests as `Li=4,Na=1`: symbol to number of atoms, in the order given.

    Raises:
        InputError: when an entry is malformed, repeated, names an unknown element, or has no positive whole number.
    """
    counts: dict[str, int] = {}
    for entry in text.split(","):
        symbol, equals, number = (part.strip() for part in entry.partition("="))
        if not equals or not symbol:
            raise InputError(
                f"Cannot read the guest {entry.strip()!r} in {text!r}: write ELEMENT=COUNT, as in Li=4,Na=1."
            )
        check_symbol(symbol, f"the guests {text!r}")
        if symbol in counts:
            raise InputError(f"The guest {symbol} appears twice in {text!r}. Add its counts up.")
        if not re.fullmatch(r"[0-9]+", number, flags=re.ASCII) or int(number) < 1:
            raise InputError(f"The count {number!r} of guest {symbol} in {text!r} is not a whole number of at least 1.")
        counts[symbol] = int(number)
    return counts


def parse_elements(text: str, composition: Composition) -> tuple[str, ...]:
    """Guest elements as `Zn,Cu`, each one an element of `composition`, which must keep at least one other element.

    Symbols are compared whole: S is not in LiSi.

    Raises:
        InputError: when an entry is unknown, repeated, or not in the composition, or when nothing else would remain.
    """
    present = [element.symbol for element in composition]
    elements: list[str] = []
    for entry in text.split(","):
        symbol = check_symbol(entry.strip(), f"the list of elements {text!r}")
        if symbol not in present:
            raise InputError(
                f"The element {symbol} is not in {composition.reduced_formula}. Choose from {', '.join(present)}."
            )
        if symbol in elements:
            raise InputError(f"The element {symbol} appears twice in {text!r}.")
        elements.append(symbol)
    if set(elements) == set(present):
        raise InputError(
            f"Taking out {', '.join(elements)} leaves nothing of {composition.reduced_formula}: a host needs "
            "at least one element that is not a guest."
        )
    return tuple(elements)


def electronegativity(symbol: str) -> float:
    """Pauling electronegativity; minus infinity for elements without one (light noble gases)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pymatgen warns of elements without a value, which are dealt with here
        value = float(Element(symbol).X)
    return value if math.isfinite(value) else -math.inf
