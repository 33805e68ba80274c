"""E_d of the structures of a run, from energies that are stored already: nothing is relaxed for it but references."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pymatgen.core import Composition

from chggen_kit.interfaces import Progress
from chggen_kit.plugins import Registry
from chggen_kit.thermo import ActivePotential, Hull, Phase, Placement, amounts_of
from chggen_kit.thermo.sources import FoundReferences, find_references
from chggen_kit.workflow.assembly import Parts
from chggen_kit.workflow.config import RunConfig
from chggen_kit.workflow.records import OK, Record
from chggen_kit.workflow.runner import Labelled

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stability:
    """Where the structures of a run lie against a hull.

    Attributes:
        placements: of every relaxed structure that came through, by its identity; empty without references.
        about: what they were measured from, as plain JSON: the content of `thermodynamics` in `summary.json`.
    """

    placements: Mapping[str, Placement] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)


def run_references(
    config: RunConfig, parts: Parts, registry: Registry, symbols: Collection[str], progress: Progress | None
) -> FoundReferences:
    """References for the structures of a run, which hold the elements `symbols`.

    Raises:
        InputError: when references that the user asked for cannot be used.
    """
    if parts.potential is None:
        return FoundReferences(None, "the structures were not relaxed")
    active = ActivePotential(parts.potential, config.potential.options, registry)
    found = find_references(
        config.references,
        symbols,
        active,
        energy_frame=config.references_frame,
        progress=None if progress is None else Labelled(progress, "references"),
    )
    if found.references is not None:
        _LOG.info("References: %s, %d phases of %s.", found.references.label, len(found.references), active.name)
    return found


def place_records(
    records: Sequence[Record], found: FoundReferences, parts: Parts, *, exclude_composition: bool
) -> Stability:
    """E_d and E_hull of every structure that was relaxed and came through.

    An element has no hull without its own phases, so with `exclude_composition` it gets no E_d.
    """
    if found.references is None or parts.potential is None:
        return Stability(about={"references": None, "reason": found.reason})
    info = parts.potential.info
    phases = []
    for record in records:
        if record.outcome != OK or record.energy is None or record.relaxed is None:
            continue
        amounts = amounts_of(Composition.from_dict(_counts(record.relaxed.species)))
        if len(amounts) > 1 or not exclude_composition:
            phases.append(Phase(record.id, amounts, record.energy, info.energy_frame, info.name))
    placed = Hull(found.references).place_all(phases, exclude_composition=exclude_composition)
    about = {
        "references": found.references.label,
        "digest": found.references.digest,
        "phases": len(found.references),
        "potential": found.references.potential,
        "energy_frame": found.references.energy_frame,
        "exclude_composition": exclude_composition,
    }
    return Stability({phase.id: one for phase, one in zip(phases, placed, strict=True)}, about)


def _counts(species: Sequence[str]) -> dict[str, int]:
    return {symbol: species.count(symbol) for symbol in sorted(set(species))}


def stability_values(placement: Placement | None) -> dict[str, Any]:
    """Values of one structure for rows and summaries; empty when it has no E_d."""
    if placement is None:
        return {}
    return {
        "E_d": placement.decomposition_energy,
        "E_hull": placement.above_hull,
        "decomposition": placement.decomposition,
        "references": placement.references,
        "exclude_composition": placement.exclude_composition,
    }
