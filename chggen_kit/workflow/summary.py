"""Counts and rates of a run, each with its denominator named, and the ranking of its candidates."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from chggen_kit.thermo import Placement
from chggen_kit.workflow.config import RunConfig
from chggen_kit.workflow.records import OK, HostRecord, Record, Stage
from chggen_kit.workflow.stability import Stability, stability_values

NO_HOST = (
    "No host could be symmetrised, so nothing was inpainted; the unconditional structures are the whole result. "
    "Another --seed or more starts (-n) may find one."
)
NO_GUESTS = "The composition has no guests to take out, so nothing was inpainted."


def rank(records: Sequence[Record], placements: Mapping[str, Placement] | None = None) -> list[Record]:
    """Structures that came through: lowest E_d first, those without by energy per atom, then in the order drawn."""

    def key(record: Record) -> tuple[float, float]:
        placement = None if placements is None else placements.get(record.id)
        return (
            math.inf if placement is None else placement.decomposition_energy,
            math.inf if record.energy_per_atom is None else record.energy_per_atom,
        )

    return sorted((record for record in records if record.outcome == OK), key=key)


def rate(count: int, of: int, denominator: str) -> dict[str, Any]:
    """A share with its denominator; None where there is nothing to divide by."""
    return {"count": count, "of": of, "denominator": denominator, "rate": count / of if of else None}


def _stage(records: Sequence[Record], excluded: Sequence[int]) -> dict[str, Any]:
    relaxed = [record for record in records if record.relaxed is not None]
    symmetric = [record for record in records if record.is_symmetric(excluded)]
    return {
        "started": len(records),
        "relaxed": len(relaxed),
        "converged": sum(record.converged is True for record in records),
        "symmetric": len(symmetric),
        "outcomes": dict(sorted(Counter(record.outcome for record in records).items())),
        "symmetric_rates": {
            "among_started": rate(len(symmetric), len(records), "structures started"),
            "among_relaxed": rate(
                sum(record.relaxed is not None for record in symmetric), len(relaxed), "structures relaxed"
            ),
        },
    }


def _inpainted(
    records: Sequence[Record], hosts: Sequence[HostRecord], starts: int, excluded: Sequence[int]
) -> dict[str, Any]:
    """Adds the rates by host, and the yield over all starts, which also counts starts that gave no host."""
    part = _stage(records, excluded)
    filled = {record.host_id for record in records if record.is_symmetric(excluded)}
    usable = [host for host in hosts if host.host is not None]
    part["symmetric_rates"]["among_symmetrised_hosts"] = rate(
        len(filled), len(usable), "hosts that could be symmetrised; counted when at least one of its structures is"
    )
    part["symmetric_rates"]["among_all_starts"] = rate(
        len(filled), starts, "starts of the run; counted when at least one structure inpainted into its host is"
    )
    return part


def _settled(records: Sequence[Record], excluded: Sequence[int]) -> dict[str, Any]:
    """Adds what is still symmetric at 0.01 Å after a rattle and a relaxation without constraint."""
    part = _stage(records, excluded)
    tight = [
        one for one in records if one.is_symmetric(excluded) and one.tight_spacegroup_number not in {None, *excluded}
    ]
    part["symmetric_rates"]["among_started_at_0.01_A"] = rate(
        len(tight), len(records), "structures started; counted when symmetric at 0.01 Å"
    )
    return part


def _yield(records: Sequence[Record], starts: int, excluded: Sequence[int]) -> dict[str, Any]:
    """Starts of which a symmetric structure came that outlived a rattle and a relaxation without constraint."""
    stable = [one for one in records if one.tight_spacegroup_number is not None and one.is_symmetric(excluded)]
    tight = [one for one in stable if one.tight_spacegroup_number not in excluded]
    return {
        "at_symprec": rate(len({one.start for one in stable}), starts, "starts of the run"),
        "at_0.01_A": rate(len({one.start for one in tight}), starts, "starts of the run"),
    }


def summarise(
    config: RunConfig,
    records: Sequence[Record],
    hosts: Sequence[HostRecord],
    guests: Collection[str],
    extra: Mapping[str, Any],
    stability: Stability | None = None,
) -> dict[str, Any]:
    """Content of `summary.json`.

    Args:
        config: of the run.
        records: all structures.
        hosts: all hosts; empty when the user gave the host.
        guests: symbols of the guests.
        extra: entries to be put first (formula, plug-ins, times).
        stability: where the structures lie against a hull.
    """
    by_stage: dict[Stage, list[Record]] = {"unconditional": [], "inpainted": [], "projected": [], "annealed": []}
    for record in records:
        by_stage[record.stage].append(record)
    excluded = config.excluded_groups
    summary: dict[str, Any] = {
        **extra,
        "guests": sorted(guests),
        "symmetric_means": {
            "space_group_not_in": list(excluded),
            "symprec_A": config.symprec_A,
            "angle_tolerance_deg": config.angle_tolerance_deg,
        },
    }
    if not hosts and by_stage["inpainted"]:
        part = _settled if config.rattle else _stage
        summary["inpainted"] = part(by_stage["inpainted"], excluded)
    else:
        starts = len(by_stage["unconditional"])
        usable = sum(host.host is not None for host in hosts)
        summary["unconditional"] = _stage(by_stage["unconditional"], excluded)
        summary["hosts"] = {
            "looked_at": sum(host.outcome != "not-relaxed" for host in hosts),
            "symmetrised": usable,
            "outcomes": dict(sorted(Counter(host.outcome for host in hosts).items())),
        }
        summary["inpainted"] = _inpainted(by_stage["inpainted"], hosts, starts, excluded)
        for stage in ("projected", "annealed"):
            if by_stage[stage]:
                summary[stage] = _settled(by_stage[stage], excluded)
        if by_stage["projected"] or config.rattle:
            summary["symmetric_yield"] = _yield(records, starts, excluded)
        if not by_stage["projected"] and not guests:
            summary["note"] = NO_GUESTS
        elif not by_stage["projected"] and not usable:
            summary["note"] = NO_HOST
    stability = stability or Stability()
    if stability.about:
        summary["thermodynamics"] = dict(stability.about)
    summary["candidates"] = [
        {
            "id": record.id,
            "stage": record.stage,
            "energy_per_atom": record.energy_per_atom,
            "spacegroup_symbol": record.spacegroup_symbol,
            "spacegroup_number": record.spacegroup_number,
            "symmetric": record.is_symmetric(excluded),
            **stability_values(stability.placements.get(record.id)),
        }
        for record in rank(records, stability.placements)
    ]
    return summary
