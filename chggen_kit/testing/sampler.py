"""`check_sampler`: the laws of `Sampler`, measured on a score model whose distribution is known exactly."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from chggen_kit.errors import InputError
from chggen_kit.interfaces import Sampler, SampleResult, SamplingTask
from chggen_kit.state import CrystalBatch, Known
from chggen_kit.testing.measuring import Law, changed, chosen, copied, measure_all
from chggen_kit.testing.report import ConformanceReport, LawResult
from chggen_kit.testing.sampler_models import PLACES, SPREAD_A, ExactModel, templates
from chggen_kit.torus import to_cartesian

BATCHING_TOLERANCE_A = 1e-3
"""Largest difference in Å of a crystal drawn alone and in a batch: rounding, over hundreds of steps."""
SPREAD_TOLERANCE = 0.15
"""Largest relative difference of the spread of samples from the exact one (its error is about 0.03)."""
MEAN_TOLERANCE = 0.2
"""Largest distance of the mean from the exact one, in units of the spread (its error is about 0.06)."""
SYMMETRY_TOLERANCE_A = 1e-3
"""Largest distance in Å from a symmetry that was to be kept."""
START_TOLERANCE = 6.0
"""Largest root mean square displacement from a template that sampling starts from, in units of the starting noise."""
_COPIES = 6
_MANY = 160
_SEED = 11
_REASONS = (None, "non-finite", "exploded", "no-room")


def check_sampler(sampler: Sampler, *, only: Collection[str] | None = None) -> ConformanceReport:
    """Measure every law of `Sampler` on `sampler`.

    Both kinds of tasks are given: nothing known but species and cell, and a host atom given as well. A sampler may
    refuse a task with `InputError` (an unconditional sampler a host, a baseline a starting level), which the report
    then says; it may not refuse both. One that needs a model gets one whose law is known exactly, so that the laws
    `samples-follow-the-model` and `guests-follow-the-model` compare distributions.

    Args:
        sampler: what to check.
        only: names of the laws to measure; all by default.

    Returns:
        One result a law; `raise_if_failed()` of it raises `PluginError` with a table.
    """
    return ConformanceReport(f"sampler {type(sampler).__name__}", measure_all(chosen(_Check(sampler).laws(), only)))


@dataclass
class _Told:
    """Progress that remembers what it was told."""

    updates: list[tuple[int, int]]

    def update(self, done: int, total: int, message: str = "") -> None:
        del message
        self.updates.append((done, total))


class _Check:
    def __init__(self, sampler: Sampler) -> None:
        self.sampler = sampler
        self.model = ExactModel() if sampler.needs_model else None

    def sample(self, task: SamplingTask, seed: int = _SEED) -> SampleResult:
        return self.sampler.sample(self.model, task, seed=seed)

    @cached_property
    def free(self) -> SamplingTask:
        """Nothing known but species and cells."""
        batch = templates(_COPIES)
        return SamplingTask(batch, Known.coordinates_only(batch))

    @cached_property
    def hosted(self) -> SamplingTask:
        """The lithium atom given too, off its place by hundredths of the cell."""
        return _hosted(_COPIES)

    @cached_property
    def task(self) -> SamplingTask:
        """The first kind of task that the sampler takes."""
        try:
            self.sample(self.hosted)
        except InputError:
            return self.free
        return self.hosted

    @cached_property
    def result(self) -> SampleResult:
        return self.sample(self.task)

    def laws(self) -> list[tuple[str, Law]]:
        return [
            ("result-form", self.result_form),
            ("known-values-exact", self.known_values),
            ("cell-and-species-exact", self.cell_and_species),
            ("inputs-not-mutated", self.inputs),
            ("same-seed-same-crystals", self.same_seed),
            ("other-seed-other-crystals", self.other_seed),
            ("copies-differ", self.copies),
            ("independent-of-batch", self.batching),
            ("placeholders-do-not-matter", self.placeholders),
            ("progress-reaches-the-end", self.progress),
            *(self._model_laws() if self.sampler.needs_model else []),
            ("start-from-template", self.start),
            ("symmetry-kept", self.symmetry),
        ]

    def _model_laws(self) -> list[tuple[str, Law]]:
        return [
            ("network-calls-counted", self.network_calls),
            ("failed-crystal-alone", self.failed_crystal),
            ("model-required", self.model_required),
            ("samples-follow-the-model", lambda: self._follows("samples-follow-the-model", _free(_MANY), [0, 1])),
            ("guests-follow-the-model", lambda: self._follows("guests-follow-the-model", _hosted(_MANY), [1])),
        ]

    def result_form(self) -> LawResult:
        result, given = self.result, self.task.templates
        crystals, wrong = result.crystals, []
        if not torch.equal(crystals.num_atoms, given.num_atoms):
            wrong.append(f"atoms {crystals.num_atoms.tolist()}, asked for {given.num_atoms.tolist()}")
        if len(result.reasons) != given.n_crystals or not set(result.reasons) <= set(_REASONS):
            wrong.append(f"reasons {result.reasons}; known are {_REASONS}")
        for name in ("frac_coords", "lattice"):
            value: Tensor = getattr(crystals, name)
            if value.dtype != torch.float64 or value.device.type != "cpu" or value.requires_grad:
                wrong.append(f"{name} is {value.dtype} on {value.device}, not detached float64 on the cpu")
            if not bool(torch.isfinite(value).all()):
                wrong.append(f"{name} is not finite")
        if not bool(((crystals.frac_coords >= 0) & (crystals.frac_coords < 1)).all()):
            wrong.append("frac_coords are not folded into [0, 1)")
        if all(reason is not None for reason in result.reasons):
            wrong.append(f"no crystal came out: {result.reasons}")
        return LawResult.of("result-form", holds=not wrong, detail="; ".join(wrong))

    def known_values(self) -> LawResult:
        law = "known-values-exact"
        if self.task is self.free:
            return _refused(law, "given coordinates")
        given, drawn = self.task.templates, self.result.crystals
        mask = self.task.known.frac_coords
        off = (drawn.frac_coords - given.frac_coords)[mask].abs().max()
        return LawResult.at_most(law, float(off), 0.0, "given coordinates against those that came back, bit for bit")

    def cell_and_species(self) -> LawResult:
        given, drawn = self.task.templates, self.result.crystals
        same = torch.equal(drawn.lattice, given.lattice) and torch.equal(drawn.species, given.species)
        return LawResult.of(
            "cell-and-species-exact", holds=same, detail="" if same else "given cells or species came back changed"
        )

    def inputs(self) -> LawResult:
        given, before = self.task.templates, copied(self.task.templates)
        masks = [mask.clone() for mask in (self.task.known.frac_coords, self.task.known.species)]
        self.sample(self.task)
        moved = changed(given, before)
        if not all(map(torch.equal, masks, (self.task.known.frac_coords, self.task.known.species))):
            moved.append("known")
        return LawResult.of("inputs-not-mutated", holds=not moved, detail=f"changed: {moved}" if moved else "")

    def same_seed(self) -> LawResult:
        first, again = self.result.crystals, self.sample(self.task).crystals
        same = torch.equal(first.frac_coords, again.frac_coords) and torch.equal(first.lattice, again.lattice)
        return LawResult.of(
            "same-seed-same-crystals", holds=same, detail="" if same else "two calls with one seed differ"
        )

    def other_seed(self) -> LawResult:
        other = self.sample(self.task, _SEED + 1).crystals.frac_coords
        differ = not torch.equal(other, self.result.crystals.frac_coords)
        return LawResult.of(
            "other-seed-other-crystals", holds=differ, detail="" if differ else "the seed makes no difference"
        )

    def copies(self) -> LawResult:
        try:
            drawn = self.sample(self.free)
        except InputError:
            drawn = self.result
        coords = drawn.crystals.frac_coords.reshape(_COPIES, -1)
        # Copies of one template are two apart. A baseline may have few places to choose from, so some may be equal.
        equal = sum(torch.equal(coords[i], coords[i + 2]) for i in range(_COPIES - 2))
        return LawResult.at_most("copies-differ", equal, _COPIES - 3, "copies of one template that are equal")

    def batching(self) -> LawResult:
        order = [4, 1]
        part = self.sample(self.task.select(order)).crystals
        off = _distance_A(part, self.result.crystals.select(order))
        return LawResult.at_most(
            "independent-of-batch", off, BATCHING_TOLERANCE_A, "Å, two crystals in another batch and order"
        )

    def placeholders(self) -> LawResult:
        given, known = self.task.templates, self.task.known
        other = torch.where(known.frac_coords[:, None], given.frac_coords, 1 - given.frac_coords)
        task = replace(self.task, templates=replace(given, frac_coords=other))
        off = _distance_A(self.sample(task).crystals, self.result.crystals)
        return LawResult.at_most(
            "placeholders-do-not-matter", off, BATCHING_TOLERANCE_A, "Å, with other values of what is not known"
        )

    def progress(self) -> LawResult:
        told = _Told([])
        self.sampler.sample(self.model, self.task, seed=_SEED, progress=told)
        done = [done for done, _ in told.updates]
        good = done == sorted(done) and all(d <= total for d, total in told.updates)
        good = good and (not done or told.updates[-1][0] == told.updates[-1][1])
        return LawResult.of("progress-reaches-the-end", holds=good, detail=f"ended with {told.updates[-1:]}")

    def network_calls(self) -> LawResult:
        model = ExactModel()
        result = self.sampler.sample(model, self.task, seed=_SEED)
        return LawResult.at_most(
            "network-calls-counted",
            abs(result.network_calls - model.calls),
            0.0,
            f"{result.network_calls} reported, {model.calls} made",
        )

    def failed_crystal(self) -> LawResult:
        law, bad = "failed-crystal-alone", 2
        batch = replace(self.task.templates, lattice=templates(_COPIES, poisoned=bad).lattice)
        result = self.sample(replace(self.task, templates=batch))
        others = [i for i in range(_COPIES) if i != bad]
        if result.reasons[bad] is None or any(result.reasons[i] is not None for i in others):
            return LawResult.of(law, holds=False, detail=f"one crystal's predictions are NaN; reasons {result.reasons}")
        if not bool(torch.isfinite(result.crystals.frac_coords).all()):
            return LawResult.of(law, holds=False, detail="the failed crystal does not hold its last finite state")
        off = _distance_A(result.crystals.select(others), self.result.crystals.select(others))
        return LawResult.at_most(law, off, BATCHING_TOLERANCE_A, "Å, the crystals beside one whose predictions are NaN")

    def model_required(self) -> LawResult:
        try:
            self.sampler.sample(None, self.task, seed=_SEED)
        except InputError:
            return LawResult.of("model-required", holds=True)
        return LawResult.of("model-required", holds=False, detail="no InputError without a score model")

    def _follows(self, law: str, task: SamplingTask, atoms: list[int]) -> LawResult:
        try:
            drawn = self.sample(task).crystals
        except InputError as error:
            other = self.hosted if task.known.frac_coords.sum() == 0 else self.free
            if other is not self.task:
                raise
            return _refused(law, str(error))
        offset = drawn.frac_coords.reshape(-1, 2, 3) - torch.tensor(PLACES, dtype=torch.float64)
        cart = to_cartesian((offset - offset.round()).reshape(-1, 3), drawn.lattice, drawn.crystal_index)
        mine = cart.reshape(-1, 2, 3)[:, atoms]
        spread = float(mine.square().mean().sqrt())
        mean = float(mine.mean(dim=0).abs().max())
        worst = max(abs(spread / SPREAD_A - 1) / SPREAD_TOLERANCE, mean / SPREAD_A / MEAN_TOLERANCE)
        return LawResult.at_most(
            law,
            worst,
            1.0,
            f"spread {spread:.3f} Å, mean off by {mean:.3f} Å; exact {SPREAD_A} and 0 (over the limits)",
        )

    def start(self) -> LawResult:
        law, noise_A = "start-from-template", 0.05
        given = self.free.templates
        task = SamplingTask(given, Known.coordinates_only(given), start_sigma_A=noise_A)
        try:
            drawn = self.sample(task).crystals
        except InputError:
            return _refused(law, "a start from the template")
        offset = drawn.frac_coords - given.frac_coords
        cart = to_cartesian(offset - offset.round(), given.lattice, given.crystal_index)
        moved = float(cart.square().sum(dim=1).mean().sqrt())
        return LawResult.at_most(
            law, moved / noise_A, START_TOLERANCE, f"moved by {moved:.2f} Å from a template noised by {noise_A} Å"
        )

    def symmetry(self) -> LawResult:
        from chggen_kit.io import to_structures
        from chggen_kit.symmetry import find_operations

        law, given = "symmetry-kept", templates(2)
        groups = tuple(find_operations(structure)[1] for structure in to_structures(given))
        try:
            task = SamplingTask(given, Known.coordinates_only(given), symmetry=groups)
            ended = to_structures(self.sample(task).crystals)
        except InputError:
            return _refused(law, "a symmetry to be kept")
        off = max(group.residual_A(structure) for group, structure in zip(groups, ended, strict=True))
        return LawResult.at_most(law, off, SYMMETRY_TOLERANCE_A, "Å from the operations of the template")


def _free(copies: int) -> SamplingTask:
    batch = templates(copies)
    return SamplingTask(batch, Known.coordinates_only(batch))


def _hosted(copies: int) -> SamplingTask:
    batch = templates(copies)
    shift = torch.tensor([[0.02, -0.01, 0.015], [0.3, 0.3, 0.3]], dtype=torch.float64).repeat(copies, 1)
    batch = replace(batch, frac_coords=batch.frac_coords + shift * torch.tensor([1.0, -1.0]).repeat(copies)[:, None])
    batch = replace(batch, frac_coords=batch.frac_coords.remainder(1.0))
    return SamplingTask(batch, Known.coordinates_only(batch, torch.tensor([True, False]).repeat(copies)))


def _refused(law: str, what: str) -> LawResult:
    return LawResult.of(law, holds=True, detail=f"not measured: the sampler refuses {what}")


def _distance_A(a: CrystalBatch, b: CrystalBatch) -> float:  # noqa: N802 - units are part of the name
    """Largest distance of an atom from itself, in Å; infinite where something is not finite."""
    offset = a.frac_coords - b.frac_coords
    moved = to_cartesian(offset - offset.round(), b.lattice, b.crystal_index).norm(dim=1).max()
    return float(moved) if np.isfinite(float(moved)) else float("inf")
