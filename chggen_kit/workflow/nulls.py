"""The null of every success rate of a run: the same steps from random atoms, without score model and relaxation."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any

from pydantic import BaseModel, ConfigDict
from pymatgen.core import Structure

from chggen_kit.interfaces import HostRefiner, Progress
from chggen_kit.metrics.intervals import Share, wilson
from chggen_kit.metrics.null_rates import random_framework
from chggen_kit.samplers.random_placement import RandomOptions, RandomPlacement
from chggen_kit.workflow import work
from chggen_kit.workflow.config import GenerateConfig, InpaintConfig, RunConfig, SymmetryMode
from chggen_kit.workflow.plan import make_shards, plan_inpaintings
from chggen_kit.workflow.records import HostRecord, Record, StructureData
from chggen_kit.workflow.runner import Runner

MEANING = (
    "random atoms of the same elements, numbers and volumes in random triclinic cells, at least 1.6 Å apart, put "
    "through the same refiner, then random guests in its hosts; neither score model nor relaxation"
)
MEANING_GIVEN_HOST = "random guests in the same host, at least 1.5 Å from any atom; neither score model nor relaxation"

_WITHOUT_NULL = ("projected", "annealed", "symmetric_yield")
"""Rates of the workflow `anneal`, which imposes symmetry: their null needs the relaxations of a run of its own."""
_IMPOSED = {
    "none": (),
    "host": ("inpainted",),
    "wyckoff": ("unconditional", "hosts", "inpainted"),
    "given": ("unconditional", "hosts", "inpainted"),
}
"""Parts of the summary whose structures were drawn within a symmetry, or come from such."""


class NullCounts(BaseModel):
    """What came of random starts.

    Attributes:
        wanted: random starts asked for.
        starts: made. `no_room` more could not be, because their atoms did not fit.
        symmetric: starts with a space group outside the excluded ones.
        hosts: starts in which the refiner found a host.
        fills: random guests in hosts; `symmetric_fills` of them are symmetric.
        filled_hosts: hosts with at least one symmetric fill.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    wanted: int
    starts: int = 0
    no_room: int = 0
    symmetric: int = 0
    hosts: int = 0
    fills: int = 0
    symmetric_fills: int = 0
    filled_hosts: int = 0

    def share(self, stage: str, rate: str) -> Share:
        """The null of one of the rates of `summary.json`."""
        if stage == "unconditional":
            return wilson(self.symmetric, self.starts)
        if rate == "among_symmetrised_hosts":
            return wilson(self.filled_hosts, self.hosts)
        if rate == "among_all_starts":
            return wilson(self.filled_hosts, self.starts)
        return wilson(self.symmetric_fills, self.fills)


def measure(
    runner: Runner,
    config: GenerateConfig | InpaintConfig,
    refiner: HostRefiner | None,
    records: Sequence[Record],
    guests: Collection[str],
) -> NullCounts | None:
    """Nulls of the rates of a run, measured once and kept in its directory; None when none are wanted or possible."""
    if config.null_rates == 0:
        return None
    task: Callable[[Progress | None], list[NullCounts]]
    if isinstance(config, InpaintConfig):
        task = partial(_of_host, config)
    else:
        like = [one for one in (record.final for record in records if record.stage == "unconditional") if one]
        if refiner is None or not like:
            return None
        task = partial(_of_starts, config, refiner, like, guests)
    return runner.piece("null-rates", 0, 1, NullCounts, task)[0]


def _of_starts(
    config: GenerateConfig,
    refiner: HostRefiner,
    like: Sequence[StructureData],
    guests: Collection[str],
    progress: Progress | None,
) -> list[NullCounts]:
    """Random starts through the steps of the run, each like one of the run's: its elements, numbers and volume."""
    counts = NullCounts(wanted=config.null_rates)
    for number in range(config.null_rates):
        model = like[number % len(like)].structure()
        symbols = [site.specie.symbol for site in model]
        drawn = random_framework(symbols, model.volume, seed=config.seed, number=number)
        if drawn is None:
            counts = _plus(counts, no_room=1)
            continue
        counts = _plus(counts, **_one_start(drawn, number, config, refiner, guests))
        if progress is not None:
            progress.update(number + 1, config.null_rates)
    return [counts]


def _one_start(
    drawn: Structure, number: int, config: GenerateConfig, refiner: HostRefiner, guests: Collection[str]
) -> dict[str, int]:
    data = StructureData.of(drawn)
    # It stands for a relaxed structure: that is what hosts are looked for in.
    start = Record(id=f"u{number:04d}", stage="unconditional", start=number, generated=data, relaxed=data)
    (named,) = work.find_space_groups([start], config)
    result = {"starts": 1, "symmetric": int(named.is_symmetric(config.excluded_groups))}
    (host,) = work.find_hosts([start], refiner, guests, None) if guests else (HostRecord(id="", start=number),)
    if host.host is None:
        return result
    fills = list(_fills(host, config.inpaintings, config))
    symmetric = sum(one.is_symmetric(config.excluded_groups) for one in fills)
    return {
        **result,
        "hosts": 1,
        "fills": len(fills),
        "symmetric_fills": symmetric,
        "filled_hosts": int(symmetric > 0),
    }


def _of_host(config: InpaintConfig, progress: Progress | None) -> list[NullCounts]:
    """Random guests in the host that the user gave."""
    host = HostRecord(id="host", start=0, host=config.host, guest_counts=dict(config.guest_counts))
    counts = NullCounts(wanted=config.null_rates)
    for number, fill in enumerate(_fills(host, config.null_rates, config), start=1):
        counts = _plus(counts, fills=1, symmetric_fills=int(fill.is_symmetric(config.excluded_groups)))
        if progress is not None:
            progress.update(number, config.null_rates)
    return [counts]


def _fills(host: HostRecord, copies: int, config: RunConfig) -> Iterator[Record]:
    """`copies` structures with random guests in `host`, one after another, with their space groups."""
    sampler = RandomPlacement(RandomOptions.model_validate({}))
    for shard in islice(make_shards(plan_inpaintings([host], copies, {}), 1), copies):
        yield from work.find_space_groups(work.draw(shard, sampler, None, config, None), config)


def _plus(counts: NullCounts, **more: int) -> NullCounts:
    return counts.model_copy(update={name: getattr(counts, name) + value for name, value in more.items()})


def with_nulls(summary: dict[str, Any], counts: NullCounts | None, symmetry: SymmetryMode = "none") -> dict[str, Any]:
    """`summary` with the null of every rate beside it, save those of draws that `symmetry` was imposed on."""
    if counts is None:
        return summary
    result = dict(summary)
    imposed = _IMPOSED[symmetry]
    given_host = "unconditional" not in summary
    for stage in ("unconditional", "inpainted"):
        part = summary.get(stage)
        if part is not None and stage not in imposed:
            rates: Mapping[str, Mapping[str, Any]] = part["symmetric_rates"]
            nulls = {name: {**rate, "null": counts.share(stage, name).as_json()} for name, rate in rates.items()}
            result[stage] = {**part, "symmetric_rates": nulls}
    if "hosts" in summary and "hosts" not in imposed:
        result["hosts"] = {**summary["hosts"], "null": wilson(counts.hosts, counts.starts).as_json()}
    means = MEANING_GIVEN_HOST if given_host else MEANING
    without = [part for part in (*imposed, *_WITHOUT_NULL) if part in summary]
    result["null_rates"] = {
        "means": means,
        "interval": "Wilson, 95 %",
        **counts.model_dump(),
        **({"rates_without_null": without} if without else {}),
    }
    return result


def explanation(null_rates: Mapping[str, Any]) -> list[str]:
    """What the nulls are of, and which rates have none, in words."""
    lines = [f"Null: {null_rates['means']}."]
    if "rates_without_null" in null_rates:
        names = ", ".join(name.replace("_", " ") for name in null_rates["rates_without_null"])
        lines.append(
            f"No null for {names}: symmetry is imposed there, and only relaxation tells whether it stays. Compare with "
            "the same run and --unconditional-sampler random (workflow anneal) or random-symmetric, and with --rattle."
        )
    return lines


def null_text(null: Mapping[str, Any] | None) -> str:
    """In words, to stand in brackets beside a rate; empty where there is none."""
    if not null or null["rate"] is None:
        return ""
    ends = f"{100 * null['low']:.0f} to {100 * null['high']:.0f} %"
    return f"null {100 * null['rate']:.1f} %, {ends}"
