"""A benchmark with hostile names, and a run over small plug-ins, both with files as the kit writes them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.core import Lattice, Structure

sys.path.insert(0, str(Path(__file__).parents[1] / "dft"))
sys.path.insert(0, str(Path(__file__).parents[1] / "workflow"))
from dft_runs import caesium_chloride, record, rocksalt, write_run
from workflow_toys import TOY_SETTINGS, toy_registry

from chggen_kit.benchmark.tables import (
    BENCHMARK_FILE,
    CELLS,
    DIFFERENCES,
    QUANTITIES,
    RATES,
    STRUCTURES,
    TOLERANCES_A,
    relaxed_column,
)
from chggen_kit.report.content import ReportContent
from chggen_kit.workflow.config import GenerateConfig, InpaintConfig, build_config
from chggen_kit.workflow.pipeline import run_generate, run_inpaint
from chggen_kit.workflow.records import Record, StructureData

HOSTILE = '</script><script>window.hacked=1</script><img src=x onerror="window.hacked=2">'
FORMULA_LIKE = "=$1+$1"
METHODS = (FORMULA_LIKE, 'say "a & b", <b>bold</b>')
SYSTEMS = (HOSTILE, "NaCl")
REGISTRY = toy_registry()
COPIES = 20


def left_handed() -> Structure:
    """A chiral arrangement in a left-handed cell."""
    lattice = Lattice([[0, 4.0, 0], [5.0, 0.3, 0], [0.4, 0.2, 6.0]])
    return Structure(lattice, ["Na", "Cl", "Cl"], [[0.1, 0.2, 0.3], [0.5, 0.55, 0.62], [0.81, 0.4, 0.05]])


def make_run(out: Path, **settings: Any) -> Path:
    """A run of the toy plug-ins, some of whose structures fail."""
    values = {"formula": "ZnP2S", "n": 4, "guests": "Zn", "min_distance_A": 0.9, **TOY_SETTINGS, **settings}
    run_generate(build_config(GenerateConfig, values, REGISTRY), out, registry=REGISTRY)
    return out


def make_inpainting(out: Path, **settings: Any) -> Path:
    """A run of guests in a given host."""
    kept = {name: TOY_SETTINGS[name] for name in ("backend", "potential", "sampler", "max_steps", "null_rates")}
    values = {"host": StructureData.of(left_handed()), "guest_counts": {"Li": 2}, "n": 3, **kept, **settings}
    run_inpaint(build_config(InpaintConfig, values, REGISTRY), out, registry=REGISTRY)
    return out


def _records(seed: int) -> list[Record]:
    generator = np.random.default_rng(seed)
    records = []
    for copy in range(COPIES):
        structure = left_handed() if copy == 0 else (rocksalt() if copy % 2 else caesium_chloride())
        structure = structure.copy()
        structure.translate_sites(range(len(structure)), generator.normal(0, 0.002, 3))
        energy = None if copy == COPIES - 1 else -3.0 + 0.01 * copy
        outcome = {"outcome": "exploded", "generated": None} if copy == COPIES - 2 else {}
        made = record(f"i{copy:04d}", structure, energy, copy_index=copy, host_atoms=1)
        records.append(made.updated(**outcome) if outcome and energy is None else made)
    return records


def make_benchmark(folder: Path, *, title: str = "a & b <i>benchmark</i>") -> Path:
    """Two systems by two methods, `COPIES` structures each, in every table of the contract."""
    folder.mkdir(parents=True)
    structures, cells, rates, quantities = [], [], [], []
    for number, (system, method) in enumerate((s, m) for s in SYSTEMS for m in METHODS):
        cell = f"cell{number}"
        records = _records(number)
        write_run(folder / "cells" / cell, records)
        for place, one in enumerate(records):
            final = one.final
            assert final is not None
            failed = place == COPIES - 1
            structures.append(
                {
                    "cell": cell,
                    "system": system,
                    "method": method,
                    "seed": 0,
                    "part": 0,
                    "start": 0,
                    "structure": one.id,
                    "stage": "inpainted",
                    "counted": True,
                    "formula": "NaCl",
                    "n_atoms": len(final.species),
                    "outcome": "exploded" if failed else "ok",
                    "guest_indices": " ".join(str(i) for i in range(1, len(final.species))),
                    "group": one.spacegroup_number,
                    "group_symbol": one.spacegroup_symbol,
                    "symmetric": place % 2 == 1 and not failed,
                    "energy_per_atom": one.energy_per_atom,
                    "E_d": None if failed else round(0.005 * place - 0.02 + 0.1 * number, 6),
                    "energy_change": None if failed else -0.01 * place,
                    "max_displacement_A": None if failed else 0.02 * place,
                    "unique": place < 3,
                }
            )
        cells.append(
            {
                "cell": cell,
                "system": system,
                "method": method,
                "seed": 0,
                "part": 0,
                "status": "done",
                "path": f"cells/{cell}",
                "structures": COPIES,
                "symmetric": COPIES // 2 - 1,
                "cpu_seconds": 12.5 * (number + 1),
                "wall_seconds": 20.0,
            }
        )
        rates.append(_rate("system", system, method, 0.45, None))
        rates += [_rate("system", system, method, 0.1 + 0.1 * i, None, at) for i, at in enumerate(TOLERANCES_A)]
        quantities.append(_quantity(system, method))
    cells.append(
        {
            "cell": "none",
            "system": SYSTEMS[0],
            "method": "left out",
            "seed": 0,
            "status": "skipped",
            "reason": "no <checkpoint> is given",
        }
    )
    rates += [_rate("pooled", None, method, 0.4, None) for method in METHODS]
    rates += [_rate("n_atoms", None, method, 0.3, size) for method in METHODS for size in (2, 3)]
    STRUCTURES.write(STRUCTURES.frame(structures), folder)
    CELLS.write(CELLS.frame(cells), folder)
    RATES.write(RATES.frame(rates), folder)
    QUANTITIES.write(QUANTITIES.frame(quantities), folder)
    DIFFERENCES.write(
        DIFFERENCES.frame(
            [
                {
                    "metric": "symmetric",
                    "method": METHODS[0],
                    "other": METHODS[1],
                    "rate": 0.4,
                    "other_rate": 0.3,
                    "difference": 0.1,
                    "low": -0.1,
                    "high": 0.3,
                    "interval": "bootstrap",
                    "excludes_zero": False,
                }
            ]
        ),
        folder,
    )
    description = {"name": title, "spec": {"path": f"/data/{HOSTILE}"}, "about": "A note with <markup> & more."}
    (folder / BENCHMARK_FILE).write_text(json.dumps(description), encoding="utf-8")
    assert relaxed_column(0.1) in STRUCTURES.names
    return folder


def _rate(
    scope: str, system: str | None, method: str, rate: float, size: int | None, at: float | None = None
) -> dict[str, Any]:
    return {
        "scope": scope,
        "system": system,
        "n_atoms": size,
        "method": method,
        "stage": "inpainted",
        "counted": True,
        "metric": "symmetric" if at is None else "symmetric_ladder",
        "state": None if at is None else "relaxed",
        "tolerance_A": 0.1 if at is None else at,
        "numerator": round(20 * rate),
        "denominator": 20,
        "denominator_name": "structures started",
        "rate": rate,
        "low": rate - 0.08,
        "high": min(rate + 0.1, 1.0),
        "interval": "bootstrap" if scope == "pooled" else "wilson",
        "systems": 2,
        "null_numerator": 1,
        "null_denominator": 50,
        "null_rate": 0.02,
        "null_low": 0.0,
        "null_high": 0.1,
        "null_name": "random atoms",
    }


def _quantity(system: str, method: str) -> dict[str, Any]:
    return {
        "scope": "system",
        "system": system,
        "method": method,
        "stage": "inpainted",
        "counted": True,
        "quantity": "E_d",
        "unit": "eV/atom",
        "count": 19,
        "best": -0.02,
        "quartile_1": 0.0,
        "median": 0.02,
        "quartile_3": 0.05,
        "mean": 0.03,
    }


def many_structures(number: int) -> ReportContent:
    """A report of that many structures, none of which is stored."""
    rows = [
        {
            "structure": f"s{place}",
            "system": "NaCl",
            "method": "m",
            "stage": "inpainted",
            "counted": True,
            "formula": "NaCl",
            "n_atoms": 2,
            "outcome": "ok",
            "E_d": (place * 7919 % number) / number,
        }
        for place in range(number)
    ]
    empty = {
        name: table.frame(())
        for name, table in (
            ("cells", CELLS),
            ("rates", RATES),
            ("quantities", QUANTITIES),
            ("differences", DIFFERENCES),
        )
    }
    return ReportContent(
        title="many",
        kind="benchmark",
        source=Path("many"),
        structures=STRUCTURES.frame(rows),
        crystals=[None] * number,
        runs=[],
        configuration={},
        **empty,
    )
