"""The pipeline from Python.

from chggen_kit.workflow import generate, inpaint

result = generate("ZnP2S6", n=8, seed=0, out="runs/ZnP2S6")
best = result.candidates[0].structure
filled = inpaint(host, {"Li": 4}, n=4, sampler={"name": "repaint", "options": {"passes": 3}})
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pymatgen.core import Structure

from chggen_kit.interfaces import Progress
from chggen_kit.io.disorder import read_host, resolve_host
from chggen_kit.plugins import get_registry
from chggen_kit.workflow.config import GenerateConfig, InpaintConfig, build_config
from chggen_kit.workflow.pipeline import default_directory, run_generate, run_inpaint
from chggen_kit.workflow.records import StructureData
from chggen_kit.workflow.result import RunResult


def generate(
    formula: str | None = None,
    *,
    out: str | Path | None = None,
    progress: Progress | None = None,
    **settings: Any,  # noqa: ANN401  the fields of GenerateConfig, which checks them
) -> RunResult:
    """Candidates for a composition, or with `chemical_system="Zn-P-S"` for what a model makes of these elements.

    Args:
        formula: of one formula unit, amounts as written, e.g. `ZnP2S6`.
        out: the run directory; `runs/FORMULA-seedS` by default. A directory that holds the same run is gone on with.
        progress: told how far the work is.
        settings: the fields of `GenerateConfig`: n, seed, guests, inpaintings, sampler, potential, ... A plug-in is
            given by its name, or as `{"name": ..., "options": {...}}`.

    Raises:
        InputError: when something that was given cannot be used.
        RunDirectoryError: when `out` belongs to another run.
    """
    registry = get_registry()
    config = build_config(GenerateConfig, {"formula": formula, **settings}, registry)
    return run_generate(config, default_directory(config, out), registry=registry, progress=progress)


def inpaint(
    host: Structure | str | Path,
    guest_counts: Mapping[str, int] | None = None,
    *,
    supercell: tuple[int, int, int] = (1, 1, 1),
    out: str | Path | None = None,
    progress: Progress | None = None,
    **settings: Any,  # noqa: ANN401  the fields of InpaintConfig, which checks them
) -> RunResult:
    """Guests drawn into a host.

    Args:
        host: a structure, or the path of its file; what is generated keeps it bit for bit, in its own cell and order.
        guest_counts: atoms to be drawn, by element symbol. Of a disordered host they may be left out: its partially
            occupied species are then drawn, in the numbers that their occupancies add up to.
        supercell: repetitions of the host along its axes.
        out: the run directory; `runs/HOST-GUESTS-seedS` by default.
        progress: told how far the work is.
        settings: the fields of `InpaintConfig`: n, seed, relax, sampler, potential, ...

    Raises:
        InputError: when something that was given cannot be used.
        RunDirectoryError: when `out` belongs to another run.
    """
    given = None if guest_counts is None else dict(guest_counts)
    if isinstance(host, Structure):
        structure, counts = resolve_host(host, given, supercell)
    else:
        structure, counts = read_host(Path(host), given, supercell)
    registry = get_registry()
    values = {"host": StructureData.of(structure), "guest_counts": counts, **settings}
    config = build_config(InpaintConfig, values, registry)
    return run_inpaint(config, default_directory(config, out), registry=registry, progress=progress)
