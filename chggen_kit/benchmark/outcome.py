"""What came of one cell: everything that the tables take from its run, kept beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict
from pymatgen.core import Structure

from chggen_kit.errors import RunDirectoryError
from chggen_kit.execution.cost import cost_of
from chggen_kit.interfaces import Progress
from chggen_kit.metrics.symmetry import SpaceGroup, space_group
from chggen_kit.metrics.symmetry_ladder import RUNGS
from chggen_kit.plugins import Registry
from chggen_kit.thermo import Placement
from chggen_kit.workflow.config import GenerateConfig, InpaintConfig
from chggen_kit.workflow.nulls import NullCounts
from chggen_kit.workflow.pipeline import run_generate, run_inpaint
from chggen_kit.workflow.records import OK, HostRecord, Record, Stage, StructureData
from chggen_kit.workflow.result import RunResult
from chggen_kit.workflow.rundir import read_json, write_atomically

OUTCOME_FILE = "cell.json"
"""In the run directory of a cell; it is written last."""
FORMAT = 1


class StructureOutcome(BaseModel):
    """One structure; the attributes are columns of the table `structures`.

    Attributes:
        drawn_groups, relaxed_groups: space groups over the ladder of tolerances; None where none was found.
        relaxed: whether `final` is relaxed.
        final: the structure as relaxed, or as drawn; None for one that could not be drawn.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    stage: Stage
    start: int
    formula: str | None = None
    n_atoms: int | None = None
    outcome: str = OK
    parent: str | None = None
    host: str | None = None
    host_outcome: str | None = None
    host_group: int | None = None
    host_symprec_A: float | None = None
    host_displacement_A: float | None = None
    guest_indices: tuple[int, ...] = ()
    group: int | None = None
    group_symbol: str | None = None
    symmetric: bool = False
    drawn_groups: tuple[int | None, ...] = ()
    relaxed_groups: tuple[int | None, ...] = ()
    energy_per_atom: float | None = None
    E_d: float | None = None
    energy_change: float | None = None
    max_displacement_A: float | None = None
    host_drift_A: float | None = None
    converged: bool | None = None
    relax_reason: str | None = None
    relax_steps: int | None = None
    network_calls: int | None = None
    relaxed: bool = False
    final: StructureData | None = None


class CellOutcome(BaseModel):
    """What came of one cell.

    Attributes:
        format: of the file.
        cell: hash of the cell.
        identity: what it is a hash of.
        starts: asked for.
        structures: all of them, in the order of the run.
        nulls: what came of random structures in the same steps; None where that was not measured.
        null_means: in words.
        references: what E_d was measured from; None where there is no E_d.
        network_calls: evaluations of the score model, each for one batch.
        cpu_seconds, wall_seconds: of all pieces of work but the nulls, in s.
        peak_memory_MB: largest of any piece, in 10^6 bytes.
        device: of the score model or the potential.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    cell: str
    identity: Mapping[str, Any]
    starts: int
    structures: tuple[StructureOutcome, ...]
    nulls: NullCounts | None = None
    null_means: str = ""
    references: str | None = None
    network_calls: int = 0
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    peak_memory_MB: float = 0.0
    device: str = "cpu"


def read_outcome(folder: Path, cell: str) -> CellOutcome | None:
    """The outcome of the cell in `folder`; None when it has not ended.

    Raises:
        RunDirectoryError: when the file is damaged, or that of another cell.
    """
    path = folder / OUTCOME_FILE
    if not path.is_file():
        return None
    plain = read_json(path)
    if not isinstance(plain, dict) or plain.get("cell") != cell:
        raise RunDirectoryError(f"{path} does not belong to the cell {cell}. Delete its folder to have it done again.")
    if plain.get("format") != FORMAT:
        return None  # of another version of the kit: taken from the run again, which has its pieces
    try:
        return CellOutcome.model_validate(plain)
    except ValueError as error:
        raise RunDirectoryError(f"{path} is damaged. Delete it to have it made again from its run.") from error


def run_cell(
    cell: str,
    identity: Mapping[str, Any],
    config: GenerateConfig | InpaintConfig,
    folder: Path,
    registry: Registry,
    progress: Progress | None = None,
) -> CellOutcome:
    """Do the run of a cell, or what is left of it, and write its outcome.

    Raises:
        ChggenError: as the run.
    """
    if isinstance(config, GenerateConfig):
        result = run_generate(config, folder, registry=registry, progress=progress)
    else:
        result = run_inpaint(config, folder, registry=registry, progress=progress)
    outcome = outcome_of(cell, identity, result)
    write_atomically(folder / OUTCOME_FILE, outcome.model_dump_json() + "\n")
    return outcome


def outcome_of(cell: str, identity: Mapping[str, Any], result: RunResult) -> CellOutcome:
    """What the tables take from a run that has ended."""
    config = result.config
    nulls = result.summary.get("null_rates")
    names = NullCounts.model_fields
    hosts = {host.id: host for host in result.hosts}
    guests = set(result.summary.get("guests", ()))
    placements = result.stability.placements
    return CellOutcome(
        cell=cell,
        identity=json.loads(json.dumps(identity)),
        starts=_starts(config),
        structures=tuple(
            _structure(record, hosts, guests, placements.get(record.id), config.excluded_groups)
            for record in result.records
        ),
        nulls=None if nulls is None else NullCounts(**{name: nulls[name] for name in names}),
        null_means="" if nulls is None else str(nulls["means"]),
        references=result.stability.about.get("references"),
        device=_device(config),
        **cost_of(result.path),
    )


def _starts(config: Any) -> int:  # noqa: ANN401  either configuration
    whole = isinstance(config, GenerateConfig) and config.formula is not None
    return int(config.n) * (len(config.formula_units) if whole else 1)


def _device(config: Any) -> str:  # noqa: ANN401  either configuration
    found = [choice.options.get("device") for choice in (config.backend, config.potential)]
    return "+".join(dict.fromkeys(str(one) for one in found if one is not None)) or "cpu"


def _structure(
    record: Record,
    hosts: Mapping[str, HostRecord],
    guests: set[str],
    placement: Placement | None,
    excluded: Sequence[int],
) -> StructureOutcome:
    final = record.final
    values: dict[str, Any] = {}
    host = hosts.get(record.host_id or f"h{record.start:04d}")
    if host is not None and record.stage in {"unconditional", "inpainted"}:
        values = {
            "host_group": host.spacegroup_number,
            "host_symprec_A": host.symprec_A,
            "host_displacement_A": host.max_displacement_A,
        }
        if record.stage == "unconditional":
            values["host_outcome"] = host.outcome
    if final is not None:
        structure = final.structure()
        values |= {
            "formula": structure.composition.reduced_formula,
            "n_atoms": len(structure),
            "guest_indices": _guest_indices(record, final, guests),
        }
    if record.outcome == OK:
        values["drawn_groups"] = _ladder(record.generated)
        values["relaxed_groups"] = _ladder(record.relaxed)
    return StructureOutcome(
        id=record.id,
        stage=record.stage,
        start=record.start,
        outcome=record.outcome,
        parent=record.parent,
        host=record.host_id,
        group=record.spacegroup_number,
        group_symbol=record.spacegroup_symbol,
        symmetric=record.is_symmetric(excluded),
        energy_per_atom=record.energy_per_atom,
        E_d=None if placement is None else placement.decomposition_energy,
        energy_change=record.energy_change,
        max_displacement_A=record.max_displacement_A,
        host_drift_A=record.host_drift_A,
        converged=record.converged,
        relax_reason=record.relax_reason,
        relax_steps=record.relax_steps,
        network_calls=record.network_calls,
        relaxed=record.relaxed is not None and record.outcome == OK,
        final=final,
        **values,
    )


def _guest_indices(record: Record, final: StructureData, guests: set[str]) -> tuple[int, ...]:
    """Atoms that were drawn into a host; of other structures those of the guest elements."""
    if record.stage == "inpainted":
        return tuple(range(record.host_atoms, len(final.species)))
    return tuple(index for index, symbol in enumerate(final.species) if symbol in guests)


def _ladder(data: StructureData | None) -> tuple[int | None, ...]:
    if data is None:
        return ()
    return groups_over_ladder(data.structure())


def groups_over_ladder(structure: Structure) -> tuple[int | None, ...]:
    """Space group numbers of `structure` at each rung of `RUNGS`; None where spglib finds none."""
    found = [space_group(structure, *rung) for rung in RUNGS]
    return tuple(one.number if isinstance(one, SpaceGroup) else None for one in found)
