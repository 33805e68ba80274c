"""The relative denoising error: how well one network call tells where the noise went, level by level.

    sum |predicted - exact|^2 / sum |exact|^2

over all rows of a field (atoms, or crystals for a lattice), where the exact value is the one of the noise process given
the clean crystal (`NoiseProcess.denoising_target`). 1 is what predicting zero gives; the network does not see the
clean crystal, so even a perfect one stays above 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from pymatgen.core import Element
from rich.table import Table
from torch import Tensor

from chggen_kit.draws import Draws, Record
from chggen_kit.errors import InputError
from chggen_kit.evaluation.bootstrap import Estimate, ratio
from chggen_kit.evaluation.pieces import pieces
from chggen_kit.evaluation.report import Report, table
from chggen_kit.evaluation.rows import fingerprint, to_batch
from chggen_kit.interfaces import CrystalId, Progress, ScoreModel, Step
from chggen_kit.interfaces.processes import Scope
from chggen_kit.io.readers import StructureRecord
from chggen_kit.metrics.families import FAMILIES, family
from chggen_kit.state import FIELD_NAMES, BatchContext, CrystalBatch, Known
from chggen_kit.workflow.plan import cut

SIGMAS_A = (0.03, 0.1, 0.3, 0.6, 1.0, 2.0)
"""Standard noise levels of models whose time is a noise level in Å."""
_GRID = 60
"""Steps of the grid from which the standard levels of other models are taken, at equal distances."""
_MAX_ATOMS_AT_A_TIME = 512


class CrystalErrors(BaseModel):
    """What one crystal contributes.

    Attributes:
        id: of the row.
        family: chemical family.
        sums: field name to one pair (squared error, squared exact value) for each noise level.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    family: str
    n_atoms: int
    sums: Mapping[str, tuple[tuple[float, float], ...]]


@dataclass(frozen=True)
class DenoisingReport(Report):
    """Relative denoising errors.

    Attributes:
        levels: noise levels in the unit `unit`.
        crystals: what each crystal contributes, in the order of the rows.
        facts: what was measured with what.
    """

    name: ClassVar[str] = "denoising"
    levels: tuple[float, ...]
    unit: str
    crystals: tuple[CrystalErrors, ...]
    facts: Mapping[str, Any]

    @property
    def fields(self) -> list[str]:
        """Names of the fields that were measured."""
        return [name for name in FIELD_NAMES if self.crystals and name in self.crystals[0].sums]

    def error(self, field: str, level: int, of: str | None = None) -> Estimate:
        """Relative error of `field` at level number `level`, of all crystals or of one family."""
        sums = [one.sums[field][level] for one in self.crystals if of in (None, one.family)]
        return ratio([wrong for wrong, _ in sums], [exact for _, exact in sums])

    def as_json(self) -> dict[str, Any]:
        groups = {name: [c for c in self.crystals if c.family == name] for name in FAMILIES}
        errors = {
            field: {
                "all": {str(level): self.error(field, i).as_json() for i, level in enumerate(self.levels)},
                **{
                    name: {str(level): self.error(field, i, name).as_json() for i, level in enumerate(self.levels)}
                    for name, members in groups.items()
                    if members
                },
            }
            for field in self.fields
        }
        return {
            "evaluation": self.name,
            "facts": dict(self.facts),
            "crystals": len(self.crystals),
            "atoms": sum(one.n_atoms for one in self.crystals),
            "families": {name: len(members) for name, members in groups.items() if members},
            "unit": self.unit,
            "relative_errors": errors,
        }

    def tables(self) -> list[Table]:
        made = []
        for field in self.fields:
            counts = {name: sum(one.family == name for one in self.crystals) for name in FAMILIES}
            rows = [["all", str(len(self.crystals)), *self._line(field, None)]]
            rows += [[name, str(count), *self._line(field, name)] for name, count in counts.items() if count]
            headings = ["family", "crystals", *(f"{level:g}" for level in self.levels)]
            made.append(table(f"Relative denoising error of {field}, by noise ({self.unit})", headings, rows))
        return made

    def _line(self, field: str, of: str | None) -> list[str]:
        return [self.error(field, level, of).text(3) for level in range(len(self.levels))]


def standard_levels(model: ScoreModel) -> tuple[float, ...]:
    """Noise levels to measure at when none are named: `SIGMAS_A`, or six of the model's own grid."""
    if model.capabilities.time_unit == "sigma in Å":
        return SIGMAS_A
    grid = model.times(_GRID)
    return tuple(grid[i] for i in np.linspace(0, _GRID - 1, len(SIGMAS_A)).round().astype(int).tolist())


def evaluate_denoising(
    model: ScoreModel,
    rows: Sequence[StructureRecord],
    *,
    out: Path,
    levels: Sequence[float] | None = None,
    seed: int = 0,
    facts: Mapping[str, Any] | None = None,
    versions: Mapping[str, str] | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> DenoisingReport:
    """Relative denoising error of `model` on `rows`; goes on with what `out` holds, if it is the same.

    Args:
        model: any backend with a field whose process knows its target.
        rows: crystals made of elements that the model covers.
        out: directory of the pieces.
        levels: times of the model; `standard_levels` by default.
        seed: of the noise: the same for every level (where the process scales it), for every model.
        facts: to be kept with the result.
        versions: of the software, for the record.
        threads: of torch.
        progress: told how far the work is.

    Raises:
        InputError: when there are no rows, or no field of the model can be measured.
        RunDirectoryError: when `out` belongs to another run.
    """
    if not rows:
        raise InputError("There is no crystal to measure denoising errors on.")
    chosen = tuple(float(level) for level in (standard_levels(model) if levels is None else levels))
    identity = {
        "evaluation": DenoisingReport.name,
        "checkpoint": model.capabilities.checkpoint,
        "checkpoint_sha256": model.capabilities.checkpoint_sha256,
        "rows": fingerprint(rows),
        "levels": list(chosen),
        "seed": seed,
    }
    ranges = cut([row.n_atoms for row in rows], _MAX_ATOMS_AT_A_TIME)
    found: list[CrystalErrors] = []
    with pieces(out, identity, versions=versions, threads=threads, progress=progress) as runner:
        for number, (low, high) in enumerate(ranges):
            work = partial(_measure, model, rows[low:high], chosen, seed)
            found += runner.piece("denoising", number, len(ranges), CrystalErrors, work)
    return DenoisingReport(chosen, model.capabilities.time_unit, tuple(found), {**identity, **(facts or {})})


def _measure(
    model: ScoreModel, rows: Sequence[StructureRecord], levels: Sequence[float], seed: int, progress: Progress | None
) -> list[CrystalErrors]:
    batch = to_batch(rows)
    sums = squared_errors(model, batch, [row.id for row in rows], levels, seed=seed, progress=progress)
    return [
        CrystalErrors(
            id=row.id,
            family=family({Element.from_Z(z).symbol for z in row.species.tolist()}),
            n_atoms=row.n_atoms,
            sums={name: tuple((wrong[i], exact[i]) for wrong, exact in pairs) for name, pairs in sums.items()},
        )
        for i, row in enumerate(rows)
    ]


def squared_errors(
    model: ScoreModel,
    batch: CrystalBatch,
    ids: Sequence[str],
    levels: Sequence[float],
    *,
    seed: int = 0,
    noise: Record | None = None,
    progress: Progress | None = None,
) -> dict[str, list[tuple[list[float], ...]]]:
    """Sums of squared errors and of squared exact values, by field: for each level two lists `[n_crystals]`.

    Args:
        model: the score model.
        batch: clean crystals.
        ids: names of the crystals, by which their noise is keyed.
        levels: times.
        seed: of the noise.
        noise: numbers to use instead of drawing, as `Draws` records them.
        progress: told how many levels are done.

    Raises:
        InputError: when no field's process can say what a perfect network predicts.
    """
    processes = {name: process for name, process in model.processes.items() if process.moves}
    known = Known(
        **{
            name: torch.full((batch.n_crystals if name == "lattice" else batch.n_atoms,), name not in processes)
            for name in FIELD_NAMES
        }
    )
    clean = model.encode(batch, known)
    draws = Draws(seed, [CrystalId(one, 0) for one in ids], batch.num_atoms.tolist(), replay=noise)
    clean_time = model.times(2)[-1]
    found: dict[str, list[tuple[list[float], ...]]] = {}
    for number, level in enumerate(levels, start=1):
        step = Step((level, clean_time), 0, 0, clean)
        noisy = clean.updated(
            **{
                name: process.forward_marginal(clean[name], step, draws.at(0, 0, name, process.scope))
                for name, process in processes.items()
            }
        )
        # The exact value is that of the noised state: its other fields (a noised lattice) are what the process sees.
        at_noise = Step((level, clean_time), 0, 0, noisy)
        predicted = model.predict(noisy, clean["lattice"].new_full((batch.n_crystals,), level))
        for name, process in processes.items():
            target = process.denoising_target(clean[name], noisy[name], at_noise)
            if target is not None:
                pair = tuple(_by_crystal(v, process.scope, clean.context) for v in (predicted[name] - target, target))
                found.setdefault(name, []).append(pair)
        if progress is not None:
            progress.update(number, len(levels))
    if not found:
        raise InputError(
            f"None of the fields that {model.capabilities.checkpoint} diffuses ({', '.join(processes)}) can be "
            "measured: their noise processes do not define `denoising_target`."
        )
    return found


def _by_crystal(values: Tensor, scope: Scope, context: BatchContext) -> list[float]:
    """Sum of squares of `values` `[n_atoms or n_crystals, ...]` for each crystal."""
    squares = values.detach().double().square().flatten(1).sum(dim=1)
    if scope == "atom":
        squares = squares.new_zeros(context.n_crystals).index_add_(0, context.crystal_index, squares)
    total: list[float] = squares.tolist()
    return total
