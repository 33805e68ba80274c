"""What is counted: the rates of one method in one system, each with the name of its denominator."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chggen_kit.benchmark.statistics import Count
from chggen_kit.benchmark.tables import TOLERANCES_A, drawn_column, relaxed_column
from chggen_kit.workflow.nulls import NullCounts
from chggen_kit.workflow.records import OK, Stage

Row = Mapping[str, Any]
"""A row of the table `structures`."""
STAGES: tuple[Stage, ...] = ("unconditional", "inpainted", "projected", "annealed")
STABLE_MEV = (0, 30, 100)
"""Limits of E_d in meV/atom below which structures are counted as stable: the last is the paper's for candidates."""

_YIELD: Mapping[Stage, tuple[Stage, ...]] = {
    "unconditional": ("unconditional",),
    "inpainted": ("inpainted",),
    "projected": ("projected",),
    "annealed": ("projected", "annealed"),
}
"""Stages of which a start must give a structure: annealing goes on with the best of what was projected."""
_OF_STRUCTURES: Mapping[Stage, str] = {
    "unconditional": "starts",
    "inpainted": "structures drawn into hosts",
    "projected": "structures projected",
    "annealed": "structures annealed",
}


@dataclass(frozen=True)
class Key:
    """Which rate it is.

    Attributes:
        stage: whose structures are counted.
        metric: as in the table `rates`.
        state: `drawn` or `relaxed` for the ladder.
        tolerance_A: of the space groups.
    """

    stage: Stage
    metric: str
    state: str = ""
    tolerance_A: float | None = None


@dataclass(frozen=True)
class Tally:
    """A rate in one system.

    Attributes:
        count: how many of how many.
        denominator_name: of what.
        null: the same among random structures, where a run measured it.
    """

    count: Count
    denominator_name: str
    null: Count | None = None


@dataclass
class Group:
    """All cells of one method in one system, all seeds.

    Attributes:
        system, method: names.
        stage: by which the method is judged.
        n_atoms: in a cell of the system.
        excluded: space groups that do not count.
        symprec_A: tolerance of the space group that counts.
        given_host: whether the host was given.
        starts: asked for.
        rows: structures, of all cells.
        nulls: of its cells.
        null_means: in words.
        known: whether a known structure of the composition is there to be found.
    """

    system: str
    method: str
    stage: Stage
    n_atoms: int
    excluded: Sequence[int]
    symprec_A: float
    given_host: bool
    starts: int = 0
    rows: list[Row] = field(default_factory=list)
    nulls: list[NullCounts] = field(default_factory=list)
    null_means: str = ""
    known: bool = False

    @property
    def is_placed(self) -> bool:
        """Whether there are references: a stage without structures then has none that is stable, and not no rate."""
        return any(row["E_d"] is not None for row in self.rows)

    def of_stage(self, stage: Stage) -> list[Row]:
        """Structures of a stage."""
        return [row for row in self.rows if row["stage"] == stage]

    @property
    def stages(self) -> list[Stage]:
        """Stages with structures up to the one by which the method is judged, and that one."""
        present = {row["stage"] for row in self.rows}
        return [stage for stage in stages_upto(self.stage) if stage in present or stage == self.stage]


def stages_upto(stage: Stage) -> tuple[Stage, ...]:
    """`stage` and those before it."""
    return STAGES[: STAGES.index(stage) + 1]


def start_of(row: Row) -> tuple[Any, ...]:
    """Structures of one start are no independent draws."""
    return row["cell"], row["start"]


def tallies(group: Group) -> Iterator[tuple[Key, Tally]]:
    """All rates of `group`."""
    for stage in group.stages:
        rows = group.of_stage(stage)
        yield from _of_structures(group, stage, rows)
        if not group.given_host:
            yield from _of_starts(group, stage)
        yield from _ladder(group, stage, rows)
    if not group.given_host:
        whole = group.of_stage("unconditional")
        if any(row["host_outcome"] is not None for row in whole):
            found = sum(row["host_outcome"] == OK for row in whole)
            null = _null_count(group, lambda counts: (counts.hosts, counts.starts))
            yield Key("unconditional", "hosts"), Tally(Count(found, group.starts), "starts", null)


def _key(group: Group, stage: Stage, metric: str) -> Key:
    return Key(stage, metric, "", group.symprec_A if "symmetric" in metric else None)


def _draws(group: Group, rows: Iterable[Row]) -> int | None:
    # With a given host every structure is a draw of its own, though all have start 0.
    return None if group.given_host else len({start_of(row) for row in rows})


def _of_structures(group: Group, stage: Stage, rows: Sequence[Row]) -> Iterator[tuple[Key, Tally]]:
    name = "structures drawn" if group.given_host else _OF_STRUCTURES[stage]

    def tally(metric: str, holds: Callable[[Row], bool], among: Sequence[Row], of: str) -> tuple[Key, Tally]:
        count = Count(sum(map(holds, among)), len(among), _draws(group, among))
        return _key(group, stage, metric), Tally(count, of)

    symmetric = Count(sum(row["symmetric"] for row in rows), len(rows), _draws(group, rows))
    yield _key(group, stage, "symmetric"), Tally(symmetric, name, _structure_null(group, stage))
    relaxed = [row for row in rows if row["outcome"] == OK and row["energy_per_atom"] is not None]
    yield tally("relaxed", lambda row: row["outcome"] == OK and row["energy_per_atom"] is not None, rows, name)
    yield tally("converged", lambda row: bool(row["converged"]), relaxed, "structures relaxed")
    placed = [row for row in relaxed if row["E_d"] is not None]
    if placed:
        for limit in STABLE_MEV:
            yield tally(f"stable_{limit}", stable_below(limit), placed, "structures with E_d")
    if group.is_placed:
        low = stable_below(STABLE_MEV[-1])
        yield tally("symmetric_stable_100", lambda row: bool(row["symmetric"]) and low(row), rows, name)
    compared = [row for row in rows if row["unique"] is not None]
    if compared:
        yield tally("unique", lambda row: bool(row["unique"]), compared, "structures compared")
        yield tally("unique_symmetric", lambda row: bool(row["unique"]) and bool(row["symmetric"]), rows, name)
    judged = [row for row in rows if row["novel"] is not None]
    if judged:
        yield tally("novel", lambda row: bool(row["novel"]), judged, "structures compared with known ones")
    if group.known:
        yield tally("matched", lambda row: row["match"] is not None, rows, name)


def _of_starts(group: Group, stage: Stage) -> Iterator[tuple[Key, Tally]]:
    rows = [row for one in _YIELD[stage] for row in group.of_stage(one)]

    def tally(metric: str, holds: Callable[[Row], bool], null: Count | None = None) -> tuple[Key, Tally]:
        found = len({start_of(row) for row in rows if holds(row)})
        return _key(group, stage, metric), Tally(Count(found, group.starts), "starts", null)

    null = _null_count(group, lambda counts: (counts.filled_hosts, counts.starts)) if stage == "inpainted" else None
    if stage == "unconditional":
        null = _structure_null(group, stage)
    yield tally("symmetric_start", lambda row: bool(row["symmetric"]), null)
    if group.is_placed:
        low = stable_below(STABLE_MEV[-1])
        yield tally("symmetric_stable_100_start", lambda row: bool(row["symmetric"]) and low(row))
    if group.known:
        yield tally("matched_start", lambda row: row["match"] is not None)


def _ladder(group: Group, stage: Stage, rows: Sequence[Row]) -> Iterator[tuple[Key, Tally]]:
    name = "structures drawn" if group.given_host else _OF_STRUCTURES[stage]
    draws = _draws(group, rows)
    for state, column in (("drawn", drawn_column), ("relaxed", relaxed_column)):
        for tolerance_A in TOLERANCES_A:
            groups = [row[column(tolerance_A)] for row in rows]
            found = sum(one is not None and one not in group.excluded for one in groups)
            yield Key(stage, "symmetric_ladder", state, tolerance_A), Tally(Count(found, len(rows), draws), name)


def stable_below(limit_meV: float) -> Callable[[Row], bool]:
    """Whether a structure has an E_d below the limit in meV/atom."""
    return lambda row: row["E_d"] is not None and row["E_d"] < limit_meV / 1000


def _structure_null(group: Group, stage: Stage) -> Count | None:
    if stage == "unconditional":
        return _null_count(group, lambda counts: (counts.symmetric, counts.starts))
    if stage == "inpainted":
        return _null_count(group, lambda counts: (counts.symmetric_fills, counts.fills))
    return None


def _null_count(group: Group, take: Callable[[NullCounts], tuple[int, int]]) -> Count | None:
    pairs = [take(one) for one in group.nulls]
    total = sum(of for _, of in pairs)
    return Count(sum(count for count, _ in pairs), total) if total else None
