"""From what the user says (`auto`, `none`, `mp` or a path) to references of a chemical system."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from chggen_kit.errors import InputError
from chggen_kit.interfaces import Progress
from chggen_kit.io.files import check_host, read_structures
from chggen_kit.thermo.cache import RelaxationCache
from chggen_kit.thermo.entries import diagram_references, read_json
from chggen_kit.thermo.materials_project import materials_project_references
from chggen_kit.thermo.packaged import packaged_references, packaged_set
from chggen_kit.thermo.phases import References
from chggen_kit.thermo.relaxed import ActivePotential, ReferenceSettings, StartingPhase, relaxed_references

_LOG = logging.getLogger(__name__)
AUTO = "auto"
NONE = "none"
MATERIALS_PROJECT = "mp"
RELAXED_REPORT = "relaxed.json"
"""What `chggen relax` writes beside the structures."""
_SUFFIXES = (".cif", ".vasp", ".poscar", ".json", ".xyz", ".extxyz")
_NAMES = ("POSCAR", "CONTCAR")


@dataclass(frozen=True)
class FoundReferences:
    """What was found.

    Attributes:
        references: they hold the elements of the chemical system; None where there are none.
        reason: why there are none, as a sentence; empty otherwise.
    """

    references: References | None
    reason: str = ""


def find_references(
    choice: str,
    symbols: Collection[str],
    active: ActivePotential,
    *,
    energy_frame: str | None = None,
    settings: ReferenceSettings | None = None,
    cache: RelaxationCache | None = None,
    progress: Progress | None = None,
) -> FoundReferences:
    """References for phases of the elements `symbols`, comparable with energies of the active potential.

    Args:
        choice: `auto` for the packaged ones where they cover the system, `none`, `mp` for the Materials Project, or the
            path of a phase diagram (JSON), of a structure file or of a folder of structure files. Structures are
            relaxed with the active potential, once.
        symbols: all elements that the phases may hold.
        active: the potential of the run.
        energy_frame: of the energies of a phase diagram that does not tell.
        settings: of relaxations.
        cache: where relaxations are kept; the user's by default.
        progress: told how many phases are ready.

    Raises:
        InputError: when references that were asked for cannot be had, do not reach an element, or are of another frame
            or potential. `auto` never raises: it finds none, with the reason.
    """
    settings = settings or ReferenceSettings()
    if choice == NONE:
        return FoundReferences(None, "no references were wanted")
    if choice == AUTO:
        return _packaged(symbols, active, settings, cache, progress)
    if choice == MATERIALS_PROJECT:
        references = materials_project_references(symbols, active.energy_frame)
    else:
        references = _from_path(Path(choice), set(symbols), active, energy_frame, settings, cache, progress)
    references = references.of(symbols)
    references.check_comparable(active.name, active.energy_frame)
    return FoundReferences(references)


def _packaged(
    symbols: Collection[str],
    active: ActivePotential,
    settings: ReferenceSettings,
    cache: RelaxationCache | None,
    progress: Progress | None,
) -> FoundReferences:
    system = "-".join(sorted(symbols))
    try:
        references = packaged_references(symbols, active, settings, cache=cache, progress=progress)
        if references is not None:
            return FoundReferences(references.of(symbols))
    except InputError as error:
        return FoundReferences(None, f"the packaged references of {system} cannot be used: {error}")
    known = ", ".join("-".join(system) for system in packaged_set().systems)
    return FoundReferences(
        None, f"no packaged references cover {system} (they cover {known}; --references names others)"
    )


def _from_path(
    path: Path,
    symbols: set[str],
    active: ActivePotential,
    energy_frame: str | None,
    settings: ReferenceSettings,
    cache: RelaxationCache | None,
    progress: Progress | None,
) -> References:
    if not path.exists():
        raise InputError(
            f"There are no references at {path}: give auto, none, mp, or the path of a phase diagram in JSON, of a "
            "structure file, or of a folder of structure files."
        )
    if path.is_file() and {".json", ".pkl", ".pickle"} & {suffix.lower() for suffix in path.suffixes}:
        references = diagram_references(read_json(path), path, symbols, energy_frame)
        if references is not None:
            return references
    starts = [phase for phase in read_phases(path) if set(phase.structure.symbol_set) <= symbols]
    if not starts:
        raise InputError(f"{path} holds no structure of {'-'.join(sorted(symbols))}.")
    return relaxed_references(starts, active, settings, path.name, cache=cache, progress=progress)


def read_phases(path: Path) -> list[StartingPhase]:
    """The structures of a file, or of the structure files that lie in a folder.

    Raises:
        InputError: when one cannot be used, or there is none.
    """
    files = [path]
    if path.is_dir():
        files = sorted(
            one
            for one in path.iterdir()
            if one.is_file()
            and one.name != RELAXED_REPORT
            and (one.suffix.lower() in _SUFFIXES or one.name.upper().startswith(_NAMES))
        )
    if not files:
        raise InputError(f"{path} holds no structure files ({', '.join(_SUFFIXES)}, POSCAR).")
    phases = []
    for file in files:
        structures = read_structures(file)
        for number, structure in enumerate(structures):
            name = f"{file.name}:{number}" if len(structures) > 1 else file.name
            check_host(structure, name)
            phases.append(StartingPhase(name, path.name, structure))
    return phases
