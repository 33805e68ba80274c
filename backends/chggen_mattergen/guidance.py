"""What a model is guided to: property values, and which elements may be generated."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from chggen_kit.errors import InputError

CHEMICAL_SYSTEM = "chemical_system"
FORBIDDEN = -1e30
"""The logit of classes that must not be drawn. MatterGen adds -1e10, which guidance mixes and scales with the rest."""
_UNCONDITIONAL = "_USE_UNCONDITIONAL_EMBEDDING"
"""Attribute in which MatterGen's networks look up which properties to ignore."""


@dataclass(frozen=True)
class Guidance:
    """Properties with their values, and the factor.

    Attributes:
        values: numbers by property name; for the chemical system the element symbols joined by hyphens.
        factor: 1 follows the conditional score alone; others mix it with the unconditional one.
    """

    values: Mapping[str, float | str]
    factor: float

    @property
    def calls(self) -> int:
        """Network calls for one evaluation of the score."""
        return 2 if self.values and self.factor != 1 else 1

    def attributes(self, n_crystals: int, *, conditional: bool, device: torch.device) -> dict[str, Any]:
        """Attributes of a graph of `n_crystals` crystals that make the network heed, or ignore, the properties."""
        if not self.values:
            return {}
        attributes: dict[str, Any] = {
            name: [value] * n_crystals if isinstance(value, str) else torch.full((n_crystals, 1), value, device=device)
            for name, value in self.values.items()
        }
        ignored = torch.full((n_crystals, 1), not conditional, dtype=torch.bool, device=device)
        attributes[_UNCONDITIONAL] = dict.fromkeys(self.values, ignored)
        return attributes


def make_guidance(
    chemical_system: Sequence[str], properties: Mapping[str, float], factor: float, trained_on: Sequence[str]
) -> Guidance:
    """Guidance for a model that was trained on the properties `trained_on`.

    Raises:
        InputError: for a property that the model does not know, a factor that would ignore what was asked for, or a
            value that cannot be.
    """
    values: dict[str, float | str] = dict(properties)
    if CHEMICAL_SYSTEM in values:
        raise InputError("A chemical system is no number: give it by the option chemical_system, e.g. Zn-P-S.")
    for name, number in properties.items():
        if not math.isfinite(number):
            raise InputError(f"The value of {name} is {number}. Give a finite number.")
    if chemical_system:
        atomic_numbers(chemical_system)  # refuses what is no element
        values[CHEMICAL_SYSTEM] = "-".join(sorted(set(chemical_system)))
    for name, value in values.items():
        if name not in trained_on:
            known = f"It was trained on {', '.join(trained_on)}." if trained_on else "It was trained on no property."
            hint = (
                " To keep other elements out of a model without this property, use the option `elements`."
                if name == CHEMICAL_SYSTEM
                else ""
            )
            raise InputError(f"This MatterGen model cannot be guided by {name!r}. {known}{hint}")
        if name == "space_group" and not (float(value) == int(value) and 1 <= int(value) <= 230):
            raise InputError(f"space_group is {value}: space groups have whole numbers from 1 to 230.")
    if values and factor == 0:
        raise InputError(
            f"A guidance factor of 0 would ignore {', '.join(values)}. Leave the option guidance_factor out for 2, or "
            "leave the properties out for unguided generation."
        )
    return Guidance(values, factor)


def atomic_numbers(symbols: Sequence[str]) -> list[int]:
    """Atomic numbers of element symbols.

    Raises:
        InputError: for a text that is no symbol.
    """
    from ase.data import atomic_numbers as table

    strangers = [symbol for symbol in symbols if symbol not in table or table[symbol] == 0]
    if strangers:
        raise InputError(f"{strangers[0]!r} is not an element symbol. Write elements as in Zn-P-S.")
    return [int(table[symbol]) for symbol in symbols]
