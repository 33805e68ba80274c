"""Reference phases from pymatgen's entries: files of phase diagrams, and lists of entries.

The JSON is read as plain data. Neither a pickle nor monty's decoder is used: both run what the file names.
"""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pymatgen.core import Composition, Element, Structure

from chggen_kit.errors import InputError
from chggen_kit.thermo.phases import DFT, ReferencePhase, References, amounts_of
from chggen_kit.workflow.records import StructureData

DIAGRAMS = ("PatchedPhaseDiagram", "PhaseDiagram", "CompoundPhaseDiagram")
_CORRECTED = "MP2020"
"""How pymatgen's MaterialsProject2020Compatibility begins the names of its corrections."""
CORRECTED_FRAME = "mp2020-corrected"


def read_json(path: Path) -> Any:  # noqa: ANN401  JSON can hold anything
    """Content of a JSON file, gzip'd when its name ends so.

    Raises:
        InputError: when it cannot be read; a pickle is refused by name.
    """
    if any(suffix in {".pkl", ".pickle"} for suffix in path.suffixes):
        raise InputError(
            f"{path} is a pickle, which can run any code when it is loaded, so the kit loads none. Load it yourself if "
            "you trust it, and write it with monty: dumpfn(diagram, 'diagram.json.gz')."
        )
    try:
        raw = path.read_bytes()
        return json.loads(gzip.decompress(raw) if path.suffix.lower() == ".gz" else raw)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON: {type(error).__name__}: {error}.") from error


def entries_of(content: Any) -> Sequence[Mapping[str, Any]] | None:  # noqa: ANN401  what a JSON file holds
    """The entries of a diagram's JSON or of a list of entries; None when `content` is something else."""
    if isinstance(content, Mapping) and content.get("@class") in DIAGRAMS:
        inner = content.get("computed_data")
        # Diagrams that older pymatgen wrote have their entries at the top.
        holder = inner if isinstance(inner, Mapping) and "all_entries" in inner else content
        content = holder.get("all_entries", [])
    if isinstance(content, list) and all(isinstance(one, Mapping) and "composition" in one for one in content):
        return content
    return None


def diagram_references(
    content: Any,  # noqa: ANN401  what a JSON file holds
    path: Path,
    symbols: set[str],
    energy_frame: str | None,
) -> References | None:
    """The phases of `symbols` in a diagram's JSON or a list of entries; None when `content` is something else.

    Energies are the corrected ones, of computations. The frame is the one given; without it, MP2020 corrections in the
    file tell it.

    Raises:
        InputError: when an entry cannot be read, or nobody tells the frame.
    """
    entries = entries_of(content)
    if entries is None:
        return None
    found_frame = _stated_frame(entries)
    if energy_frame is None and found_frame is None:
        raise InputError(
            f"{path} does not tell which energies it holds (no entry has MP2020 corrections). Name their frame with "
            f"--references-frame, e.g. {CORRECTED_FRAME}, raw-pbe or r2scan."
        )
    if energy_frame is not None and found_frame not in {None, energy_frame}:
        raise InputError(
            f"{path} holds energies with MP2020 corrections, the frame {found_frame!r}, not {energy_frame!r}."
        )
    frame = energy_frame or found_frame or ""
    phases = []
    for number, entry in enumerate(entries):
        # A diagram of everything holds 10^5 structures: only those that are wanted are made.
        phase = _phase(entry, number, path, frame, symbols)
        if phase is not None:
            phases.append(phase)
    if not phases:
        raise InputError(f"{path} holds {len(entries)} phases, and none of {'-'.join(sorted(symbols))}.")
    return References(phases, path.name)


def _stated_frame(entries: Sequence[Mapping[str, Any]]) -> str | None:
    corrections = {
        str(adjustment.get("name", ""))
        for entry in entries
        for adjustment in entry.get("energy_adjustments") or ()
        if isinstance(adjustment, Mapping)
    }
    is_corrected = bool(corrections) and all(name.startswith(_CORRECTED) for name in corrections)
    return CORRECTED_FRAME if is_corrected else None


def _phase(entry: Mapping[str, Any], number: int, path: Path, frame: str, symbols: set[str]) -> ReferencePhase | None:
    """One entry: `PDEntry`, `ComputedEntry` or `ComputedStructureEntry` as `as_dict` writes them; None for others'."""
    try:
        composition = Composition({str(key): float(value) for key, value in entry["composition"].items()})
        # Ions count as their elements, and anything else is refused here.
        composition = Composition({Element(one.symbol): amount for one, amount in composition.items()})
        if composition and not {element.symbol for element in composition} <= symbols:
            return None
        energy = float(entry["energy"]) + float(entry.get("correction") or 0.0)
        structure = entry.get("structure")
        data = StructureData.of(Structure.from_dict(dict(structure))) if isinstance(structure, Mapping) else None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"Entry {number} of {path} is no entry of a phase diagram: {type(error).__name__}: {error}."
        ) from error
    name = entry.get("entry_id") or entry.get("name") or f"entry-{number}"
    if not composition:
        raise InputError(f"Entry {number} of {path} ({name}) has no atoms.")
    if not math.isfinite(energy):
        raise InputError(f"The energy of {name} ({composition.reduced_formula}) in {path} is {energy}.")
    return ReferencePhase(
        id=str(name),
        amounts=amounts_of(composition),
        energy=energy,
        energy_frame=frame,
        potential=DFT,
        source=path.name,
        data=data,
    )
