"""Relaxation of structure files."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from chggen_kit.errors import InputError
from chggen_kit.interfaces import Progress, Relaxation
from chggen_kit.io.files import Format, check_host, read_structures, write_structure
from chggen_kit.metrics.geometry import max_displacement_A
from chggen_kit.metrics.symmetry import SymmetryFailure, space_group
from chggen_kit.plugins import Registry, get_registry
from chggen_kit.workflow.config import RelaxConfig
from chggen_kit.workflow.rundir import write_atomically

_SUFFIXES = {"cif": ".cif", "poscar": ".vasp", "json": ".json", "extxyz": ".extxyz"}


@dataclass(frozen=True)
class RelaxedFile:
    """Outcome for one structure of a file."""

    source: str
    relaxation: Relaxation
    max_displacement_A: float
    spacegroup: str

    def as_json(self, name: str) -> dict[str, Any]:
        """Plain values; `name` is the file that was written."""
        one = self.relaxation
        values = {
            "source": self.source,
            "file": name,
            "outcome": one.reason,
            "converged": one.converged,
            "energy": one.energy,
            "energy_per_atom": one.energy / len(one.structure),
            "energy_change": one.energy_change_per_atom,
            "steps": one.steps,
            "max_force": one.max_force,
            "max_stress": one.max_stress,
            "max_displacement": self.max_displacement_A,
            "spacegroup": self.spacegroup,
        }
        return {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in values.items()
        }


def relax_files(
    files: Sequence[Path],
    out: Path,
    form: Format,
    config: RelaxConfig,
    *,
    registry: Registry | None = None,
    progress: Progress | None = None,
) -> list[RelaxedFile]:
    """Relax all structures of `files` together; write each, and `relaxed.json`, to the directory `out`.

    Raises:
        InputError: when a file cannot be used, or a result is there already.
    """
    registry = registry or get_registry()
    names, structures = [], []
    for path in files:
        found = read_structures(path)
        for number, structure in enumerate(found):
            where = path.name if len(found) == 1 else f"{path.name} frame {number}"
            check_host(structure, where)
            names.append((where, path.stem if len(found) == 1 else f"{path.stem}_{number}"))
            structures.append(structure)
    targets = [out / f"{stem}{_SUFFIXES[form]}" for _, stem in names]
    if len(set(targets)) < len(targets):
        raise InputError("Two of the files have the same name, so their results would overwrite each other.")
    there = [str(target) for target in (*targets, out / "relaxed.json") if target.exists()]
    if there:
        raise InputError(f"{there[0]} is there already, and nothing is overwritten. Choose another place with --out.")
    potential = registry.create_potential(config.potential.name, config.potential.options)
    relaxer = registry.create_relaxer(config.relaxer.name, config.relaxer.options, potential=potential)
    ended = relaxer.relax(structures, cell=config.cell, fmax=config.fmax, max_steps=config.max_steps, progress=progress)
    results = []
    for (where, _), before, one in zip(names, structures, ended, strict=True):
        group = space_group(one.structure, config.symprec_A, config.angle_tolerance_deg)
        label = group.reason if isinstance(group, SymmetryFailure) else f"{group.symbol} ({group.number})"
        results.append(RelaxedFile(where, one, max_displacement_A(before, one.structure), label))
    out.mkdir(parents=True, exist_ok=True)
    for target, result in zip(targets, results, strict=True):
        write_structure(result.relaxation.structure, target, form)
    report = {
        "potential": potential.info.name,
        "energy_frame": potential.info.energy_frame,
        "config": json.loads(config.model_dump_json()),
        "structures": [result.as_json(target.name) for target, result in zip(targets, results, strict=True)],
    }
    write_atomically(out / "relaxed.json", json.dumps(report, indent=2) + "\n")
    return results


def relaxation_table(results: Sequence[RelaxedFile]) -> Table:
    """One line for each structure."""
    table = Table(title="Relaxed structures", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("source", "outcome", "space group"):
        table.add_column(heading)
    for heading in ("E (eV/atom)", "dE (eV/atom)", "steps", "max force (eV/Å)", "max displ. (Å)"):
        table.add_column(heading, justify="right")
    for result in results:
        one = result.relaxation
        table.add_row(
            result.source,
            one.reason,
            result.spacegroup,
            f"{one.energy / len(one.structure):.4f}",
            f"{one.energy_change_per_atom:.3f}",
            str(one.steps),
            f"{one.max_force:.3f}",
            f"{result.max_displacement_A:.2f}",
        )
    return table
