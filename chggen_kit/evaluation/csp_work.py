"""The work behind the evaluation of structure prediction: draw, judge, relax, each in pieces that are kept."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from pydantic import BaseModel, ConfigDict
from pymatgen.core import Structure

from chggen_kit.errors import InputError
from chggen_kit.evaluation.csp_references import Cells, CspReference, prediction_task, templates
from chggen_kit.evaluation.recovery import Judging, Method
from chggen_kit.interfaces import Progress
from chggen_kit.io.convert import to_structures
from chggen_kit.metrics.matching import CspMatcher, is_valid_structure, unusable
from chggen_kit.workflow.plan import cut
from chggen_kit.workflow.records import OK, Measured, StructureData
from chggen_kit.workflow.runner import Runner

_USABLE_ENDS = ("converged", "max-steps")
"""A relaxation that ran out of steps left a usable structure."""


@dataclass(frozen=True)
class CspMethod(Method):
    """One way to predict.

    Attributes:
        cells: where cells come from.
    """

    cells: Cells


class Prediction(BaseModel):
    """One predicted structure and what the matcher says of it.

    Attributes:
        outcome: `ok`, or why there is no usable structure.
        structure: None where there is none at all.
        rmsd: displacement from the reference over (V/N)^(1/3), None without a match.
        mismatch: why it does not match.
        valid: whether it passes the structural half of the validity gate.
        energy: total energy in eV, of a relaxed structure.
        steps: of the judging.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    outcome: str = OK
    structure: StructureData | None = None
    rmsd: float | None = None
    mismatch: str | None = None
    valid: bool = False
    energy: Measured = None
    steps: int | None = None


class PredictedReference(BaseModel):
    """All predictions of one method for one reference.

    Attributes:
        id: of the reference.
        network_calls: evaluations of the model for each prediction.
        seconds: wall time of drawing (or relaxing), shared out by atoms among what was worked on together.
        known: the reference as it was compared, where that is not as given: relaxed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    network_calls: int = 0
    seconds: float = 0.0
    predictions: tuple[Prediction, ...]
    known: StructureData | None = None

    @property
    def structures(self) -> list[Structure]:
        """Those predictions that are usable structures."""
        return [
            one.structure.structure() for one in self.predictions if one.outcome == OK and one.structure is not None
        ]


class CspWork:
    """Pieces of work over the references, a batch of them at a time."""

    def __init__(
        self,
        references: Sequence[CspReference],
        samples: int,
        seed: int,
        batch_atoms: int,
        matcher: CspMatcher,
        runner: Runner,
    ) -> None:
        self._references = references
        self._samples = samples
        self._seed = seed
        self._batch_atoms = batch_atoms
        self._matcher = matcher
        self._runner = runner
        self._ranges = cut([len(one.structure) * samples for one in references], batch_atoms)

    def predict(self, name: str, method: CspMethod) -> list[PredictedReference]:
        """What `method` predicts for every reference."""
        found: list[PredictedReference] = []
        for number, (low, high) in enumerate(self._ranges):
            work = partial(self._predict, self._references[low:high], method)
            found += self._runner.piece(f"{name}-draw", number, len(self._ranges), PredictedReference, work)
        return found

    def _predict(
        self, part: Sequence[CspReference], method: CspMethod, progress: Progress | None
    ) -> list[PredictedReference]:
        members: list[tuple[str, int, Structure]] = []
        for one in part:
            try:
                made = templates(one, method.cells, self._samples, self._seed)
            except InputError:  # no volume can be estimated: the reference stays, with predictions that failed
                continue
            members += [(one.id, copy, template) for copy, template in enumerate(made)]
        drawn: dict[str, list[Prediction]] = {one.id: [] for one in part}
        calls: dict[str, int] = {}
        seconds: dict[str, float] = dict.fromkeys(drawn, 0.0)
        for low, high in cut([len(template) for _, _, template in members], self._batch_atoms):
            batch = members[low:high]
            began = time.perf_counter()
            task = prediction_task(batch, method.cells)
            result = method.sampler.sample(method.model, task, seed=self._seed, progress=progress)
            took = (time.perf_counter() - began) / task.templates.n_atoms
            for (name, _, template), structure, reason in zip(
                batch, to_structures(result.crystals), result.reasons, strict=True
            ):
                drawn[name].append(_prediction(structure, reason))
                calls[name] = max(calls.get(name, 0), result.network_calls)
                seconds[name] += took * len(template)
        return [
            PredictedReference(
                id=one.id,
                network_calls=calls.get(one.id, 0),
                seconds=seconds[one.id],
                predictions=tuple(self._judged(each, one.structure) for each in drawn[one.id])
                or (Prediction(outcome="no-volume-estimate"),) * self._samples,
            )
            for one in part
        ]

    def _judged(self, prediction: Prediction, reference: Structure) -> Prediction:
        if prediction.outcome != OK or prediction.structure is None:
            return prediction
        structure = prediction.structure.structure()
        found = self._matcher.compare(structure, reference)
        return prediction.model_copy(
            update={"rmsd": found.rmsd, "mismatch": found.reason, "valid": is_valid_structure(structure)}
        )

    def relax_references(self, judging: Judging) -> dict[str, Structure]:
        """Every reference relaxed, or as it is where that fails."""
        found: dict[str, Structure] = {}
        for number, (low, high) in enumerate(self._ranges):
            part = self._references[low:high]
            own = [PredictedReference(id=one.id, predictions=(_prediction(one.structure, None),)) for one in part]
            known = {one.id: one.structure for one in part}
            work = partial(self._relax, own, known, judging)
            for one in self._runner.piece("references-relax", number, len(self._ranges), PredictedReference, work):
                found[one.id] = next(iter(one.structures), known[one.id])
        return found

    def relax(
        self,
        name: str,
        drawn: Sequence[PredictedReference],
        known: Mapping[str, Structure],
        judging: Judging,
    ) -> list[PredictedReference]:
        """The predictions `drawn` by method `name`, relaxed and judged against `known`."""
        found: list[PredictedReference] = []
        for number, (low, high) in enumerate(self._ranges):
            work = partial(self._relax, drawn[low:high], known, judging)
            found += self._runner.piece(f"{name}-relax", number, len(self._ranges), PredictedReference, work)
        return found

    def _relax(
        self,
        part: Sequence[PredictedReference],
        known: Mapping[str, Structure],
        judging: Judging,
        progress: Progress | None,
    ) -> list[PredictedReference]:
        began = time.perf_counter()
        places: list[tuple[int, int]] = []
        starts: list[Structure] = []
        for i, one in enumerate(part):
            for j, prediction in enumerate(one.predictions):
                if prediction.outcome == OK and prediction.structure is not None:
                    structure = prediction.structure.structure()
                    if unusable(structure) is None:
                        places.append((i, j))
                        starts.append(structure)
        ends = (
            judging.relaxer.relax(
                starts, cell="free", fmax=judging.fmax, max_steps=judging.max_steps, progress=progress
            )
            if starts
            else []
        )
        predictions = [list(one.predictions) for one in part]
        for (i, j), end in zip(places, ends, strict=True):
            usable = end.reason in _USABLE_ENDS
            made = _prediction(end.structure, None if usable else end.reason)
            made = made.model_copy(update={"energy": end.energy if np.isfinite(end.energy) else None})
            predictions[i][j] = self._judged(made.model_copy(update={"steps": end.steps}), known[part[i].id])
        each = (time.perf_counter() - began) / max(len(places), 1)
        return [
            one.model_copy(
                update={
                    "predictions": tuple(predictions[i]),
                    "seconds": each * sum(place[0] == i for place in places),
                    "known": StructureData.of(known[one.id]),
                }
            )
            for i, one in enumerate(part)
        ]


def _prediction(structure: Structure, reason: str | None) -> Prediction:
    if not (np.isfinite(structure.lattice.matrix).all() and np.isfinite(structure.frac_coords).all()):
        return Prediction(outcome=reason or "non-finite")
    return Prediction(outcome=reason or OK, structure=StructureData.of(structure))
