"""The workflow `anneal`: projection on near symmetric structures, then noise and denoising within their symmetry.

    structures, drawn and relaxed ─► project (several neighbours each) ─► settle ─► choose ─► denoise ─► settle ─► …

To *settle* is to relax within the symmetry, to rattle every atom, and to relax without constraint: what is symmetric
after that is no saddle that symmetry held. Rounds take the lowest symmetric structures of all stages so far.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

from pymatgen.analysis.structure_matcher import StructureMatcher

from chggen_kit.errors import InputError
from chggen_kit.interfaces import Relaxer
from chggen_kit.workflow import annealing_work as work
from chggen_kit.workflow.assembly import Parts
from chggen_kit.workflow.config import GenerateConfig
from chggen_kit.workflow.plan import cut
from chggen_kit.workflow.records import OK, Record, Stage
from chggen_kit.workflow.runner import Runner

_LOG = logging.getLogger(__name__)

_FALL = 1e-3
"""eV/atom; a cycle that lowers the energy of the best symmetric structure by less is the last."""
_SAME_ENERGY = 5e-3
"""eV/atom; structures further apart are not the same, and need no matching."""


def anneal(runner: Runner, config: GenerateConfig, parts: Parts, drawn: Sequence[Record]) -> list[Record]:
    """Structures that come of `drawn` by projection and annealing, in the order in which they were made.

    Raises:
        InputError: when the run has no denoiser.
    """
    sampler, model, relaxer = parts.denoiser, parts.model, parts.relaxer
    if sampler is None or model is None or relaxer is None:
        raise InputError("This run was put together without what annealing needs: a denoiser, its model and a relaxer.")
    made = _settled(runner, config, relaxer, "projected", "", _projected(runner, config, drawn))
    for cycle in range(config.anneal.cycles):
        before = _lowest([*drawn, *made], config)
        for number, sigma_A in enumerate(config.anneal.levels_A):
            spent = _over_budget([*drawn, *made], config)
            if spent:
                _LOG.info("Annealing ends after %d rounds: %s.", cycle * len(config.anneal.levels_A) + number, spent)
                return made
            chosen = choose([*drawn, *made], config)
            if not chosen:
                _LOG.info("No structure above the excluded space groups is left to be annealed.")
                return made
            round_ = cycle * len(config.anneal.levels_A) + number
            plan = work.plan_round(chosen, round_, sigma_A, config)
            records = []
            pieces = cut([len(one.generated.species) if one.generated else 1 for one in plan], config.micro_batch_atoms)
            for piece, (low, high) in enumerate(pieces):
                task = partial(work.denoise, plan[low:high], sampler, model, config)
                records += runner.piece(f"annealed-draw-round-{round_ + 1}", piece, len(pieces), Record, task)
            made += _settled(runner, config, relaxer, "annealed", f"-round-{round_ + 1}", records)
        after = _lowest([*drawn, *made], config)
        if after is None or (before is not None and before - after < _FALL):
            break
    return made


def _over_budget(records: Sequence[Record], config: GenerateConfig) -> str | None:
    """Which limit the run has reached, if any."""
    limits = config.anneal
    calls = sum(one.network_calls for one in records)
    if limits.max_network_calls is not None and calls >= limits.max_network_calls:
        return f"{calls} evaluations of the score model, of {limits.max_network_calls}"
    steps = sum(one.relax_steps or 0 for one in records)
    if limits.max_relax_steps is not None and steps >= limits.max_relax_steps:
        return f"{steps} relaxation steps, of {limits.max_relax_steps}"
    return None


def _projected(runner: Runner, config: GenerateConfig, drawn: Sequence[Record]) -> list[Record]:
    usable = [one for one in drawn if one.outcome == OK and one.relaxed is not None]
    pieces = cut([len(one.relaxed.species) if one.relaxed else 1 for one in usable], config.micro_batch_atoms)
    records: list[Record] = []
    for piece, (low, high) in enumerate(pieces):
        task = partial(work.project, usable[low:high], config)
        records += runner.piece("projected-search", piece, len(pieces), Record, task)
    return records


def _settled(
    runner: Runner, config: GenerateConfig, relaxer: Relaxer, stage: Stage, suffix: str, records: Sequence[Record]
) -> list[Record]:
    """`records` relaxed, the worse half after a few steps left out (`outranked`)."""
    pieces = cut([len(one.generated.species) if one.generated else 1 for one in records], config.micro_batch_atoms)
    if config.anneal.coarse_steps:
        coarse: list[Record] = []
        for piece, (low, high) in enumerate(pieces):
            task = partial(work.relax_coarsely, records[low:high], relaxer, config)
            coarse += runner.piece(f"{stage}-coarse{suffix}", piece, len(pieces), Record, task)
        records = halve(coarse)
    result: list[Record] = []
    for piece, (low, high) in enumerate(pieces):
        task = partial(work.settle, records[low:high], relaxer, config)
        result += runner.piece(f"{stage}-relax{suffix}", piece, len(pieces), Record, task)
    return result


def halve(records: Sequence[Record]) -> list[Record]:
    """Mark, of the structures of each start, the half of higher energy per atom as `outranked`.

    Starts are not measured against each other: one that lies high now may be the one that anneals well.
    """
    by_start: dict[int, list[int]] = {}
    for index, one in enumerate(records):
        if one.outcome == OK and one.energy_per_atom is not None:
            by_start.setdefault(one.start, []).append(index)
    out: set[int] = set()
    for members in by_start.values():
        members.sort(key=lambda index: (records[index].energy_per_atom or 0.0, index))
        out |= set(members[(len(members) + 1) // 2 :])
    return [one.updated(outcome="outranked") if index in out else one for index, one in enumerate(records)]


def choose(records: Sequence[Record], config: GenerateConfig) -> list[Record]:
    """The structures that a round anneals: `keep` of them, no two of them the same.

    First the lowest symmetric structure of each start. Then, for starts without one, the lowest that was symmetric
    until it was rattled: a saddle in one place may be a minimum in another. Then further symmetric ones by energy. (A
    round that takes the lowest of all soon works on relatives of one structure.)
    """
    symmetric = [one for one in records if one.is_symmetric(config.excluded_groups) and one.energy_per_atom is not None]
    symmetric.sort(key=lambda one: one.energy_per_atom or 0.0)
    saddles = [one for one in records if one.outcome == OK and one.held_energy is not None and one not in symmetric]
    saddles.sort(key=lambda one: (one.held_energy or 0.0) / len(one.generated.species if one.generated else ()))
    best: dict[int, Record] = {}
    for one in symmetric:
        best.setdefault(one.start, one)
    instead: dict[int, Record] = {}
    for one in saddles:
        if one.start not in best:
            instead.setdefault(one.start, one)
    ids = {one.id for one in best.values()}
    matcher = StructureMatcher(primitive_cell=True, scale=False)
    chosen: list[Record] = []
    for one in [*best.values(), *instead.values(), *(one for one in symmetric if one.id not in ids)]:
        if len(chosen) == config.anneal.keep:
            break
        if not any(_same(one, other, matcher) for other in chosen):
            chosen.append(one)
    return chosen


def _same(one: Record, other: Record, matcher: StructureMatcher) -> bool:
    if one.relaxed is None or other.relaxed is None or one.energy_per_atom is None or other.energy_per_atom is None:
        return False
    if abs(one.energy_per_atom - other.energy_per_atom) > _SAME_ENERGY:
        return False
    return bool(matcher.fit(one.relaxed.structure(), other.relaxed.structure()))


def _lowest(records: Sequence[Record], config: GenerateConfig) -> float | None:
    """Energy in eV/atom of the best symmetric structure."""
    energies = [
        one.energy_per_atom
        for one in records
        if one.energy_per_atom is not None and one.is_symmetric(config.excluded_groups)
    ]
    return min(energies, default=None)
