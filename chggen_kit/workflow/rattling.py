"""The test of symmetry: every atom is displaced, and the structure relaxed without constraint. Is it still there?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from pymatgen.core import Structure

from chggen_kit.draws import Draws
from chggen_kit.errors import InputError
from chggen_kit.interfaces import Progress, Relaxer
from chggen_kit.interfaces.sampler import CrystalId
from chggen_kit.io.convert import with_coordinates
from chggen_kit.metrics.symmetry import SymmetryFailure, space_group
from chggen_kit.workflow.config import RunConfig
from chggen_kit.workflow.records import OK, Record
from chggen_kit.workflow.work import find_space_groups, generated_of, relaxed_record

_TIGHT_SYMPREC_A, _TIGHT_ANGLE_DEG = 0.01, 1.0


def is_untested(record: Record, config: RunConfig) -> bool:
    """Whether a structure counts as symmetric and has not been rattled yet."""
    return (
        record.is_symmetric(config.excluded_groups)
        and record.relaxed is not None
        and record.tight_spacegroup_number is None
    )


def rattle(records: Sequence[Record], relaxer: Relaxer, config: RunConfig, progress: Progress | None) -> list[Record]:
    """Relaxed structures rattled and relaxed without constraint, all in one call, with their new space groups."""
    chosen = [index for index, record in enumerate(records) if record.outcome == OK and record.relaxed is not None]
    rattled = [_rattled(records[index], config) for index in chosen]
    result = list(records)
    ended = relaxer.relax(rattled, fmax=config.fmax, max_steps=config.max_steps, progress=progress) if rattled else []
    for index, relaxation in zip(chosen, ended, strict=True):
        before = records[index]
        after = relaxed_record(before, generated_of(before), relaxation)
        result[index] = after.updated(
            initial_energy=before.initial_energy,
            held_energy=before.energy,
            relax_steps=(before.relax_steps or 0) + relaxation.steps,
        )
    return [_with_tight_group(record) for record in find_space_groups(result, config)]


def _rattled(record: Record, config: RunConfig) -> Structure:
    """The relaxed structure with every atom displaced, by numbers that depend on the seed and on who it is alone."""
    if record.relaxed is None:
        raise InputError(f"The structure {record.id} was never relaxed.")
    structure = record.relaxed.structure()
    draws = Draws(config.seed, [CrystalId(record.id, 0)], [len(structure)])
    like = torch.zeros(len(structure), 3, dtype=torch.float64)
    moves = config.rattle_A * draws.at(0, 0, "frac_coords", "atom").normal("rattle", like).numpy()
    cell = structure.lattice.matrix
    return with_coordinates(structure, structure.frac_coords + moves @ np.linalg.inv(cell), cell)


def _with_tight_group(record: Record) -> Record:
    if record.outcome != OK or record.relaxed is None:
        return record
    group = space_group(record.relaxed.structure(), _TIGHT_SYMPREC_A, _TIGHT_ANGLE_DEG)
    return record if isinstance(group, SymmetryFailure) else record.updated(tight_spacegroup_number=group.number)
