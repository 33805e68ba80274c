"""The pieces of work of a run: draw, relax, look for hosts. Each takes records and returns them, none is lost."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from pymatgen.core import Structure

from chggen_kit.errors import InputError
from chggen_kit.interfaces import HostRefiner, Progress, Relaxation, Relaxer, Sampler, ScoreModel
from chggen_kit.io.convert import to_structures
from chggen_kit.metrics.geometry import host_drift_A, max_displacement_A, minimum_distance
from chggen_kit.metrics.symmetry import SymmetryFailure, space_group
from chggen_kit.relaxers.policies import RelaxPolicy, relax_by_policy
from chggen_kit.workflow.config import RunConfig
from chggen_kit.workflow.plan import Shard, restore_given
from chggen_kit.workflow.records import OK, HostRecord, Record, StructureData

_USABLE_ENDS = ("converged", "max-steps")
"""A relaxation that ran out of steps left a usable structure: it goes on, marked as not converged."""

_FLATTEST = 1e-4
"""Volume over the cube of the longest edge: below it, a cell has no use, and sums over its neighbours have no end."""


def draw(
    shard: Shard, sampler: Sampler, model: ScoreModel | None, config: RunConfig, progress: Progress | None
) -> list[Record]:
    """Draw the structures of one shard, and set apart those that cannot be relaxed."""
    result = sampler.sample(model if sampler.needs_model else None, shard.task, seed=config.seed, progress=progress)
    records = []
    for one, structure, reason in zip(shard.draws, to_structures(result.crystals), result.reasons, strict=True):
        generated = restore_given(
            structure,
            one.template,
            one.record.host_atoms,
            lattice_known=one.lattice_known,
            species_known=one.species_known,
        )
        outcome = reason or fitness(structure, config.min_distance_A)
        records.append(one.record.updated(generated=generated, outcome=outcome, network_calls=result.network_calls))
    return records


def fitness(structure: Structure, min_distance_A: float) -> str:
    """Outcome of a structure as drawn: whether it can be relaxed at all."""
    if not (np.isfinite(structure.frac_coords).all() and np.isfinite(structure.lattice.matrix).all()):
        return "non-finite"
    # A cell that the score model drew can be of any shape; the flattest real ones are 30 times as long as high.
    if structure.volume < _FLATTEST * max(structure.lattice.abc) ** 3:
        return "flat-cell"
    return "overlap" if minimum_distance(structure) < min_distance_A else OK


def relax(records: Sequence[Record], relaxer: Relaxer, config: RunConfig, progress: Progress | None) -> list[Record]:
    """Relax what was drawn well, all in one call; other records pass through as they are.

    Without a host (whole structures that were drawn) the policy `fixed-host` has nothing to fix, and leaves all free.
    """
    chosen = [index for index, record in enumerate(records) if record.outcome == OK and record.generated is not None]
    structures = [generated_of(records[index]) for index in chosen]
    if not structures:
        return list(records)
    hosts = [
        [atom < records[index].host_atoms for atom in range(len(structure))]
        for index, structure in zip(chosen, structures, strict=True)
    ]
    policy = config.relax_policy
    if policy.name == "fixed-host" and not any(map(any, hosts)):
        policy = RelaxPolicy()
    ended = relax_by_policy(
        relaxer, structures, policy, hosts=hosts, fmax=config.fmax, max_steps=config.max_steps, progress=progress
    )
    result = list(records)
    for index, before, relaxation in zip(chosen, structures, ended, strict=True):
        result[index] = relaxed_record(records[index], before, relaxation)
    return result


def generated_of(record: Record) -> Structure:
    """The structure as drawn.

    Raises:
        InputError: when there is none.
    """
    if record.generated is None:
        raise InputError(f"The structure {record.id} was never generated.")
    return record.generated.structure()


def relaxed_record(record: Record, before: Structure, relaxation: Relaxation) -> Record:
    """`record` with the outcome of a relaxation that began at `before`."""
    values: dict[str, object] = {
        "initial_energy": relaxation.initial_energy,
        "relax_reason": relaxation.reason,
        "relax_steps": relaxation.steps,
        "max_force": relaxation.max_force,
        "max_stress": relaxation.max_stress,
        "converged": relaxation.converged,
        "relax_freed": relaxation.freed or None,
    }
    if relaxation.reason not in _USABLE_ENDS:
        return record.updated(outcome=relaxation.reason, **values)
    after = relaxation.structure
    values["energy"] = relaxation.energy
    values["relaxed"] = StructureData.of(after)
    values["max_displacement_A"] = max_displacement_A(before, after)
    if record.host_atoms:
        values["host_drift_A"] = host_drift_A(before, after, range(record.host_atoms))
    return record.updated(**values)


def finish(
    records: Sequence[Record], relaxer: Relaxer | None, config: RunConfig, progress: Progress | None
) -> list[Record]:
    """Relax (where there is a relaxer), then find space groups."""
    return find_space_groups(records if relaxer is None else relax(records, relaxer, config, progress), config)


def find_space_groups(records: Sequence[Record], config: RunConfig) -> list[Record]:
    """Space group of every structure that came through: of the relaxed one, or of the generated one without it."""
    result = []
    for record in records:
        if record.outcome != OK or record.final is None:
            result.append(record)
            continue
        group = space_group(record.final.structure(), config.symprec_A, config.angle_tolerance_deg)
        if isinstance(group, SymmetryFailure):
            result.append(record.updated(symmetry_failure=group.reason))
            continue
        result.append(
            record.updated(
                spacegroup_number=group.number, spacegroup_symbol=group.symbol, symmetry_library=group.library
            )
        )
    return result


def find_hosts(
    records: Sequence[Record], refiner: HostRefiner, guests: Collection[str], progress: Progress | None
) -> list[HostRecord]:
    """The best symmetrised host of each relaxed start."""
    hosts = []
    for number, record in enumerate(records):
        if progress is not None:
            progress.update(number, len(records))
        name = f"h{record.start:04d}"
        if record.outcome != OK or record.relaxed is None:
            hosts.append(HostRecord(id=name, start=record.start, outcome="not-relaxed"))
            continue
        structure = record.relaxed.structure()
        present = [symbol for symbol in guests if symbol in structure.symbol_set]
        if not present or len(present) == len(structure.symbol_set):
            # The score model chose the composition, and left the guests out, or made nothing else.
            hosts.append(HostRecord(id=name, start=record.start, outcome="no-guests"))
            continue
        found = refiner.refine(structure, present)
        if not found:
            hosts.append(HostRecord(id=name, start=record.start, outcome="no-symmetry"))
            continue
        best = found[0]
        hosts.append(
            HostRecord(
                id=name,
                start=record.start,
                host=StructureData.of(best.host),
                guest_counts=dict(best.guest_counts),
                spacegroup_number=best.spacegroup_number,
                spacegroup_symbol=best.spacegroup_symbol,
                symprec_A=best.symprec_A,
                angle_tolerance_deg=best.angle_tolerance_deg,
                max_displacement_A=best.max_displacement_A,
                rms_displacement_A=best.rms_displacement_A,
                cell=best.cell,
                symmetry_library=best.library,
            )
        )
    if progress is not None:
        progress.update(len(records), len(records))
    return hosts
