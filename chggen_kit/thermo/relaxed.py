"""References made from structures: each is relaxed with the potential that is to be compared with, once."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict
from pymatgen.core import Structure

from chggen_kit.errors import InputError
from chggen_kit.interfaces import Potential, Progress
from chggen_kit.plugins import Registry
from chggen_kit.thermo.cache import CachedRelaxation, RelaxationCache
from chggen_kit.thermo.phases import ReferencePhase, References, amounts_of
from chggen_kit.workflow.records import StructureData

_LOG = logging.getLogger(__name__)
_USABLE_ENDS = ("converged", "max-steps")
_ASIDE = ("device",)
"""Options of a potential on which its energies depend in their last bits only."""


@dataclass(frozen=True)
class StartingPhase:
    """A structure that is to become a reference phase.

    Attributes:
        id: its name.
        source: where it comes from.
        structure: ordered, of any cell.
    """

    id: str
    source: str
    structure: Structure


class ReferenceSettings(BaseModel):
    """How reference phases are relaxed: tighter than candidates, since all energies are measured from them.

    Attributes:
        fmax: limit on forces in eV/Å.
        max_steps: steps after which a phase is taken as it is, with a warning.
        relaxer: name of the relaxer; `relaxer_options` are its options.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fmax: float = 0.02
    max_steps: int = 500
    relaxer: str = "fire"
    relaxer_options: Mapping[str, Any] = {}


@dataclass(frozen=True)
class ActivePotential:
    """The potential of a run, and what it was made from.

    Attributes:
        potential: ready for use.
        options: the options given to its plug-in, as plain JSON: with its name they say what its energies are.
        registry: makes the relaxer.
    """

    potential: Potential
    options: Mapping[str, Any]
    registry: Registry

    @property
    def name(self) -> str:
        """Name and version of the weights."""
        return self.potential.info.name

    @property
    def energy_frame(self) -> str:
        """Frame of its energies."""
        return self.potential.info.energy_frame

    def identity(self, settings: ReferenceSettings) -> dict[str, Any]:
        """What a relaxation depends on beside its structure, as plain JSON."""
        options = {key: value for key, value in self.options.items() if key not in _ASIDE}
        plain = {
            "potential": self.name,
            "energy_frame": self.energy_frame,
            "options": options,
            "settings": settings.model_dump(mode="json"),
        }
        result: dict[str, Any] = json.loads(json.dumps(plain, default=str))
        return result


def relax_phases(
    phases: Sequence[StartingPhase],
    active: ActivePotential,
    settings: ReferenceSettings,
    *,
    cache: RelaxationCache | None = None,
    progress: Progress | None = None,
) -> list[CachedRelaxation]:
    """Outcome for each of `phases`, from the cache or by relaxing them; what was done is kept piece by piece.

    Raises:
        InputError: when the potential does not cover an element, or the cache cannot be written.
    """
    cache = RelaxationCache() if cache is None else cache
    identity = active.identity(settings)
    for phase in phases:
        _check_covered(phase, active)
    starts = [StructureData.of(phase.structure) for phase in phases]
    found = [cache.get(start, identity) for start in starts]
    # Smallest first: pieces fill their batch, and whoever stops the work has lost little.
    missing = sorted((i for i, one in enumerate(found) if one is None), key=lambda i: len(starts[i].species))
    relaxer = None
    done = len(phases) - len(missing)
    for piece in _pieces(missing, [len(start.species) for start in starts], active.potential.info.max_atoms_per_batch):
        if relaxer is None:
            relaxer = active.registry.create_relaxer(
                settings.relaxer, settings.relaxer_options, potential=active.potential
            )
        if progress is not None:
            progress.update(done, len(phases), phases[piece[0]].structure.composition.reduced_formula)
        ended = relaxer.relax([phases[i].structure for i in piece], fmax=settings.fmax, max_steps=settings.max_steps)
        for index, one in zip(piece, ended, strict=True):
            usable = one.reason in _USABLE_ENDS
            outcome = CachedRelaxation(
                identity=identity,
                structure=StructureData.of(one.structure),
                energy=one.energy if usable else None,
                reason=one.reason,
                steps=one.steps,
                max_force=one.max_force,
            )
            if one.reason != "out-of-memory":  # true of this machine, and of this moment
                cache.put(starts[index], outcome)
            found[index] = outcome
        done += len(piece)
    if progress is not None:
        progress.update(len(phases), len(phases))
    return [one for one in found if one is not None]


def _pieces(order: Sequence[int], sizes: Sequence[int], most: int) -> list[list[int]]:
    """`order` in consecutive pieces of about two batches: a relaxer refills its batch as structures end."""
    pieces: list[list[int]] = []
    room = 0
    for index in order:
        if not pieces or room < sizes[index]:
            pieces.append([])
            room = 2 * most
        pieces[-1].append(index)
        room -= sizes[index]
    return pieces


def _check_covered(phase: StartingPhase, active: ActivePotential) -> None:
    unknown = sorted(
        {site.specie.symbol for site in phase.structure if site.specie.Z not in active.potential.info.elements}
    )
    if unknown:
        raise InputError(
            f"The potential {active.name} does not cover {', '.join(unknown)} of the reference phase {phase.id} "
            f"({phase.structure.composition.reduced_formula}). Leave it out, or choose another potential."
        )


def relaxed_references(
    phases: Sequence[StartingPhase],
    active: ActivePotential,
    settings: ReferenceSettings,
    label: str,
    *,
    cache: RelaxationCache | None = None,
    progress: Progress | None = None,
) -> References:
    """References from structures, by `relax_phases`; a phase whose relaxation failed is left out with a warning.

    Raises:
        InputError: as `relax_phases`, or when no phase is left.
    """
    outcomes = relax_phases(phases, active, settings, cache=cache, progress=progress)
    made = []
    for phase, outcome in zip(phases, outcomes, strict=True):
        formula = phase.structure.composition.reduced_formula
        if outcome.energy is None:
            _LOG.warning("The reference phase %s (%s) is left out: %s.", phase.id, formula, outcome.reason)
            continue
        if outcome.reason != "converged":
            _LOG.warning(
                "The reference phase %s (%s) was not relaxed to the end (largest force %.3f eV/Å after %d steps).",
                phase.id,
                formula,
                outcome.max_force or float("nan"),
                outcome.steps,
            )
        made.append(
            ReferencePhase(
                id=phase.id,
                amounts=amounts_of(phase.structure.composition),
                energy=outcome.energy,
                energy_frame=active.energy_frame,
                potential=active.name,
                source=phase.source,
                data=outcome.structure,
            )
        )
    return References(made, label)
