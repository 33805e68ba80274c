"""Phase diagrams of the structures of a report, one for each chemical system and set of references."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pymatgen.core import Composition

from chggen_kit.errors import ChggenError
from chggen_kit.plugins import Registry
from chggen_kit.report.rows import read_rows
from chggen_kit.thermo import ActivePotential, Phase, References, amounts_of
from chggen_kit.thermo.sources import AUTO, NONE, find_references
from chggen_kit.workflow.config import PluginChoice
from chggen_kit.workflow.phase_diagram import Diagram, make_diagram
from chggen_kit.workflow.records import OK
from chggen_kit.workflow.rundir import RunDirectory, read_json

DRAWN = (2, 3)
"""Numbers of elements that can be drawn."""


def diagrams_of(runs: Sequence[Path], registry: Registry) -> tuple[list[Diagram], list[str]]:
    """Diagrams with the structures of `runs` in them, and why some could not be made, in sentences.

    Runs whose structures have the same elements, potential and references share one.
    """
    groups: dict[str, tuple[dict[str, Any], list[Phase]]] = {}
    notes: list[str] = []
    for run in runs:
        try:
            placed = _placed(run)
        except ChggenError as error:
            notes.append(f"{run.name} is in no phase diagram: {error}")
            continue
        if placed:
            config = read_json(RunDirectory(run).run_file)["identity"]["config"]
            symbols = sorted({symbol for phase in placed for symbol in phase.symbols})
            asked = {
                "symbols": symbols,
                "potential": config["potential"],
                "references": config.get("references", AUTO),
                "frame": config.get("references_frame"),
                "exclude": bool(config.get("exclude_composition", False)),
            }
            groups.setdefault(json.dumps(asked, sort_keys=True), (asked, []))[1].extend(placed)
    found: list[Diagram] = []
    for asked, phases in groups.values():
        if len(asked["symbols"]) not in DRAWN or asked["references"] == NONE:
            continue
        try:
            references = _references(asked, registry)
        except ChggenError as error:
            notes.append(f"There is no phase diagram of {'-'.join(asked['symbols'])}: {error}")
            continue
        found.append(make_diagram(references, asked["symbols"], phases, exclude_composition=asked["exclude"]))
    return found, notes


def _references(asked: dict[str, Any], registry: Registry) -> References:
    choice = PluginChoice.model_validate(asked["potential"])
    active = ActivePotential(registry.create_potential(choice.name, choice.options), choice.options, registry)
    found = find_references(asked["references"], asked["symbols"], active, energy_frame=asked["frame"])
    if found.references is None:
        raise ChggenError(found.reason)
    return found.references


def _placed(run: Path) -> list[Phase]:
    """Structures of a run that came through and have an E_d, which says that there were references."""
    return [
        Phase(
            f"{run.name} {row.keys['structure_id']}",
            amounts_of(Composition(row.keys["formula"])),
            row.keys["energy_per_atom"] * row.keys["natoms"],
            row.keys["energy_frame"],
            row.keys["potential"],
        )
        for row in read_rows(run)
        if row.keys["outcome"] == OK and "E_d" in row.keys
    ]
