"""What a page's scripts work on: tables and crystals as compact JSON that no text can break out of."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from chggen_kit.benchmark.tables import Table
from chggen_kit.report.content import Crystal, ReportContent
from chggen_kit.workflow.records import StructureData

if TYPE_CHECKING:
    import pandas as pd

Filter = Literal["choice", "flag", "max"]
FRACTION_DIGITS, LENGTH_DIGITS = 7, 6
"""Of fractional coordinates and cells in Å: 10^-6 Å. Every digit is in the results of the run."""


@dataclass(frozen=True)
class View:
    """How a column is shown.

    Attributes:
        label: heading; empty for a column that is in the CSV alone.
        digits: of a number.
        choose: how its values are filtered, if at all.
    """

    label: str = ""
    digits: int | None = None
    choose: Filter | None = None


STRUCTURE_VIEWS: Mapping[str, View] = {
    "structure": View("structure"),
    "system": View("system", choose="choice"),
    "method": View("method", choose="choice"),
    "stage": View("stage", choose="choice"),
    "formula": View("formula", choose="choice"),
    "n_atoms": View("atoms"),
    "group_symbol": View("space group"),
    "group": View("no."),
    "symmetric": View("symmetric", choose="flag"),
    "E_d": View("E_d (eV/atom)", 3, "max"),
    "energy_per_atom": View("E (eV/atom)", 3),
    "energy_change": View("ΔE (eV/atom)", 3),
    "max_displacement_A": View("displ. (Å)", 2),
    "host_drift_A": View("drift (Å)", 2),
    "outcome": View("outcome", choose="choice"),
    "converged": View("converged"),
    "unique": View("unique", choose="flag"),
    "novel": View("novel", choose="flag"),
    "match": View("matches"),
    "seed": View("seed"),
}
_BENCHMARK_ONLY = ("system", "method", "seed")
_RATE_DIGITS, _QUANTITY_DIGITS, _SECOND_DIGITS = 3, 4, 1
OTHER_VIEWS: Mapping[str, Mapping[str, View]] = {
    "rates": {
        **{name: View(name.replace("_", " "), choose="choice") for name in ("scope", "system", "method", "stage")},
        "n_atoms": View("atoms"),
        "metric": View("metric", choose="choice"),
        "state": View("state"),
        "tolerance_A": View("tolerance (Å)", 3),
        "numerator": View("count"),
        "denominator": View("of"),
        "denominator_name": View("of what"),
        **{name: View(name, _RATE_DIGITS) for name in ("rate", "low", "high")},
        "interval": View("interval"),
        "null_rate": View("null rate", _RATE_DIGITS),
        "null_numerator": View("null count"),
        "null_denominator": View("null of"),
        "null_name": View("null is of"),
    },
    "quantities": {
        **{name: View(name.replace("_", " "), choose="choice") for name in ("scope", "system", "method", "quantity")},
        "n_atoms": View("atoms"),
        "unit": View("unit"),
        "count": View("structures"),
        **{
            name: View(name.replace("_", " "), _QUANTITY_DIGITS)
            for name in ("best", "quartile_1", "median", "quartile_3", "mean", "low", "high")
        },
    },
    "differences": {
        "metric": View("metric", choose="choice"),
        "tolerance_A": View("tolerance (Å)", 3),
        "method": View("method", choose="choice"),
        "other": View("compared with", choose="choice"),
        **{
            name: View(name.replace("_", " "), _RATE_DIGITS)
            for name in ("rate", "other_rate", "difference", "low", "high")
        },
        "interval": View("interval"),
        "systems": View("systems"),
        "excludes_zero": View("excludes zero", choose="flag"),
    },
    "cells": {
        "system": View("system", choose="choice"),
        "method": View("method", choose="choice"),
        "seed": View("seed"),
        "status": View("status", choose="choice"),
        "reason": View("reason"),
        "starts": View("starts"),
        "structures": View("structures"),
        "relaxed": View("relaxed"),
        "symmetric": View("symmetric"),
        "null_rate": View("null rate", _RATE_DIGITS),
        "network_calls": View("network calls"),
        "cpu_seconds": View("CPU (s)", _SECOND_DIGITS),
        "wall_seconds": View("wall clock (s)", _SECOND_DIGITS),
        "peak_memory_MB": View("memory (MB)", 0),
        "device": View("device"),
    },
}


def table_payload(frame: pd.DataFrame, table: Table, views: Mapping[str, View]) -> dict[str, Any]:
    """Columns (those with a view first, empty ones left out) and rows of `frame`."""
    meanings = {column.name: column for column in table.columns}
    names = [*views, *(name for name in table.names if name not in views)]
    names = [name for name in names if frame[name].notna().any()]
    columns = [
        {
            "key": name,
            "label": views.get(name, View()).label,
            "about": meanings[name].meaning,
            "kind": meanings[name].kind,
            "digits": views.get(name, View()).digits,
            "filter": views.get(name, View()).choose,
        }
        for name in names
    ]
    values = [[_plain(value) for value in frame[name]] for name in names]
    return {"columns": columns, "rows": [list(row) for row in zip(*values, strict=True)]}


def _plain(value: Any) -> Any:  # noqa: ANN401  whatever a frame holds
    import pandas as pd

    if pd.isna(value):
        return None
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(f"{value:.8g}") if math.isfinite(value) else None
    return str(value)


def crystal_payload(crystal: Crystal | None) -> dict[str, Any] | None:
    """Elements, guests and the two states of a crystal; None without one."""
    if crystal is None or crystal.shown is None:
        return None
    species = crystal.shown.species
    elements = list(dict.fromkeys(species))
    states = {"relaxed": crystal.relaxed, "drawn": crystal.drawn}
    return {
        "elements": elements,
        "species": [elements.index(symbol) for symbol in species],
        "guests": list(crystal.guests),
        **{name: _state(one) for name, one in states.items() if one is not None and one.species == species},
    }


def _state(data: StructureData) -> dict[str, list[float]]:
    """Cell (nine numbers) and coordinates; a left-handed cell with all axes turned round.

    A CIF holds lengths and angles, which a left-handed cell shares with its mirror image.
    """
    lattice, coordinates = np.array(data.lattice), np.array(data.frac_coords)
    if np.linalg.det(lattice) < 0:
        lattice, coordinates = -lattice, -coordinates
    return {
        "lattice": np.round(lattice, LENGTH_DIGITS).ravel().tolist(),
        "coordinates": (np.round(coordinates, FRACTION_DIGITS) + 0.0).ravel().tolist(),
    }


def radii_of(crystals: Iterable[Mapping[str, Any] | None]) -> dict[str, float]:
    """Covalent radii in Å of all elements (Cordero et al., Dalton Trans. 2832 (2008), from ASE): they make bonds."""
    from ase.data import atomic_numbers, covalent_radii

    symbols = sorted({symbol for one in crystals if one is not None for symbol in one["elements"]})
    return {symbol: round(float(covalent_radii[atomic_numbers[symbol]]), 3) for symbol in symbols}


def page_payload(content: ReportContent) -> dict[str, Any]:
    """All that the scripts of a page need."""
    from chggen_kit.benchmark.tables import CELLS, DIFFERENCES, QUANTITIES, RATES, STRUCTURES

    crystals: Sequence[dict[str, Any] | None] = [crystal_payload(one) for one in content.crystals]
    frames = {
        "rates": (content.rates, RATES),
        "quantities": (content.quantities, QUANTITIES),
        "differences": (content.differences, DIFFERENCES),
        "cells": (content.cells, CELLS),
    }
    # In a run these say the same in every row, or the same as the stage.
    shown = {
        name: view for name, view in STRUCTURE_VIEWS.items() if content.kind != "run" or name not in _BENCHMARK_ONLY
    }
    return {
        "name": content.title,
        "tables": {
            "structures": table_payload(content.structures, STRUCTURES, shown),
            **{
                name: table_payload(frame, table, OTHER_VIEWS[name])
                for name, (frame, table) in frames.items()
                if len(frame)
            },
        },
        "crystals": crystals,
        "radii": radii_of(crystals),
    }


def embedded(value: object) -> str:
    """JSON that may stand in a `script` element: no character of it can end the element or open another one."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
