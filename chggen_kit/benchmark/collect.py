"""From the outcomes of cells to the tables."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pymatgen.core import Composition, Structure

from chggen_kit.benchmark.cells import AnyRun, Lane, Plan
from chggen_kit.benchmark.counting import Group, stages_upto
from chggen_kit.benchmark.driver import Driver, LaneCell
from chggen_kit.benchmark.outcome import CellOutcome, StructureOutcome
from chggen_kit.benchmark.quantities import quantity_rows
from chggen_kit.benchmark.rates import count_all, difference_rows, rate_rows
from chggen_kit.benchmark.same import Known, Sameness, formula_key, packaged_known, read_known
from chggen_kit.benchmark.spec import system_name
from chggen_kit.benchmark.tables import TOLERANCES_A, drawn_column, relaxed_column
from chggen_kit.interfaces import Progress
from chggen_kit.io.files import write_structure
from chggen_kit.workflow.config import GenerateConfig
from chggen_kit.workflow.formula import parse_composition
from chggen_kit.workflow.records import OK, Stage

STRUCTURES_FOLDER = "structures"
_SAME_NAMES = (
    *("stage", "start", "formula", "n_atoms", "outcome", "parent", "host", "host_outcome", "host_group"),
    *("host_symprec_A", "host_displacement_A", "group", "group_symbol", "symmetric", "energy_per_atom", "E_d"),
    *("energy_change", "max_displacement_A", "host_drift_A", "converged", "relax_reason", "relax_steps"),
    "network_calls",
)
"""Columns that an outcome has under the same name."""


@dataclass
class Collected:
    """Rows of all tables.

    Attributes:
        structures, cells, rates, quantities, differences: rows.
        known: for each system what its structures were compared with, in words.
    """

    structures: list[dict[str, Any]] = field(default_factory=list)
    cells: list[dict[str, Any]] = field(default_factory=list)
    rates: list[dict[str, Any]] = field(default_factory=list)
    quantities: list[dict[str, Any]] = field(default_factory=list)
    differences: list[dict[str, Any]] = field(default_factory=list)
    known: dict[str, str] = field(default_factory=dict)


def collect(
    plan: Plan, driver: Driver, folder: Path, data: Sequence[Path] = (), progress: Progress | None = None
) -> Collected:
    """Rows of all tables, and the CIF files of all structures in `folder`.

    Args:
        plan: of the benchmark.
        driver: has the outcomes.
        folder: of the benchmark.
        data: files of known structures, for all systems.
        progress: told how many systems are done.

    Raises:
        InputError: when known structures cannot be read.
    """
    result = Collected()
    groups: list[Group] = []
    by_system: dict[str, list[Lane]] = {system_name(one): [] for one in plan.spec.systems}
    for lane in plan.lanes:
        by_system[lane.system].append(lane)
    everything = _Data(plan, data)
    for number, (system, lanes) in enumerate(by_system.items()):
        rows, mine = _system(plan, driver, system, lanes, folder, everything, result)
        result.structures += rows
        groups += mine
        if progress is not None:
            progress.update(number + 1, len(by_system), system)
    for one in plan.left_out:
        result.cells.append({"system": one.system, "method": one.method, "status": "skipped", "reason": one.reason})
    stages: dict[str, Stage] = {}
    for group in groups:
        stages.setdefault(group.method, group.stage)
    counted = count_all(groups)
    baselines = {name: method.baseline for name, method in plan.spec.methods.items()}
    result.rates = rate_rows(counted, baselines, stages)
    result.quantities = quantity_rows(counted, result.cells, stages)
    result.differences = difference_rows(counted, [name for name in plan.spec.methods if name in stages])
    return result


class _Data:
    """Known structures; files are read once for all systems."""

    def __init__(self, plan: Plan, data: Sequence[Path]) -> None:
        self._own = {system_name(one): one.known for one in plan.spec.systems}
        self._data = tuple(data)
        self._read: dict[Path, tuple[set[str], list[Known]]] = {}

    def of(self, system: str, symbols: set[str], formulas: set[str]) -> tuple[list[Known], str]:
        """Known structures of the `formulas`, and where they come from."""
        paths = (*self._own[system], *self._data)
        if not paths:
            found = packaged_known(symbols, formulas)
            return found, "the reference phases that ship with the kit" if found else ""
        known = []
        for path in paths:
            wanted, have = self._read.get(path, (set(), []))
            if not formulas <= wanted:
                wanted = wanted | formulas
                have = read_known([path], wanted)
                self._read[path] = (wanted, have)
            known += [one for one in have if formula_key(one.structure) in formulas]
        return known, ", ".join(map(str, paths))


def _system(
    plan: Plan,
    driver: Driver,
    system: str,
    lanes: Sequence[Lane],
    folder: Path,
    data: _Data,
    result: Collected,
) -> tuple[list[dict[str, Any]], list[Group]]:
    rows: list[dict[str, Any]] = []
    outcomes: list[StructureOutcome] = []
    groups: dict[str, Group] = {}
    for lane in lanes:
        group = groups.setdefault(lane.method, _group(lane))
        for one in driver.lane_cells(lane):
            result.cells.append(_cell_row(one, driver.folder(one.cell), folder))
            if one.outcome is None:
                continue
            group.starts += one.outcome.starts
            if one.outcome.nulls is not None:
                group.nulls.append(one.outcome.nulls)
                group.null_means = one.outcome.null_means
            for structure in one.outcome.structures:
                if structure.stage not in stages_upto(lane.stage):
                    continue
                rows.append(_structure_row(one, structure, folder))
                outcomes.append(structure)
                group.rows.append(rows[-1])
    _compare(plan, system, lanes, rows, outcomes, data, result, groups)
    return rows, [group for group in groups.values() if group.starts]


def _group(lane: Lane) -> Group:
    config = lane.config
    return Group(
        system=lane.system,
        method=lane.method,
        stage=lane.stage,
        n_atoms=lane.n_atoms,
        excluded=config.excluded_groups,
        symprec_A=config.symprec_A,
        given_host=not isinstance(config, GenerateConfig),
    )


def _relative(path: Path, folder: Path) -> str:
    inside = path.resolve().is_relative_to(folder.resolve())
    return Path(os.path.relpath(path, folder)).as_posix() if inside else str(path.resolve())


def _cell_row(one: LaneCell, path: Path, folder: Path) -> dict[str, Any]:
    lane, outcome = one.cell.lane, one.outcome
    row: dict[str, Any] = {
        "cell": one.cell.name,
        "system": lane.system,
        "method": lane.method,
        "seed": lane.seed,
        "part": one.cell.part,
        "status": "done" if outcome is not None else "failed",
        "reason": one.reason,
        "path": _relative(path, folder),
    }
    if outcome is None:
        return row
    mine = [structure for structure in outcome.structures if structure.stage == lane.stage]
    row |= {
        "starts": outcome.starts,
        "structures": len(mine),
        "relaxed": sum(structure.relaxed for structure in mine),
        "symmetric": sum(structure.symmetric for structure in mine),
        **_null_columns(outcome, lane),
        "network_calls": outcome.network_calls,
        "cpu_seconds": outcome.cpu_seconds,
        "wall_seconds": outcome.wall_seconds,
        "peak_memory_MB": outcome.peak_memory_MB,
        "device": outcome.device,
    }
    return row


def _null_columns(outcome: CellOutcome, lane: Lane) -> dict[str, Any]:
    if outcome.nulls is None or lane.stage not in {"unconditional", "inpainted"}:
        return {}
    null = outcome.nulls.share(lane.stage, "")
    return {"null_count": null.count, "null_of": null.of, "null_rate": null.rate}


def _structure_row(one: LaneCell, structure: StructureOutcome, folder: Path) -> dict[str, Any]:
    lane = one.cell.lane
    row: dict[str, Any] = {
        "cell": one.cell.name,
        "system": lane.system,
        "method": lane.method,
        "seed": lane.seed,
        "part": one.cell.part,
        "structure": structure.id,
        "counted": structure.stage == lane.stage,
        **{name: getattr(structure, name) for name in _SAME_NAMES},
        "guest_indices": " ".join(map(str, structure.guest_indices)) or None,
        "kind_id": None,
        "unique": None,
        "novel": None,
        "match": None,
        "match_rms": None,
        "cif": _write_cif(one.cell.name, structure, folder),
    }
    for column, groups in ((drawn_column, structure.drawn_groups), (relaxed_column, structure.relaxed_groups)):
        found = groups or (None,) * len(TOLERANCES_A)
        row |= {column(tolerance_A): group for tolerance_A, group in zip(TOLERANCES_A, found, strict=True)}
    return row


def _write_cif(cell: str, structure: StructureOutcome, folder: Path) -> str | None:
    """The CIF of a structure that came through; one that is there already is the same."""
    if structure.final is None or structure.outcome != OK:
        return None
    target = folder / STRUCTURES_FOLDER / cell / f"{structure.id}.cif"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.tmp")
        write_structure(structure.final.structure(), temporary, "cif")
        temporary.replace(target)
    return target.relative_to(folder).as_posix()


def _compare(
    plan: Plan,
    system: str,
    lanes: Sequence[Lane],
    rows: Sequence[dict[str, Any]],
    outcomes: Sequence[StructureOutcome],
    data: _Data,
    result: Collected,
    groups: Mapping[str, Group],
) -> None:
    """Fill in which structures are the same, unique, new or known."""
    same = Sameness(plan.spec.matching)
    # Cells that several methods share are compared once.
    structures: dict[tuple[str, str], Structure] = {}
    for row, outcome in zip(rows, outcomes, strict=True):
        if outcome.relaxed and outcome.final is not None:
            structures.setdefault((row["cell"], row["structure"]), outcome.final.structure())
    kinds = dict(zip(structures, same.kinds(list(structures.values())), strict=True))
    formulas = {formula_key(one) for one in structures.values()}
    compositions = [composition for lane in lanes if (composition := _composition(lane.config)) is not None]
    formulas |= {_key(one) for one in compositions}
    symbols = {site.specie.symbol for one in structures.values() for site in one}
    symbols |= {str(element) for one in compositions for element in one.elements}
    known, source = data.of(system, symbols, formulas)
    result.known[system] = source
    matches = same.matches(structures, known) if known else {}
    seen: set[tuple[Any, ...]] = set()
    for row in rows:
        place = (row["cell"], row["structure"])
        kind = kinds.get(place)
        if kind is not None:
            first = (row["method"], row["seed"], row["stage"], kind)
            row |= {"kind_id": kind, "unique": first not in seen}
            seen.add(first)
        if place in matches:
            name, rms = matches[place]
            row |= {"novel": name is None, "match": name, "match_rms": rms}
    known_formulas = {formula_key(one.structure) for one in known}
    for group in groups.values():
        group.known = any(_key(one) in known_formulas for one in compositions)


def _key(composition: Composition) -> str:
    from chggen_kit.io.readers import canonical_formula

    return canonical_formula({element.Z: round(amount) for element, amount in composition.items()})


def _composition(config: AnyRun) -> Composition | None:
    if isinstance(config, GenerateConfig):
        return None if config.formula is None else parse_composition(config.formula)
    return config.host.structure().composition + Composition(dict(config.guest_counts))
