"""The pieces of work of the workflow `anneal`; each takes records and returns them, none is lost."""

from __future__ import annotations

from collections.abc import Sequence

from pymatgen.core import Structure

from chggen_kit.errors import InputError
from chggen_kit.interfaces import Progress, Relaxer, Sampler, SamplingTask, ScoreModel
from chggen_kit.interfaces.sampler import CrystalId
from chggen_kit.io.convert import to_batch, to_structures
from chggen_kit.metrics.symmetry import SymmetryFailure, space_group
from chggen_kit.state import Known
from chggen_kit.symmetry import SymmetryOperations, find_operations
from chggen_kit.symmetry.options import ProjectionOptions
from chggen_kit.symmetry.projection import nearest_symmetric
from chggen_kit.workflow.config import GenerateConfig
from chggen_kit.workflow.rattling import rattle
from chggen_kit.workflow.records import OK, Record, StructureData
from chggen_kit.workflow.work import fitness, generated_of, relaxed_record

NO_OPERATIONS = "no-operations"
_HELD_SYMPREC_A, _HELD_ANGLE_DEG = 0.02, 2.0
"""Within these a structure that was projected, or drawn within a symmetry, has its group."""


def project(records: Sequence[Record], config: GenerateConfig, progress: Progress | None) -> list[Record]:
    """Symmetric neighbours of relaxed structures, nearest first."""
    options = ProjectionOptions(
        min_evidence=None,
        max_displacement_A=config.anneal.max_displacement_A,
        max_rms_displacement_A=config.anneal.max_displacement_A,
        max_strain=0.12,
        min_distance_A=config.min_distance_A,
        excluded_groups=frozenset(config.excluded_groups),
        order_by="displacement",
        pareto=False,
        max_hosts=config.anneal.neighbours,
    )
    result = []
    for number, record in enumerate(records):
        if progress is not None:
            progress.update(number, len(records))
        if record.relaxed is None:
            continue
        for index, found in enumerate(nearest_symmetric(record.relaxed.structure(), options)):
            result.append(
                Record(
                    id=f"p{record.id[1:]}-{index}",
                    stage="projected",
                    start=record.start,
                    copy_index=index,
                    formula_units=record.formula_units,
                    generated=StructureData.of(found.structure),
                    parent=record.id,
                    imposed_number=found.spacegroup_number,
                    imposed_symbol=found.spacegroup_symbol,
                    imposed_displacement_A=found.max_displacement_A,
                )
            )
    if progress is not None:
        progress.update(len(records), len(records))
    return result


def plan_round(chosen: Sequence[Record], round_: int, sigma_A: float, config: GenerateConfig) -> list[Record]:
    """Records to be drawn in one round, from the `chosen` structures: those that lost their symmetry as they had it."""
    plan = []
    for index, record in enumerate(chosen):
        template = record.relaxed if record.is_symmetric(config.excluded_groups) else record.generated
        plan.append(
            Record(
                id=f"a{round_ + 1}-{index:02d}",
                stage="annealed",
                start=record.start,
                copy_index=round_,
                formula_units=record.formula_units,
                generated=template,
                parent=record.id,
                start_sigma_A=sigma_A,
            )
        )
    return plan


def denoise(
    plan: Sequence[Record], sampler: Sampler, model: ScoreModel, config: GenerateConfig, progress: Progress | None
) -> list[Record]:
    """Noise the templates within their symmetry, and denoise them there.

    One whose group spglib names, with operations that do not permute its atoms, gets the outcome `no-operations`.
    """
    held: list[tuple[Structure, SymmetryOperations]] = []
    able: list[int] = []
    result = [record.updated(outcome=NO_OPERATIONS) for record in plan]
    for index, record in enumerate(plan):
        try:
            held.append(find_operations(generated_of(record), config.symprec_A, config.angle_tolerance_deg))
        except InputError:
            continue
        able.append(index)
    if not able:
        return result
    templates = to_batch([exact for exact, _ in held])
    task = SamplingTask(
        templates,
        Known.coordinates_only(templates),
        ids=tuple(CrystalId(plan[index].id, 0) for index in able),
        start_sigma_A=plan[0].start_sigma_A,
        symmetry=tuple(group for _, group in held),
    )
    drawn = sampler.sample(model, task, seed=config.seed, progress=progress)
    for index, structure, reason, (exact, _) in zip(
        able, to_structures(drawn.crystals), drawn.reasons, held, strict=True
    ):
        group = space_group(exact, _HELD_SYMPREC_A, _HELD_ANGLE_DEG)
        named = {} if isinstance(group, SymmetryFailure) else {"number": group.number, "symbol": group.symbol}
        result[index] = plan[index].updated(
            generated=StructureData.of(structure),
            outcome=reason or fitness(structure, config.min_distance_A),
            network_calls=drawn.network_calls,
            imposed_number=named.get("number"),
            imposed_symbol=named.get("symbol"),
        )
    return result


def relax_coarsely(
    records: Sequence[Record], relaxer: Relaxer, config: GenerateConfig, progress: Progress | None
) -> list[Record]:
    """A few steps within the symmetry, for a first ranking."""
    return _relax_held(records, relaxer, config, config.anneal.coarse_steps, progress)


def settle(
    records: Sequence[Record], relaxer: Relaxer, config: GenerateConfig, progress: Progress | None
) -> list[Record]:
    """Relax within the symmetry, rattle, relax without constraint, and find the space groups."""
    held = _relax_held(records, relaxer, config, config.max_steps, progress)
    return rattle(held, relaxer, config, progress)


def _relax_held(
    records: Sequence[Record], relaxer: Relaxer, config: GenerateConfig, max_steps: int, progress: Progress | None
) -> list[Record]:
    """Relax within the symmetry; those that were relaxed so before go on from there, with their first energy."""
    chosen = [index for index, record in enumerate(records) if record.outcome == OK and record.generated is not None]
    starts: list[tuple[Structure, SymmetryOperations | None]] = []
    for index in chosen:
        record = records[index]
        structure = generated_of(record) if record.relaxed is None else record.relaxed.structure()
        try:
            starts.append(find_operations(structure, _HELD_SYMPREC_A, _HELD_ANGLE_DEG))
        except InputError:  # too broken for spglib: nothing to hold
            starts.append((structure, None))
    if not starts:
        return list(records)
    ended = relaxer.relax(
        [structure for structure, _ in starts],
        symmetry=[group for _, group in starts],
        fmax=config.fmax,
        max_steps=max_steps,
        progress=progress,
    )
    result = list(records)
    for index, relaxation in zip(chosen, ended, strict=True):
        before = records[index]
        after = relaxed_record(before, generated_of(before), relaxation)
        if before.relaxed is not None:
            after = after.updated(
                initial_energy=before.initial_energy, relax_steps=(before.relax_steps or 0) + relaxation.steps
            )
        result[index] = after
    return result
