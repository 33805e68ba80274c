"""Phase diagrams of the structures of a report, one for each chemical system and set of references."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pymatgen.core import Composition

from chggen_kit.errors import ChggenError
from chggen_kit.plugins import Registry
from chggen_kit.report.rows import RunRow, read_rows
from chggen_kit.thermo import ActivePotential, Phase, References, amounts_of
from chggen_kit.thermo.packaged import packaged_label
from chggen_kit.thermo.sources import AUTO, NONE, find_references
from chggen_kit.workflow.config import PluginChoice
from chggen_kit.workflow.phase_diagram import Diagram, make_diagram
from chggen_kit.workflow.records import OK
from chggen_kit.workflow.rundir import RunDirectory, read_json

DRAWN = (2, 3)
"""Numbers of elements that can be drawn."""


@dataclass
class _Group:
    """Structures of the same elements, placed by the same potential against the same references."""

    symbols: tuple[str, ...]
    potential: dict[str, Any]
    about: dict[str, Any]
    phases: list[Phase] = field(default_factory=list)

    @property
    def key(self) -> str:
        return json.dumps([self.symbols, self.potential, self.about], sort_keys=True)


def diagrams_of(runs: Sequence[Path], registry: Registry, references: str = AUTO) -> tuple[list[Diagram], list[str]]:
    """Diagrams with the structures of `runs` in them, and why some could not be made, in sentences.

    A run stores what its E_d are measured from as a hash alone, so `references` (as of `chggen hull`) must give phases
    with that hash: a diagram never shows a structure against another hull than its E_d.
    """
    groups: dict[str, _Group] = {}
    notes: list[str] = []
    for run in runs:
        try:
            found = _group_of(run)
        except ChggenError as error:
            notes.append(f"{run.name} is in no phase diagram: {error}")
            continue
        if found is not None and len(found.symbols) in DRAWN:
            groups.setdefault(found.key, _Group(found.symbols, found.potential, found.about)).phases += found.phases
    diagrams: list[Diagram] = []
    for group in groups.values() if references != NONE else ():
        try:
            chosen = _references(group, registry, references)
        except ChggenError as error:
            notes.append(f"There is no phase diagram of {'-'.join(group.symbols)}: {error}")
            continue
        exclude = bool(group.about["exclude_composition"])
        diagrams.append(make_diagram(chosen, group.symbols, group.phases, exclude_composition=exclude))
    return diagrams, notes


def _references(group: _Group, registry: Registry, references: str) -> References:
    """The references that the E_d of the group are measured from.

    Raises:
        ChggenError: when `references` gives others, or none.
    """
    label = group.about["references"]
    others = ChggenError(
        f"its E_d are measured from {label}, which --references {references} does not give. Give the --references that "
        "the results were made with."
    )
    if references == AUTO and label != packaged_label():
        raise others  # before anything is relaxed
    choice = PluginChoice.model_validate(group.potential)
    active = ActivePotential(registry.create_potential(choice.name, choice.options), choice.options, registry)
    found = find_references(references, group.symbols, active, energy_frame=group.about["energy_frame"])
    if found.references is None:
        raise ChggenError(f"{found.reason}.")
    if found.references.digest != group.about["digest"]:
        raise others
    return found.references


def _group_of(run: Path) -> _Group | None:
    """What a run has to show: structures that came through and have an E_d; None where it has none."""
    rows = [row for row in read_rows(run) if row.keys["outcome"] == OK and "E_d" in row.keys]
    about = read_json(RunDirectory(run).summary).get("thermodynamics", {}) if rows else {}
    if not rows or about.get("references") is None:
        return None
    potential = read_json(RunDirectory(run).run_file)["identity"]["config"]["potential"]
    phases = [_phase(run, row) for row in rows]
    symbols = tuple(sorted({symbol for phase in phases for symbol in phase.symbols}))
    kept = {key: about[key] for key in ("references", "digest", "energy_frame", "exclude_composition")}
    return _Group(symbols, potential, kept, phases)


def _phase(run: Path, row: RunRow) -> Phase:
    return Phase(
        f"{run.name} {row.keys['structure_id']}",
        amounts_of(Composition(row.keys["formula"])),
        row.keys["energy_per_atom"] * row.keys["natoms"],
        row.keys["energy_frame"],
        row.keys["potential"],
    )
