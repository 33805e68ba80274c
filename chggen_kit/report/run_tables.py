"""The tables of one ordinary run (`chggen generate`, `inpaint`), in the form of a benchmark's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pymatgen.core import Composition

from chggen_kit.benchmark.tables import CELLS, DIFFERENCES, QUANTITIES, RATES, STRUCTURES, relaxed_column
from chggen_kit.metrics.intervals import wilson
from chggen_kit.report.content import ReportContent
from chggen_kit.report.rows import RunRow, read_rows
from chggen_kit.workflow.nulls import explanation
from chggen_kit.workflow.records import OK
from chggen_kit.workflow.rundir import RunDirectory, read_json

if TYPE_CHECKING:
    import pandas as pd

STAGES = ("unconditional", "inpainted", "projected", "annealed")
TIGHT_A = 0.01
_METRICS = {
    "among_started": "symmetric",
    "among_relaxed": "symmetric_relaxed",
    "among_symmetrised_hosts": "symmetric_host",
    "among_all_starts": "symmetric_start",
    "among_started_at_0.01_A": "symmetric",
}
"""Name of each rate of `summary.json` in the table of rates."""
_UNITS = {
    "energy_per_atom": "eV/atom",
    "E_d": "eV/atom",
    "energy_change": "eV/atom",
    "max_displacement_A": "Å",
    "host_drift_A": "Å",
    "relax_steps": "",
}


def run_content(folder: Path) -> ReportContent:
    """Content of the report of the run in `folder`: each stage stands where a benchmark has a method.

    Raises:
        InputError: when the run has not ended.
        RunDirectoryError: when a file of it cannot be read.
    """
    run = RunDirectory(folder)
    rows = read_rows(folder)
    summary, description = read_json(run.summary), read_json(run.run_file)
    guests = frozenset(summary.get("guests", ()))
    means = summary["symmetric_means"]
    structures = STRUCTURES.frame(_structure(folder, row, means, guests) for row in rows)
    name = _name(summary, structures)
    notes = explanation(summary["null_rates"]) if "null_rates" in summary else []
    if "note" in summary:
        notes.append(summary["note"])
    thermodynamics = summary.get("thermodynamics", {})
    if thermodynamics.get("references") is None and thermodynamics.get("reason"):
        notes.append(f"No E_d: {thermodynamics['reason']}.")
    return ReportContent(
        title=f"{name}, seed {summary['seed']}",
        kind="run",
        source=folder,
        structures=structures,
        cells=CELLS.frame(_costs(folder, name, summary)),
        rates=RATES.frame(_rates(name, summary)),
        quantities=QUANTITIES.frame(_quantities(structures, name)),
        differences=DIFFERENCES.frame(()),
        crystals=[row.crystal(guests) for row in rows],
        runs=[folder],
        configuration=description,
        notes=notes,
        cost_unit="wall-clock seconds",
    )


def _name(summary: Mapping[str, Any], structures: pd.DataFrame) -> str:
    """What the run is of: its composition or chemical system, or its host and guests."""
    for key in ("formula", "chemical_system"):
        if key in summary:
            return str(summary[key])
    if "host" in summary:
        guests = " ".join(f"{symbol}{count}" for symbol, count in summary.get("guest_counts", {}).items())
        return f"{summary['host']} + {guests}"
    formulas = sorted(set(structures["formula"]))
    return ", ".join(formulas[:3]) + (", …" if len(formulas) > 3 else "")


def _structure(folder: Path, row: RunRow, means: Mapping[str, Any], guests: frozenset[str]) -> dict[str, Any]:
    values = row.keys
    group = values.get("spacegroup_number")
    tight = values.get("tight_spacegroup_number")
    at = {} if tight is None else {relaxed_column(TIGHT_A): tight}
    return {
        "system": Composition(values["formula"]).reduced_formula,
        "cell": folder.name,
        "method": values["stage"],
        "seed": values.get("seed"),
        "part": 0,
        "start": values.get("start"),
        "structure": values["structure_id"],
        "stage": values["stage"],
        "counted": True,
        "formula": Composition(values["formula"]).reduced_formula,
        "n_atoms": values["natoms"],
        "outcome": values["outcome"],
        "parent": values.get("parent"),
        "host": values.get("host_id"),
        "host_outcome": values.get("host_outcome"),
        "host_group": values.get("host_spacegroup_number"),
        "host_symprec_A": values.get("host_symprec"),
        "host_displacement_A": values.get("host_displacement"),
        "guest_indices": " ".join(map(str, row.guests(guests))),
        "group": group,
        "group_symbol": values.get("spacegroup_symbol"),
        "symmetric": values["outcome"] == OK and group is not None and group not in means["space_group_not_in"],
        **at,
        "energy_per_atom": values.get("energy_per_atom"),
        "E_d": values.get("E_d"),
        "energy_change": values.get("energy_change"),
        "max_displacement_A": values.get("max_displacement"),
        "host_drift_A": values.get("host_drift"),
        "converged": values.get("converged"),
        "relax_reason": values.get("relax_reason"),
        "relax_steps": values.get("relax_steps"),
    }


def _rates(name: str, summary: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    tolerance = summary["symmetric_means"]["symprec_A"]
    begun = [stage for stage in STAGES if summary.get(stage, {}).get("started")]
    for stage in begun:
        for key, rate in summary[stage]["symmetric_rates"].items():
            at = TIGHT_A if key.endswith("0.01_A") else tolerance
            yield _rate(name, stage, _METRICS.get(key, key), at, rate)
    for key, rate in summary.get("symmetric_yield", {}).items():
        at = TIGHT_A if key.endswith("0.01_A") else tolerance
        tested = {**rate, "denominator": f"{rate['denominator']}, tested by a rattle and a free relaxation"}
        yield _rate(name, begun[-1], "symmetric_start", at, tested)
    hosts = summary.get("hosts")
    if hosts is not None:
        rate = {"count": hosts["symmetrised"], "of": hosts["looked_at"], "denominator": "hosts looked at"}
        yield _rate(name, "unconditional", "hosts", None, {**rate, "null": hosts.get("null")})


def _rate(formula: str, stage: str, metric: str, tolerance: float | None, rate: Mapping[str, Any]) -> dict[str, Any]:
    share = wilson(rate["count"], rate["of"])
    null = rate.get("null") or {}
    return {
        "scope": "system",
        "system": formula,
        "method": stage,
        "stage": stage,
        "counted": True,
        "metric": metric,
        "tolerance_A": tolerance,
        "numerator": share.count,
        "denominator": share.of,
        "denominator_name": rate["denominator"],
        "rate": share.rate,
        "low": share.low,
        "high": share.high,
        "interval": "wilson",
        "systems": 1,
        "null_numerator": null.get("count"),
        "null_denominator": null.get("of"),
        "null_rate": null.get("rate"),
        "null_low": null.get("low"),
        "null_high": null.get("high"),
        "null_name": "random atoms in the same steps" if null else None,
    }


def _costs(folder: Path, name: str, summary: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """One line for each piece of work of the run."""
    for piece, seconds in summary.get("seconds", {}).items():
        yield {
            "cell": folder.name,
            "system": name,
            "method": piece,
            "seed": summary["seed"],
            "part": 0,
            "status": "done",
            "wall_seconds": seconds,
        }


def _quantities(structures: pd.DataFrame, formula: str) -> Iterator[dict[str, Any]]:
    for stage in STAGES:
        mine = structures[(structures["stage"] == stage) & (structures["outcome"] == OK)]
        for quantity, unit in _UNITS.items():
            values = mine[quantity].dropna().astype(float)
            if len(values):
                yield {
                    "scope": "system",
                    "system": formula,
                    "method": stage,
                    "stage": stage,
                    "counted": True,
                    "quantity": quantity,
                    "unit": unit,
                    "count": len(values),
                    "best": values.min(),
                    **_quartiles(values),
                    "mean": values.mean(),
                    "systems": 1,
                }


def _quartiles(values: pd.Series[float]) -> dict[str, float]:
    names: Sequence[str] = ("quartile_1", "median", "quartile_3")
    return dict(zip(names, values.quantile([0.25, 0.5, 0.75]).tolist(), strict=True))
