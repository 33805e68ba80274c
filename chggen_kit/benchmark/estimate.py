"""What a plan will cost: CPU time from cells that have been run before, or from a rough table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

from chggen_kit.benchmark.cells import Cell, Plan
from chggen_kit.benchmark.driver import Driver
from chggen_kit.benchmark.outcome import OUTCOME_FILE, CellOutcome
from chggen_kit.workflow.config import config_hash

Basis = Literal["done", "shared", "same method", "rough"]
_MODEL_S, _RELAX_S = 0.06, 0.05
"""CPU seconds on one core for each start and atom: drawing with a score model of the kit, relaxing with its potential.
Measured with a few starts of 9 to 24 atoms; other models, potentials and levels differ by factors of several."""
_OF_THE_TARGET = (
    *("seed", "formula", "formula_units", "chemical_system", "atoms", "host", "guest_counts", "n"),
    *("guests", "volume_per_atom", "excluded_groups", "references"),
)
_READ_MOST = 2000
"""Cells of a cache that are looked at."""


@dataclass(frozen=True)
class CellCost:
    """What one lane will cost.

    Attributes:
        cell: its first cell.
        cpu_seconds: still to be spent.
        basis: what the estimate rests on.
    """

    cell: Cell
    cpu_seconds: float
    basis: Basis


def estimate(plan: Plan, driver: Driver) -> list[CellCost]:
    """Costs of the lanes of a plan; lanes that share their cells are counted once."""
    per_atom = _measured(driver.cache)
    budget = plan.spec.budget.cpu_seconds
    costs = []
    seen: set[str] = set()
    for lane in plan.lanes:
        cell = lane.cell(0)
        if driver.next_cell(lane) is None or cell.name in seen:
            costs.append(CellCost(cell, 0.0, "shared" if cell.name in seen else "done"))
            continue
        seen.add(cell.name)
        known = per_atom.get(_method_key(cell.identity))
        if budget is not None:
            spent = sum(one.outcome.cpu_seconds for one in driver.lane_cells(lane) if one.outcome is not None)
            costs.append(CellCost(cell, max(budget - spent, 0.0), "done" if spent >= budget else "rough"))
        elif known is not None:
            costs.append(CellCost(cell, known * _starts(cell) * lane.n_atoms, "same method"))
        else:
            costs.append(CellCost(cell, _rough(cell) * _starts(cell) * lane.n_atoms, "rough"))
    return costs


def _starts(cell: Cell) -> int:
    units = getattr(cell.config, "formula_units", (1,))
    return cell.config.n * len(units)


def _rough(cell: Cell) -> float:
    config = cell.config
    draws = 1 + getattr(config, "inpaintings", 0) * (getattr(config, "guests", ()) != ())
    model = _MODEL_S if "checkpoint_sha256" in cell.identity["parts"] else 0.0
    relax = _RELAX_S if "potential" in cell.identity["parts"] else 0.0
    return draws * (model + relax) * (2.0 if getattr(config, "workflow", "") == "anneal" else 1.0)


def _method_key(identity: Mapping[str, Any]) -> str:
    config = {name: value for name, value in identity["config"].items() if name not in _OF_THE_TARGET}
    return config_hash({"config": config, "parts": identity["parts"]})


def _measured(cache: Path) -> dict[str, float]:
    """CPU seconds for each start and atom, by method, of the cells in a cache."""
    found: dict[str, list[float]] = {}
    for outcome in _outcomes(cache):
        atoms = [one.n_atoms for one in outcome.structures if one.n_atoms is not None]
        if atoms and outcome.starts and outcome.cpu_seconds:
            each = outcome.cpu_seconds / (outcome.starts * median(atoms))
            found.setdefault(_method_key(outcome.identity), []).append(each)
    return {key: median(values) for key, values in found.items()}


def _outcomes(cache: Path) -> Iterator[CellOutcome]:
    if not cache.is_dir():
        return
    for path in sorted(cache.glob(f"*/{OUTCOME_FILE}"))[:_READ_MOST]:
        try:
            yield CellOutcome.model_validate(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            continue  # of another version, or damaged: no help for an estimate, and told of when it is needed


def total(costs: Sequence[CellCost], workers: int) -> tuple[float, float]:
    """CPU seconds of all lanes, and the wall time in s that so many workers need for them."""
    cpu = sum(one.cpu_seconds for one in costs)
    longest = max((one.cpu_seconds for one in costs), default=0.0)
    return cpu, max(cpu / max(workers, 1), longest)
