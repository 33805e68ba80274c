"""Small runs with known structures and energies, written by the kit's own collector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pymatgen.core import Lattice, Structure

from chggen_kit.metrics.symmetry import SpaceGroup, space_group
from chggen_kit.workflow.collect import write_database
from chggen_kit.workflow.records import Record, StructureData

PROVENANCE = {
    "potential": "pairs-1",
    "energy_frame": "toy",
    "backend": "sites",
    "checkpoint": "none",
    "seed": 7,
    "symprec": 0.1,
    "angle_tolerance": 10.0,
}


def rocksalt(cation: str = "Na", anion: str = "Cl", edge_A: float = 5.6) -> Structure:
    """Primitive cell of rocksalt."""
    half = edge_A / 2
    lattice = Lattice([[0, half, half], [half, 0, half], [half, half, 0]])
    return Structure(lattice, [cation, anion], [[0, 0, 0], [0.5, 0.5, 0.5]])


def caesium_chloride(cation: str = "Na", anion: str = "Cl", edge_A: float = 3.5) -> Structure:
    return Structure(Lattice.cubic(edge_A), [cation, anion], [[0, 0, 0], [0.5, 0.5, 0.5]])


def record(name: str, structure: Structure, energy_per_atom: float | None, **values: Any) -> Record:
    """One structure of a run as relaxed; None as the energy for one that was not."""
    data = StructureData.of(structure)
    group = space_group(structure)
    assert isinstance(group, SpaceGroup)
    relaxed: dict[str, Any] = {}
    if energy_per_atom is not None:
        relaxed = {"relaxed": data, "energy": energy_per_atom * len(structure), "converged": True}
    return Record(
        id=name,
        stage="inpainted",
        start=0,
        generated=data,
        spacegroup_number=group.number,
        spacegroup_symbol=group.symbol,
        **{**relaxed, **values},
    )


def write_run(directory: Path, records: Sequence[Record], metadata: Mapping[str, Any] | None = None) -> Path:
    """A run directory with these records."""
    directory.mkdir(parents=True)
    write_database(directory / "results.db", records, [], {"inpainted": PROVENANCE}, metadata or {"run": {"seed": 7}})
    return directory
