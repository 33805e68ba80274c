"""Sentences of a model card that follow from a run's own record of its data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chggen_kit.training.dataset import Selection
from chggen_kit.training.held_out import fingerprint, read_held_out


def source_sentence(selection: Mapping[str, Any], given: str) -> str:
    """Where the structures come from: what was given, else the counts by the rows' own `source`, else the files.

    Args:
        selection: content of the run's data.json.
        given: a sentence to use instead, or nothing.
    """
    if given:
        return given
    counts = selection.get("sources") or {}
    files = ", ".join(Path(path).name for path, _ in selection["request"]["data"])
    rows = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    return f"structures of {files}" + (f" (sources: {rows})" if rows else "")


def selection_sentence(selection: Mapping[str, Any]) -> str:
    """Which structures were used, from the content of the run's data.json."""
    request = selection["request"]
    low, high = selection.get("volume_per_atom_A3", (Selection.min_volume, Selection.max_volume))
    shipped = read_held_out()
    # Runs before the checksum was noted have the name of the list, None for the shipped one.
    ours = request.get("held_out_sha256") == fingerprint(shipped) or request.get("held_out") == "None"
    name = "the shipped list held_out_formulas.txt.gz" if ours else "the run's own list"
    held_out = request["held_out_formulas"]
    formulas = f"no formula of {name} ({held_out} formulas)" if held_out else "no formula left out"
    return (
        f"split {request['split']}; at most {request['max_atoms']} atoms; energy above the hull below "
        f"{request['max_above_hull']} eV/atom or unknown; {low:g} to {high:g} Å^3 per atom; {formulas}"
    )
