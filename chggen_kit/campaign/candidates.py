"""Candidates of a whole campaign: duplicates across shards taken together, hulls of each chemical system, a ranking."""

from __future__ import annotations

import csv
import io
import json
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Composition, Element, Lattice, Structure

from chggen_kit.benchmark.same import Sameness
from chggen_kit.benchmark.spec import Matching as BenchmarkMatching
from chggen_kit.campaign.spec import Matching
from chggen_kit.errors import ChggenError
from chggen_kit.plugins import Registry
from chggen_kit.thermo import ActivePotential, Hull, Phase, amounts_of
from chggen_kit.thermo.sources import find_references
from chggen_kit.workflow.config import GenerateConfig, InpaintConfig
from chggen_kit.workflow.rundir import write_atomically

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Found:
    """A structure that came through, small enough to hold all of a campaign in memory.

    Attributes:
        number: of its row in the database of a fresh campaign, from 1.
        lane: number of its lane.
        shard, structure_id, stage: who it is.
        group, group_symbol: its space group.
        energy: eV/atom; None when it was not relaxed.
        E_d: eV/atom against the references of its run.
        energy_frame: of the energy.
        numbers, positions, cell: atomic numbers `[n_atoms]`, Å `[n_atoms, 3]`, Å `[3, 3]`.
    """

    number: int
    lane: int
    shard: str
    structure_id: str
    stage: str
    group: int
    group_symbol: str
    energy: float | None
    E_d: float | None
    energy_frame: str
    numbers: NDArray[np.int16]
    positions: NDArray[np.float64]
    cell: NDArray[np.float64]

    def structure(self) -> Structure:
        """The structure."""
        symbols = [Element.from_Z(int(number)) for number in self.numbers]
        return Structure(Lattice(self.cell), symbols, self.positions, coords_are_cartesian=True)

    @property
    def composition(self) -> Composition:
        """Its composition."""
        found, counts = np.unique(self.numbers, return_counts=True)
        pairs = zip(found.tolist(), counts.tolist(), strict=True)
        return Composition({Element.from_Z(number): count for number, count in pairs})


@dataclass(frozen=True)
class Candidate:
    """A symmetric structure, and all that are the same; the attributes are the columns of the table.

    Attributes:
        rank: from 1: by E_hull, then E_d, then energy.
        formula, system: reduced formula, chemical system.
        group, group_symbol: space group.
        energy_per_atom, E_d, E_hull: eV/atom; E_hull against references and all candidates of the campaign.
        decomposition: of E_d, the phases with their shares.
        copies: structures that are the same, this one included.
        methods: that found it, as workflow/backend.
        potential, energy_frame: of the energies.
        target, seed, shard, structure_id, stage: of the copy with the lowest energy, which stands for all.
        references: what E_d and E_hull are measured from, or why there are none.
    """

    rank: int
    formula: str
    system: str
    group: int
    group_symbol: str
    energy_per_atom: float | None
    E_d: float | None
    E_hull: float | None
    decomposition: str
    copies: int
    methods: str
    potential: str
    energy_frame: str
    target: str
    seed: int
    shard: str
    structure_id: str
    stage: str
    references: str


def rank_candidates(
    found: Sequence[Found], lanes: Mapping[int, Mapping[str, Any]], matching: Matching, registry: Registry
) -> list[Candidate]:
    """Distinct symmetric structures of a campaign, best first.

    Args:
        found: all structures that came through, in the order of the plan.
        lanes: rows of the ledger.
        matching: when two are the same, and how many are compared.
        registry: for the potentials that references are relaxed with.
    """
    excluded = {number: set(json.loads(lane["config"])["excluded_groups"]) for number, lane in lanes.items()}
    groups: dict[tuple[str, str], list[Found]] = defaultdict(list)
    for one in found:
        if one.group not in excluded[one.lane]:
            groups[lanes[one.lane]["potential"], one.composition.reduced_formula].append(one)
    distinct: dict[str, list[tuple[Found, Candidate]]] = defaultdict(list)
    for (potential, formula), members in sorted(groups.items()):
        members.sort(key=lambda one: (one.energy is None, one.energy or 0.0, one.number))
        if len(members) > matching.most:
            _LOG.info("%s, %s: the best %d of %d are compared.", formula, potential, matching.most, len(members))
        distinct[potential] += _distinct(members[: matching.most], formula, potential, lanes, matching)
    placed = [one for members in distinct.values() for one in _with_hulls(members, lanes, registry)]
    placed.sort(key=_order)
    return [replace(one, rank=rank) for rank, one in enumerate(placed, start=1)]


def _distinct(
    members: Sequence[Found],
    formula: str,
    potential: str,
    lanes: Mapping[int, Mapping[str, Any]],
    matching: Matching,
) -> list[tuple[Found, Candidate]]:
    """First of each kind, and what is known of the kind; `members` are in the order of energy."""
    same = Sameness(
        BenchmarkMatching(stol=matching.stol, ltol=matching.ltol, angle_tolerance_deg=matching.angle_tolerance_deg)
    )
    kinds: dict[str, list[Found]] = {}
    for index, (one, kind) in enumerate(zip(members, same.kinds([m.structure() for m in members]), strict=True)):
        # What cannot be compared is a kind of its own.
        kinds.setdefault(kind if kind is not None else f"alone-{index}", []).append(one)
    result = []
    for copies in kinds.values():
        first, lane = copies[0], lanes[copies[0].lane]
        methods = sorted({f"{lanes[one.lane]['workflow']}/{lanes[one.lane]['backend']}" for one in copies})
        candidate = Candidate(
            rank=0,
            formula=formula,
            system=first.composition.chemical_system,
            group=first.group,
            group_symbol=first.group_symbol,
            energy_per_atom=first.energy,
            E_d=first.E_d,
            E_hull=None,
            decomposition="",
            copies=len(copies),
            methods=" ".join(methods),
            potential=potential,
            energy_frame=first.energy_frame,
            target=lane["target"],
            seed=lane["seed"],
            shard=first.shard,
            structure_id=first.structure_id,
            stage=first.stage,
            references="",
        )
        result.append((first, candidate))
    return result


def _with_hulls(
    members: Sequence[tuple[Found, Candidate]], lanes: Mapping[int, Mapping[str, Any]], registry: Registry
) -> list[Candidate]:
    """Candidates of one potential with E_hull: each system against references and candidates of the campaign."""
    systems: dict[str, list[tuple[Found, Candidate]]] = defaultdict(list)
    for one in members:
        systems[one[1].system].append(one)
    result: list[Candidate] = []
    for system, own in systems.items():
        symbols = set(system.split("-"))
        inside = [one for one in members if set(one[1].system.split("-")) <= symbols]
        try:
            result += _place(own, inside, lanes[own[0][0].lane], registry)
        except ChggenError as error:
            _LOG.warning("No hull of %s: %s", system, error)
            result += [replace(candidate, references=f"none: {error}") for _, candidate in own]
    return result


def _place(
    own: Sequence[tuple[Found, Candidate]],
    inside: Sequence[tuple[Found, Candidate]],
    lane: Mapping[str, Any],
    registry: Registry,
) -> list[Candidate]:
    kind = GenerateConfig if lane["verb"] == "generate" else InpaintConfig
    config = kind.model_validate_json(lane["config"])
    with_energy = [one for one in inside if one[1].energy_per_atom is not None]
    if config.references == "none" or not with_energy:
        reason = "none: not asked for" if with_energy else "none: nothing was relaxed"
        return [replace(candidate, references=reason) for _, candidate in own]
    potential = registry.create_potential(config.potential.name, config.potential.options)
    active = ActivePotential(potential, config.potential.options, registry)
    symbols = own[0][1].system.split("-")
    found = find_references(config.references, symbols, active, energy_frame=config.references_frame)
    if found.references is None:
        return [replace(candidate, references=f"none: {found.reason}") for _, candidate in own]
    phases = {}
    for one, candidate in with_energy:
        amounts = amounts_of(one.composition)
        if len(amounts) > 1 or not config.exclude_composition:
            energy = float(candidate.energy_per_atom or 0.0) * len(one.numbers)
            phases[one.number] = Phase(
                str(one.number), amounts, energy, potential.info.energy_frame, potential.info.name
            )
    placed = Hull(found.references).place_all(list(phases.values()), exclude_composition=config.exclude_composition)
    by_number = dict(zip(phases, placed, strict=True))
    result = []
    for one, candidate in own:
        place = by_number.get(one.number)
        if place is not None:
            candidate = replace(  # noqa: PLW2901  the same, with its place
                candidate,
                E_d=place.decomposition_energy,
                E_hull=place.above_hull,
                decomposition=place.decomposition,
                references=place.references,
            )
        result.append(candidate)
    return result


def _order(one: Candidate) -> tuple[Any, ...]:
    """Best first; without references energies of different compositions cannot be compared, and formulas lead."""
    if one.E_hull is None:
        return (1, one.potential, one.formula, one.energy_per_atom is None, one.energy_per_atom or 0.0, one.shard)
    return (0, one.E_hull, one.E_d or 0.0, one.formula, one.potential, one.shard)


def write_candidates(path: Path, candidates: Sequence[Candidate]) -> None:
    """Write the table of candidates, one row each."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [field.name for field in fields(Candidate)]
    writer.writerow(names)
    for one in candidates:
        writer.writerow([getattr(one, name) for name in names])
    write_atomically(path, text.getvalue())
