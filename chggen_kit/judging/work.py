"""The work of one judge: candidates evaluated as they are, and relaxed on; stored piece by piece."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b

from pydantic import BaseModel, ConfigDict

from chggen_kit.interfaces import Progress, Relaxation, Relaxer
from chggen_kit.judging.judges import Judge
from chggen_kit.metrics.geometry import max_displacement_A
from chggen_kit.metrics.symmetry import SymmetryFailure, space_group
from chggen_kit.plugins import Registry
from chggen_kit.relaxers.policies import RelaxPolicy, relax_by_policy
from chggen_kit.workflow.config import RunConfig, config_hash
from chggen_kit.workflow.records import OK, Measured, StructureData
from chggen_kit.workflow.rundir import RunDirectory
from chggen_kit.workflow.runner import Runner

USABLE_ENDS = ("converged", "max-steps")
"""A relaxation that ran out of steps left a usable structure, marked as not converged."""


@dataclass(frozen=True)
class Candidate:
    """A structure that is judged.

    Attributes:
        id: identity in the run.
        structure: as the run relaxed it.
        host_atoms: its first `host_atoms` atoms are the host's.
    """

    id: str
    structure: StructureData
    host_atoms: int = 0

    @property
    def digest(self) -> str:
        """Hash of the structure: an opinion on another one is none on this."""
        return blake2b(self.structure.model_dump_json().encode(), digest_size=16).hexdigest()


class JudgedRecord(BaseModel):
    """One judge's opinion on one candidate.

    Attributes:
        id: of the candidate.
        digest: of the structure that was judged.
        n_atoms: in its cell.
        outcome: `ok`, or the reason why the relaxation failed.
        single_point_energy: total energy in eV of the structure as the run relaxed it.
        energy: total energy in eV of `relaxed`.
        relaxed: the structure as the judge relaxed it; None for a failure.
        converged, relax_steps, max_force, max_stress: as in `Relaxation` (eV/Å, eV/Å^3).
        max_displacement_A: largest displacement of an atom by the judge's relaxation in Å, drift removed.
        spacegroup_number, spacegroup_symbol: of `relaxed`, within the run's tolerances.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    digest: str
    n_atoms: int
    outcome: str = OK
    single_point_energy: Measured = None
    energy: Measured = None
    relaxed: StructureData | None = None
    converged: bool | None = None
    relax_steps: int | None = None
    max_force: Measured = None
    max_stress: Measured = None
    max_displacement_A: Measured = None
    spacegroup_number: int | None = None
    spacegroup_symbol: str | None = None


def opinions(
    judge: Judge,
    candidates: Sequence[Candidate],
    config: RunConfig,
    directory: RunDirectory,
    registry: Registry,
    progress: Progress | None,
) -> list[JudgedRecord]:
    """The judge's opinion on each of `candidates`: stored ones, and those that are still missing, in pieces.

    `config` is the run's, with the force limit and the number of steps that hold here. What was stored for fewer
    candidates is used when there are more, and the other way round.
    """
    about = {
        **judge.identity(),
        "relaxer": config.relaxer.model_dump(mode="json"),
        "policy": config.relax_policy.model_dump(mode="json"),
        "fmax": config.fmax,
    }
    work_hash = config_hash({**about, "max_steps": config.max_steps})
    kind = f"judge-{judge.key}-{work_hash[:8]}"
    known: dict[tuple[str, str], JudgedRecord] = {}
    number = 0
    while (stored := directory.read_shard(f"{kind}-{number:04d}", work_hash)) is not None:
        for entry in stored["records"]:
            record = JudgedRecord.model_validate(entry)
            known[record.id, record.digest] = record
        number += 1
    missing = [one for one in candidates if (one.id, one.digest) not in known]
    pieces = _pieces(missing, config.micro_batch_atoms)
    runner = Runner(directory, work_hash, progress)
    relaxer: Relaxer | None = None
    for index, piece in enumerate(pieces):
        relaxer = relaxer or registry.create_relaxer(
            config.relaxer.name, config.relaxer.options, potential=judge.potential
        )
        work = partial(_relax, piece, relaxer, config)
        for record in runner.piece(kind, number + index, number + len(pieces), JudgedRecord, work):
            known[record.id, record.digest] = record
    return [known[one.id, one.digest] for one in candidates]


def _pieces(candidates: Sequence[Candidate], most_atoms: int) -> list[list[Candidate]]:
    """In their order, cut so that no piece of more than one has more atoms than `most_atoms`."""
    pieces: list[list[Candidate]] = []
    room = 0
    for one in candidates:
        size = len(one.structure.species)
        if not pieces or size > room:
            pieces.append([])
            room = most_atoms
        pieces[-1].append(one)
        room -= size
    return pieces


def _relax(
    candidates: Sequence[Candidate], relaxer: Relaxer, config: RunConfig, progress: Progress | None
) -> list[JudgedRecord]:
    """Relax by the run's policy: what it held fixed is no error of the run that a judge should undo.

    As in the run, `fixed-host` leaves all free where there is no host.
    """
    records: dict[str, JudgedRecord] = {}
    free = [one for one in candidates if config.relax_policy.name == "fixed-host" and not one.host_atoms]
    rest = [one for one in candidates if one not in free]
    for group, policy in ((free, RelaxPolicy()), (rest, config.relax_policy)):
        if not group:
            continue
        structures = [one.structure.structure() for one in group]
        hosts = [[atom < one.host_atoms for atom in range(len(one.structure.species))] for one in group]
        ended = relax_by_policy(
            relaxer, structures, policy, hosts=hosts, fmax=config.fmax, max_steps=config.max_steps, progress=progress
        )
        records |= {one.id: _record(one, after, config) for one, after in zip(group, ended, strict=True)}
    return [records[one.id] for one in candidates]


def _record(candidate: Candidate, after: Relaxation, config: RunConfig) -> JudgedRecord:
    values = {
        "id": candidate.id,
        "digest": candidate.digest,
        "n_atoms": len(candidate.structure.species),
        "single_point_energy": after.initial_energy,
        "converged": after.converged,
        "relax_steps": after.steps,
        "max_force": after.max_force,
        "max_stress": after.max_stress,
    }
    if after.reason not in USABLE_ENDS:
        return JudgedRecord.model_validate({**values, "outcome": after.reason})
    group = space_group(after.structure, config.symprec_A, config.angle_tolerance_deg)
    if not isinstance(group, SymmetryFailure):
        values |= {"spacegroup_number": group.number, "spacegroup_symbol": group.symbol}
    values |= {
        "energy": after.energy,
        "relaxed": StructureData.of(after.structure),
        "max_displacement_A": max_displacement_A(candidate.structure.structure(), after.structure),
    }
    return JudgedRecord.model_validate(values)
