"""Choice of the guests of a composition: the cation with the broadest distribution of coordination numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from pymatgen.core import Composition, Element

from chggen_kit.workflow.formula import atom_counts, electronegativity

_ANION_FORMERS = frozenset({"F", "Cl", "Br", "I", "O", "S", "Se", "Te", "N"})

_FEWEST_SITES = 30
"""An element seen at fewer sites has no distribution worth comparing."""


@dataclass(frozen=True)
class GuestChoice:
    """The elements that are taken out before the host is symmetrised, and why these."""

    elements: tuple[str, ...]
    reason: str


def entropy(counts: Iterable[int]) -> float:
    """Breadth of a histogram: its Shannon entropy in nats."""
    numbers = [count for count in counts if count]
    total = sum(numbers)
    return sum(count / total * math.log(total / count) for count in numbers)


def _anionic_character(symbol: str) -> tuple[float, int, int]:
    """Sorts elements by electronegativity, then by group, then lighter ones last."""
    element = Element(symbol)
    return electronegativity(symbol), int(element.group), -int(element.Z)


def cations(composition: Composition) -> tuple[str, ...]:
    """Elements taken as cations: less electronegative (Pauling) than the most electronegative element present.

    Halogens, chalcogens and nitrogen count as anions whatever stands beside them (O in an oxyfluoride, S in a
    sulphate), unless that leaves none (SO2). Of elements with the same electronegativity (Cu3Si, PdH) the one further
    to the right in the periodic table is the anion. An element alone has no cations.
    """
    symbols = tuple(atom_counts(composition))
    anion = max(symbols, key=_anionic_character)
    top = electronegativity(anion)
    below = tuple(symbol for symbol in symbols if electronegativity(symbol) < top)
    below = below or tuple(symbol for symbol in symbols if symbol != anion)
    return tuple(symbol for symbol in below if symbol not in _ANION_FORMERS) or below


@cache
def coordination_table() -> dict[str, Any]:
    """Coordination statistics of the training set: numbers (`sites`, `mean`, `std`, `entropy`, ...) by element."""
    table: dict[str, Any] = json.loads(files("chggen_kit").joinpath("data/coordination.json").read_text("utf-8"))
    return dict(table["elements"])


def _breadths(symbols: Iterable[str]) -> dict[str, float]:
    """Entropies of the coordination numbers, where they are known well enough."""
    found: dict[str, float] = {}
    for symbol in symbols:
        numbers: Mapping[str, Any] = coordination_table().get(symbol, {})
        if numbers.get("sites", 0) >= _FEWEST_SITES:
            found[symbol] = numbers["entropy"]
    return found


def choose_guests(composition: Composition) -> GuestChoice:
    """The guests that the kit takes when none are named: one element, or none for an element.

    The paper removes "atoms that exhibit broad local environment distributions (e.g. Li)". Here that is the cation
    whose coordination numbers in the training set have the largest entropy, over fluorides, oxides, nitrides, halides
    and chalcogenides alike. Cations without statistics are considered only when no cation has any: then the least
    electronegative is taken.
    """
    candidates = cations(composition)
    if not candidates:
        return GuestChoice((), "an element has no guests")
    if len(candidates) == 1:
        return GuestChoice(candidates, f"{candidates[0]} is the only cation")
    breadths = _breadths(candidates)
    if not breadths:
        chosen = min(candidates, key=electronegativity)
        return GuestChoice((chosen,), f"{chosen} is the least electronegative cation (no statistics for any of them)")
    ranked = sorted(breadths, key=lambda symbol: (-breadths[symbol], electronegativity(symbol)))
    others = ", ".join(f"{symbol} {breadths[symbol]:.2f}" for symbol in ranked[1:]) or "no other known"
    return GuestChoice(
        (ranked[0],),
        f"{ranked[0]} has the broadest distribution of coordination numbers in the training set "
        f"(entropy {breadths[ranked[0]]:.2f}; {others})",
    )
