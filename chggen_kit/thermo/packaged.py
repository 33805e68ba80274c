"""The references that ship with the kit: its own relaxations, with energies by several potentials.

One file, `data/references.json.gz`; `scripts/make_references.py` remakes it, and the README beside it tells of its
sources and settings.
"""

from __future__ import annotations

import gzip
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from chggen_kit.errors import InputError
from chggen_kit.interfaces import Progress
from chggen_kit.thermo.cache import RelaxationCache
from chggen_kit.thermo.phases import ReferencePhase, References, amounts_of, reduced_formula
from chggen_kit.thermo.relaxed import ActivePotential, ReferenceSettings, StartingPhase, relaxed_references
from chggen_kit.workflow.records import StructureData

NEAR_HULL = 0.1
"""eV/atom above the hull of the potential that relaxed the packaged structures: what lies higher is not relaxed again
with another potential, whose hull it would hardly reach."""
POLYMORPHS, POLYMORPH_ATOMS = 5, 44
"""Of one formula, that many of the lowest phases with cells up to that size are relaxed again: ZnS has 27 polytypes
within 5 meV/atom, which stand for one another."""
_FILE = "references.json.gz"


class PackagedPotential(BaseModel):
    """A potential whose energies are in the file.

    Attributes:
        energy_frame: of its energies.
        within: `representatives` up to this distance in eV/atom were evaluated; None for all phases.
        settings: of the relaxations.
        versions: of the software.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    energy_frame: str
    within: float | None = None
    settings: ReferenceSettings
    versions: Mapping[str, str]


class PackagedPhase(BaseModel):
    """A phase of the file.

    Attributes:
        id: name of the structure that it was relaxed from, in its source.
        source: where that structure came from.
        structure: as relaxed by the first potential.
        energies: total energies in eV of `structure`, by potential; those of further potentials are of the structure
            relaxed on by them.
        above_hull: distance in eV/atom from the hull of the first potential.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    source: str
    structure: StructureData
    energies: Mapping[str, float]
    above_hull: float


class PackagedSet(BaseModel):
    """Content of the file.

    Attributes:
        systems: chemical systems of which all known phases near the hull are in the file; any subset is covered too.
        potentials: by name; the first one relaxed the structures.
        phases: all of them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    systems: tuple[tuple[str, ...], ...]
    potentials: Mapping[str, PackagedPotential]
    phases: tuple[PackagedPhase, ...]

    def covers(self, symbols: Collection[str]) -> bool:
        """Whether the elements are those of a system of the file, or some of them."""
        return any(set(symbols) <= set(system) for system in self.systems)


def read_set(path: Path) -> PackagedSet:
    """The set in `path`, a gzip'd JSON file.

    Raises:
        InputError: when it cannot be read.
    """
    try:
        return PackagedSet.model_validate_json(gzip.decompress(path.read_bytes()))
    except (OSError, EOFError, ValidationError) as error:
        raise InputError(f"The references in {path} cannot be read: {error}. Install the kit again.") from error


def _path() -> Path:
    return Path(str(files("chggen_kit.thermo") / "data" / _FILE))


@cache
def packaged_set() -> PackagedSet:
    """The set that ships with the kit."""
    return read_set(_path())


@cache
def packaged_label() -> str:
    """Label of the packaged references, with the beginning of their file's SHA-256."""
    return f"packaged-{sha256(_path().read_bytes()).hexdigest()[:8]}"


def packaged_references(
    symbols: Collection[str],
    active: ActivePotential,
    settings: ReferenceSettings | None = None,
    *,
    cache: RelaxationCache | None = None,
    progress: Progress | None = None,
) -> References | None:
    """The packaged phases of the elements `symbols` with energies of the active potential; None without such phases.

    For a potential whose energies the file does not hold, the phases near the hull are relaxed, once (see
    `relaxed_references`).

    Raises:
        InputError: when the potential does not cover an element.
    """
    known = packaged_set()
    if not known.covers(symbols):
        return None
    wanted = set(symbols)
    phases = [phase for phase in known.phases if set(phase.structure.species) <= wanted]
    held = known.potentials.get(active.name)
    if held is not None and held.energy_frame == active.energy_frame:
        return References(
            (_reference(phase, active.name, held.energy_frame) for phase in phases if active.name in phase.energies),
            packaged_label(),
        )
    starts = [
        StartingPhase(phase.id, phase.source, phase.structure.structure())
        for phase in representatives(phases, NEAR_HULL)
    ]
    return relaxed_references(
        starts, active, settings or ReferenceSettings(), packaged_label(), cache=cache, progress=progress
    )


def representatives(phases: Sequence[PackagedPhase], within: float) -> list[PackagedPhase]:
    """Those of `phases` that the hull of another potential needs.

    They lie up to `within` eV/atom above the hull of the first one. Of each formula they are the lowest few of moderate
    size, or the lowest one where all are large.
    """
    by_formula: dict[str, list[PackagedPhase]] = {}
    for phase in sorted(phases, key=lambda one: one.above_hull):
        if phase.above_hull <= within:
            by_formula.setdefault(reduced_formula(phase.structure.structure().composition), []).append(phase)
    chosen: list[PackagedPhase] = []
    for alike in by_formula.values():
        small = [phase for phase in alike if len(phase.structure.species) <= POLYMORPH_ATOMS]
        chosen += small[:POLYMORPHS] or alike[:1]
    return chosen


def _reference(phase: PackagedPhase, potential: str, energy_frame: str) -> ReferencePhase:
    return ReferencePhase(
        id=phase.id,
        amounts=amounts_of(phase.structure.structure().composition),
        energy=phase.energies[potential],
        energy_frame=energy_frame,
        potential=potential,
        source=phase.source,
        data=phase.structure,
    )
