"""What was handed off, and where each structure comes from: rows for people (CSV) and for programs (JSON)."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ase.db
from ase.db.row import AtomsRow
from pymatgen.core import Structure

from chggen_kit.dft.candidates import MATCHER, Criterion, Judged, Selected
from chggen_kit.dft.settings import KSpacingChoice
from chggen_kit.dft.vasp import Written
from chggen_kit.workflow.assembly import library_versions
from chggen_kit.workflow.config import config_hash

_STABILITY = ("E_d", "E_hull", "decomposition", "references", "exclude_composition", "E_d_spread", "rank_depends")
"""Of thermodynamics and second opinions, where the run has them."""
_PROVENANCE = ("stage", "host_id", "seed", "backend", "checkpoint", "checkpoint_sha256", "sampler", "relaxer")
CRITERIA: Mapping[Criterion, str] = {
    "E_d": "E_d, the energy over the hull of reference phases",
    "above best": "the energy above the run's best structure of the same composition (its rows have no E_d, so this "
    "says nothing about stability against other phases)",
}


def run_facts(database: Path) -> dict[str, Any]:
    """Which run the structures come from: its directory, and the hash of its configuration."""
    with ase.db.connect(str(database), type="db", use_lock_file=False) as connection:
        identity = connection.metadata.get("run")
    return {
        "directory": str(database.parent),
        "database": database.name,
        "configuration_hash": None if identity is None else config_hash(identity),
    }


def entry(
    rank: int, folder: str, selected: Selected, structure: Structure, choice: KSpacingChoice, written: Written
) -> dict[str, Any]:
    """Everything about one folder, in plain JSON."""
    judged = selected.judged
    row = judged.row
    return {
        "rank": rank,
        "folder": folder,
        "structure_id": judged.id,
        "formula": structure.composition.reduced_formula,
        "n_atoms": len(structure),
        "spacegroup_number": row.get("spacegroup_number"),
        "spacegroup_symbol": row.get("spacegroup_symbol"),
        "symprec_A": row.get("symprec"),
        "potential": row.get("potential"),
        "energy_frame": row.get("energy_frame"),
        "energy_per_atom": float(row.energy_per_atom),
        "criterion": judged.criterion,
        "criterion_energy": judged.energy,
        **{key: plain(row, key) for key in _STABILITY},
        "converged": None if row.get("converged") is None else bool(row.converged),
        **{key: plain(row, key) for key in _PROVENANCE},
        "electrons": choice.kind,
        "electrons_because": choice.reason,
        "kpoint_grid": list(written.grid),
        "incar": written.incar,
        "potcar_symbols": list(written.potcar_symbols),
        "potcar": "POTCAR" if written.has_potcar else "POTCAR.spec",
        "potcar_problem": written.potcar_problem,
        "remarks": list(written.remarks),
        "duplicates": [duplicate(one) for one in selected.duplicates],
    }


def duplicate(judged: Judged) -> dict[str, Any]:
    """A structure that is the same as one that was handed off."""
    return {
        "structure_id": judged.id,
        "energy_per_atom": float(judged.row.energy_per_atom),
        "criterion_energy": judged.energy,
        "spacegroup_symbol": judged.row.get("spacegroup_symbol"),
    }


def plain(row: AtomsRow, key: str) -> Any:  # noqa: ANN401  whatever the row holds
    """A value of a row; None where there is none, or no finite one."""
    value = row.get(key)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def manifest(
    run: Mapping[str, Any], counts: Mapping[str, int], request: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Content of `manifest.json`."""
    return {
        "run": dict(run),
        "request": dict(request),
        "input_set": "pymatgen MPScanRelaxSet (r2SCAN)",
        "duplicates_by": MATCHER,
        "units": "energies in eV/atom, KSPACING in 1/Å, EDIFF in eV, EDIFFG in eV/Å",
        "versions": library_versions(),
        "counts": dict(counts),
        "candidates": list(entries),
    }


def as_csv(entries: Sequence[Mapping[str, Any]]) -> str:
    """The same entries as a table, one line a folder; settings and duplicates in columns of their own."""
    rows = []
    for one in entries:
        flat = {key: value for key, value in one.items() if key not in {"incar", "duplicates", "remarks"}}
        flat["kpoint_grid"] = "x".join(str(count) for count in one["kpoint_grid"])
        flat["potcar_symbols"] = " ".join(one["potcar_symbols"])
        flat |= one["incar"]
        flat["duplicates"] = " ".join(twin["structure_id"] for twin in one["duplicates"])
        rows.append(flat)
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()
