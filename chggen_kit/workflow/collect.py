"""The collector: writes `results.db`, alone, once everything is done."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ase.db
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from chggen_kit.errors import RunDirectoryError
from chggen_kit.thermo import Placement
from chggen_kit.workflow.records import HostRecord, Record, StructureData
from chggen_kit.workflow.rundir import publish
from chggen_kit.workflow.stability import stability_values


def _plain_text(text: str) -> str:
    """ase.db refuses text that reads as a number or a truth value: such text is put in quotes."""
    try:
        float(text)
    except ValueError:
        return f"'{text}'" if text in {"True", "False"} else text
    return f"'{text}'"


def plain_pairs(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values that ase.db can hold; what is missing has no key."""
    return {
        key: _plain_text(value) if isinstance(value, str) else value
        for key, value in values.items()
        if value is not None and not (isinstance(value, float) and not math.isfinite(value))
    }


def row_values(record: Record, hosts: Mapping[str, HostRecord]) -> dict[str, Any]:
    """Key-value pairs of one structure (`formula`, `natoms` and `energy` are ase.db's own columns)."""
    final = record.final
    volume = None if final is None else final.structure().volume / len(final.species)
    values = {
        "structure_id": record.id,
        "stage": record.stage,
        "outcome": record.outcome,
        "network_calls": record.network_calls,
        "start": record.start,
        "copy_index": record.copy_index,
        "formula_units": record.formula_units,
        "lattice_source": record.lattice_source,
        "lattice_family": record.lattice_family,
        "lattice_centring": record.lattice_centring,
        "host_id": record.host_id,
        "host_atoms": record.host_atoms,
        "spacegroup_number": record.spacegroup_number,
        "spacegroup_symbol": record.spacegroup_symbol,
        "symmetry_library": record.symmetry_library,
        "symmetry_failure": record.symmetry_failure,
        "energy_per_atom": record.energy_per_atom,
        "energy_change": record.energy_change,
        "converged": record.converged,
        "relax_reason": record.relax_reason,
        "relax_steps": record.relax_steps,
        "relax_freed": record.relax_freed,
        "max_force": record.max_force,
        "max_stress": record.max_stress,
        "max_displacement": record.max_displacement_A,
        "host_drift": record.host_drift_A,
        "volume_per_atom": volume,
        "parent": record.parent,
        "imposed_number": record.imposed_number,
        "imposed_symbol": record.imposed_symbol,
        "imposed_displacement": record.imposed_displacement_A,
        "start_sigma": record.start_sigma_A,
        "tight_spacegroup_number": record.tight_spacegroup_number,
    }
    # Inpainted structures tell of the host that they were drawn into, unconditional ones of the host they gave.
    host = hosts.get(record.host_id or f"h{record.start:04d}")
    if host is not None:
        values |= {
            "host_outcome": host.outcome,
            "host_spacegroup_number": host.spacegroup_number,
            "host_spacegroup_symbol": host.spacegroup_symbol,
            "host_symprec": host.symprec_A,
            "host_angle_tolerance": host.angle_tolerance_deg,
            "host_displacement": host.max_displacement_A,
        }
    return values


def to_atoms(data: StructureData) -> Atoms:
    """ASE atoms of a structure (Cartesian, so fractional coordinates keep about 15 digits; `data` keeps them all)."""
    return Atoms(symbols=list(data.species), cell=data.lattice, scaled_positions=data.frac_coords, pbc=True)


def write_database(
    path: Path,
    records: Sequence[Record],
    hosts: Sequence[HostRecord],
    provenance: Mapping[str, Mapping[str, Any]],
    metadata: Mapping[str, Any],
    placements: Mapping[str, Placement] | None = None,
) -> None:
    """Write all structures to an ase.db SQLite file, in the order given.

    A row holds the structure as relaxed, or as generated where there is no relaxed one; `row.data` holds both
    (`as_generated`, `relaxed`: species, lattice and frac_coords with every digit).

    Args:
        path: written under a temporary name first.
        records: the structures.
        hosts: the hosts of the run.
        provenance: for each stage what every row of it names (backend, checkpoint, sampler, seed, ...).
        metadata: stored beside the rows.
        placements: where structures lie against a hull, by identity.

    Raises:
        RunDirectoryError: when a record holds no structure at all.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    by_id = {host.id: host for host in hosts}
    with ase.db.connect(str(temporary), type="db", append=False, use_lock_file=False) as database:
        database.metadata = dict(metadata)
        for record in records:
            final = record.final
            if final is None:
                raise RunDirectoryError(f"The record of {record.id} holds no structure. Delete its shard and go on.")
            atoms = to_atoms(final)
            if record.energy is not None and record.relaxed is not None:
                atoms.calc = SinglePointCalculator(atoms, energy=record.energy)
            data = {
                name: one.model_dump(mode="json")
                for name, one in (("as_generated", record.generated), ("relaxed", record.relaxed))
                if one is not None
            }
            database.write(
                atoms,
                key_value_pairs=plain_pairs(
                    {
                        **row_values(record, by_id),
                        **stability_values((placements or {}).get(record.id)),
                        **provenance[record.stage],
                    }
                ),
                data=data,
            )
    with temporary.open("rb") as stream:
        os.fsync(stream.fileno())
    publish(temporary, path)
