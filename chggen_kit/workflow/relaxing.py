"""Relaxation of structure files."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymatgen.core import Structure
from rich.box import SIMPLE_HEAD
from rich.table import Table

from chggen_kit.errors import InputError
from chggen_kit.interfaces import Progress, Relaxation
from chggen_kit.io.files import Format, check_host, read_structures, write_structure
from chggen_kit.metrics.geometry import max_displacement_A
from chggen_kit.metrics.symmetry import SymmetryFailure, space_group
from chggen_kit.plugins import Registry, get_registry
from chggen_kit.relaxers.policies import relax_by_policy
from chggen_kit.thermo.sources import RELAXED_REPORT
from chggen_kit.workflow.config import RelaxConfig
from chggen_kit.workflow.rundir import write_atomically
from chggen_kit.workflow.targets import SUFFIXES, refuse_existing

UNUSABLE = "unusable"
"""Outcome of a file that could not be used."""


@dataclass(frozen=True)
class RelaxedFile:
    """Outcome for one structure of a file; `stem` is the name of its result without the suffix of the format."""

    source: str
    stem: str
    relaxation: Relaxation
    max_displacement_A: float
    spacegroup: str

    def as_json(self, suffix: str) -> dict[str, Any]:
        """Plain values; `suffix` is that of the file that was written."""
        one = self.relaxation
        values = {
            "source": self.source,
            "file": f"{self.stem}{suffix}",
            "outcome": one.reason,
            "problem": None,
            "converged": one.converged,
            "freed": one.freed,
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


@dataclass(frozen=True)
class UnusableFile:
    """A file, or one structure of it, that could not be relaxed because it could not be used.

    Attributes:
        source: name of the file, with the number of the frame where it holds several.
        problem: why, as a sentence.
    """

    source: str
    problem: str

    def as_json(self, suffix: str) -> dict[str, Any]:
        """Plain values; no file was written, whatever its `suffix`."""
        del suffix
        return {"source": self.source, "file": None, "outcome": UNUSABLE, "problem": self.problem}


@dataclass(frozen=True)
class _Input:
    source: str
    stem: str
    structure: Structure


def _read(files: Sequence[Path]) -> list[_Input | UnusableFile]:
    """The structures of all files in their order, and what is wrong with those that cannot be used."""
    found: list[_Input | UnusableFile] = []
    for path in files:
        try:
            structures = read_structures(path)
        except InputError as error:
            found.append(UnusableFile(path.name, str(error)))
            continue
        for number, structure in enumerate(structures):
            several = len(structures) > 1
            where = f"{path.name} frame {number}" if several else path.name
            try:
                check_host(structure, where)
            except InputError as error:
                found.append(UnusableFile(where, str(error)))
            else:
                found.append(_Input(where, f"{path.stem}_{number}" if several else path.stem, structure))
    return found


def relax_files(
    files: Sequence[Path],
    out: Path,
    form: Format,
    config: RelaxConfig,
    *,
    registry: Registry | None = None,
    progress: Progress | None = None,
) -> list[RelaxedFile | UnusableFile]:
    """Relax all structures of `files` together; write each, and `relaxed.json`, to the directory `out`.

    Files that cannot be used are left out, and listed with their problem both here and in `relaxed.json`.

    Raises:
        InputError: when none of the files can be used, or a result is there already.
    """
    registry = registry or get_registry()
    found = _read(files)
    inputs = [one for one in found if isinstance(one, _Input)]
    if not inputs:
        raise InputError("\n".join(one.problem for one in found if isinstance(one, UnusableFile)))
    structures = [one.structure for one in inputs]
    targets = [out / f"{one.stem}{SUFFIXES[form]}" for one in inputs]
    if len(set(targets)) < len(targets):
        raise InputError("Two of the files have the same name, so their results would overwrite each other.")
    refuse_existing([*targets, out / RELAXED_REPORT])
    potential = registry.create_potential(config.potential.name, config.potential.options)
    relaxer = registry.create_relaxer(config.relaxer.name, config.relaxer.options, potential=potential)
    hosts = [[site.specie.symbol not in config.guests for site in one] for one in structures]
    ended = relax_by_policy(
        relaxer,
        structures,
        config.relax_policy,
        hosts=hosts,
        fmax=config.fmax,
        max_steps=config.max_steps,
        progress=progress,
    )
    relaxed = iter([_relaxed(before, after, config) for before, after in zip(inputs, ended, strict=True)])
    results = [one if isinstance(one, UnusableFile) else next(relaxed) for one in found]
    out.mkdir(parents=True, exist_ok=True)
    for target, after in zip(targets, ended, strict=True):
        write_structure(after.structure, target, form)
    report = {
        "potential": potential.info.name,
        "energy_frame": potential.info.energy_frame,
        "config": json.loads(config.model_dump_json()),
        "structures": [result.as_json(SUFFIXES[form]) for result in results],
    }
    write_atomically(out / RELAXED_REPORT, json.dumps(report, indent=2) + "\n")
    return results


def _relaxed(given: _Input, ended: Relaxation, config: RelaxConfig) -> RelaxedFile:
    group = space_group(ended.structure, config.symprec_A, config.angle_tolerance_deg)
    label = group.reason if isinstance(group, SymmetryFailure) else f"{group.symbol} ({group.number})"
    displacement_A = max_displacement_A(given.structure, ended.structure)
    return RelaxedFile(given.source, given.stem, ended, displacement_A, label)


def relaxation_table(results: Sequence[RelaxedFile | UnusableFile]) -> Table:
    """One line for each structure."""
    table = Table(title="Relaxed structures", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("source", "outcome", "space group"):
        table.add_column(heading)
    for heading in ("E (eV/atom)", "dE (eV/atom)", "steps", "max force (eV/Å)", "max displ. (Å)"):
        table.add_column(heading, justify="right")
    for result in results:
        if isinstance(result, UnusableFile):
            table.add_row(result.source, UNUSABLE)
            continue
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
