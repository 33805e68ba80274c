"""Volume per atom of a composition: presets of the paper, otherwise a regression on elemental volumes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from pymatgen.core import Composition

from chggen_kit.errors import InputError
from chggen_kit.workflow.formula import atom_counts, electronegativity

_PRESETS = {
    frozenset({"Zn", "P", "S"}): (24.0, "preset Zn-P-S (paper)"),
    frozenset({"Li", "Si"}): (16.0, "preset Li-Si (paper)"),
}

_SMALLEST_A3 = 3.0
"""No solid at ambient pressure is denser in atoms (diamond: 5.7 Å^3): a smaller estimate is a failed extrapolation."""


@dataclass(frozen=True)
class VolumeEstimate:
    """Volume per atom in Å^3, and where the number comes from."""

    value_A3: float
    source: str


def anion_class(elements: Mapping[str, Any], classes: Mapping[str, str]) -> str:
    """Class of the most electronegative of `elements` (oxide, halide, ...).

    It is `element` for one species alone, and `metal` where the most electronegative one has no class.
    """
    if len(elements) == 1:
        return "element"
    return classes.get(max(elements, key=electronegativity), "metal")


@cache
def volume_table() -> dict[str, Any]:
    """The fitted table: `volumes` and `corrections` in Å^3, `anion_classes`, and how they were fitted (`fit`)."""
    table: dict[str, Any] = json.loads(files("chggen_kit").joinpath("data/atomic_volumes.json").read_text("utf-8"))
    return table


def volume_from_table(counts: Mapping[str, int], table: Mapping[str, Any]) -> float:
    """Volume per atom in Å^3: sum_i x_i (v_i + d_i,c), with v the elemental volumes and d the class corrections.

    Args:
        counts: atoms by symbol.
        table: as `volume_table`.

    Raises:
        KeyError: for an element without a volume.
    """
    kind = anion_class(counts, table["anion_classes"])
    total = sum(
        count * (table["volumes"][symbol] + table["corrections"].get(symbol, {}).get(kind, 0.0))
        for symbol, count in counts.items()
    )
    return float(total / sum(counts.values()))


def volume_per_atom(composition: Composition) -> VolumeEstimate:
    """Volume per atom of `composition`.

    The Zn-P-S and Li-Si systems (exactly these elements) have the presets of the paper.

    Raises:
        InputError: for an element that is not in the table, or when the estimate is no sensible volume.
    """
    counts = atom_counts(composition)
    if frozenset(counts) in _PRESETS:
        return VolumeEstimate(*_PRESETS[frozenset(counts)])
    table = volume_table()
    missing = [symbol for symbol in counts if symbol not in table["volumes"]]
    if missing:
        raise InputError(
            f"The volume of {composition.reduced_formula} cannot be estimated: the training set holds too few "
            f"structures with {', '.join(missing)}. Give the volume with --volume-per-atom (in Å^3)."
        )
    value = volume_from_table(counts, table)
    if value < _SMALLEST_A3:
        raise InputError(
            f"The estimate for {composition.reduced_formula} is {value:.1f} Å^3 an atom, which no solid has: the "
            "regression does not reach this composition. Give the volume with --volume-per-atom (in Å^3)."
        )
    error = table["fit"]["test"]["mean_relative_error"]
    return VolumeEstimate(value, f"regression on elemental volumes (mean error {100 * error:.1f} % on the test split)")
