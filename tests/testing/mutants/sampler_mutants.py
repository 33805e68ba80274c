"""Samplers with one thing wrong each; `LAWS` says by which law each must be caught."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from chggen_kit.draws import Draws
from chggen_kit.interfaces import CrystalId, Progress, Sampler, SampleResult, SamplingTask, ScoreModel
from chggen_kit.samplers.inpaint import build_replace
from chggen_kit.samplers.options import SamplerOptions
from chggen_kit.state import CrystalBatch, Fields, Known


class Correct(Sampler):
    """The built-in replacement sampler; mutants change what it is given, or what it gives."""

    def __init__(self) -> None:
        self.right = build_replace(SamplerOptions())

    def sample(
        self, model: ScoreModel | None, task: SamplingTask, *, seed: int, progress: Progress | None = None
    ) -> SampleResult:
        return self.right.sample(model, task, seed=seed, progress=progress)


def _with(result: SampleResult, **changes: Any) -> SampleResult:
    return replace(result, crystals=replace(result.crystals, **changes))


class HostDrifts(Correct):
    """Never sets the host back, so that it ends with a millionth of the cell of noise, as the original code's does."""

    def sample(self, model: Any, task: SamplingTask, **kwargs: Any) -> SampleResult:
        result = super().sample(model, task, **kwargs)
        return _with(result, frac_coords=(result.crystals.frac_coords + 1e-6).remainder(1.0))


class RescalesCell(Correct):
    def sample(self, model: Any, task: SamplingTask, **kwargs: Any) -> SampleResult:
        result = super().sample(model, task, **kwargs)
        return _with(result, lattice=result.crystals.lattice * 1.001)


class GlobalNoise(Correct):
    """Draws from the generator of the whole program."""

    def sample(self, model: Any, task: SamplingTask, **kwargs: Any) -> SampleResult:
        result = super().sample(model, task, **kwargs)
        x = result.crystals.frac_coords
        return _with(result, frac_coords=(x + 1e-3 * torch.rand_like(x)).remainder(1.0))


class SeedIgnored(Correct):
    def sample(self, model: Any, task: SamplingTask, *, seed: int, progress: Any = None) -> SampleResult:
        return super().sample(model, task, seed=0, progress=progress)


class CopiesAlike(Correct):
    def sample(self, model: Any, task: SamplingTask, **kwargs: Any) -> SampleResult:
        return super().sample(model, replace(task, ids=tuple(CrystalId(i.template, 0) for i in task.ids)), **kwargs)


class KeyedByPosition(Correct):
    """Couples a crystal's draws to its place in the batch."""

    def sample(self, model: Any, task: SamplingTask, **kwargs: Any) -> SampleResult:
        ids = tuple(CrystalId("place", place) for place in range(len(task.ids)))
        return super().sample(model, replace(task, ids=ids), **kwargs)


class MutatesTemplates(Correct):
    def sample(self, model: Any, task: SamplingTask, **kwargs: Any) -> SampleResult:
        result = super().sample(model, task, **kwargs)
        task.templates.frac_coords.add_(0.25).remainder_(1.0)
        return result


class NotFolded(Correct):
    def sample(self, model: Any, task: SamplingTask, **kwargs: Any) -> SampleResult:
        result = super().sample(model, task, **kwargs)
        return _with(result, frac_coords=result.crystals.frac_coords - 0.5)


class SinglePrecision(Correct):
    def sample(self, model: Any, task: SamplingTask, **kwargs: Any) -> SampleResult:
        result = super().sample(model, task, **kwargs)
        return _with(result, frac_coords=result.crystals.frac_coords.float())


class _Other(ScoreModel):
    """Another model's predictions, changed."""

    def __init__(self, model: ScoreModel) -> None:
        self.model = model

    capabilities = property(lambda self: self.model.capabilities)
    processes: Mapping[str, Any] = property(lambda self: self.model.processes)  # type: ignore[assignment]

    def times(self, num_steps: int) -> Any:
        return self.model.times(num_steps)

    def encode(self, batch: CrystalBatch, known: Known) -> Fields:
        return self.model.encode(batch, known)

    def decode(self, fields: Fields) -> CrystalBatch:
        return self.model.decode(fields)

    def predict(self, fields: Fields, t: Tensor) -> Fields:
        return self.model.predict(fields, t)


class _Negated(_Other):
    def predict(self, fields: Fields, t: Tensor) -> Fields:
        right = super().predict(fields, t)
        return right.updated(frac_coords=-right["frac_coords"])


class _NotDivided(_Other):
    """Takes sigma times the score for the score."""

    def predict(self, fields: Fields, t: Tensor) -> Fields:
        right = super().predict(fields, t)
        scale = t[fields.context.crystal_index][:, None]
        return right.updated(frac_coords=right["frac_coords"] * scale)


class WrongSign(Correct):
    def sample(self, model: Any, task: SamplingTask, **kwargs: Any) -> SampleResult:
        return super().sample(None if model is None else _Negated(model), task, **kwargs)


class WrongPower(Correct):
    def sample(self, model: Any, task: SamplingTask, **kwargs: Any) -> SampleResult:
        return super().sample(None if model is None else _NotDivided(model), task, **kwargs)


class StopsEarly(Correct):
    """Leaves the noise of a level that is not the clean one, on what was generated."""

    def sample(self, model: Any, task: SamplingTask, *, seed: int, progress: Any = None) -> SampleResult:
        result = super().sample(model, task, seed=seed, progress=progress)
        x = result.crystals.frac_coords
        draws = Draws(seed, task.ids, task.templates.num_atoms.tolist()).at(0, 9, "frac_coords", "atom")
        noise = 0.05 * draws.normal("left", x) * ~task.known.frac_coords[:, None]
        return _with(result, frac_coords=(x + noise).remainder(1.0))


class CountsTwice(Correct):
    def sample(self, model: Any, task: SamplingTask, **kwargs: Any) -> SampleResult:
        result = super().sample(model, task, **kwargs)
        return replace(result, network_calls=2 * result.network_calls)


class NanSpreads(Correct):
    """One crystal that fails takes the batch with it."""

    def sample(self, model: Any, task: SamplingTask, **kwargs: Any) -> SampleResult:
        result = super().sample(model, task, **kwargs)
        if all(reason is None for reason in result.reasons):
            return result
        return replace(result, reasons=("non-finite",) * len(result.reasons))


class HidesFailure(Correct):
    def sample(self, model: Any, task: SamplingTask, **kwargs: Any) -> SampleResult:
        result = super().sample(model, task, **kwargs)
        return replace(result, reasons=(None,) * len(result.reasons))


class ReadsPlaceholders(Correct):
    """Averages with the placeholders of what is to be generated."""

    def sample(self, model: Any, task: SamplingTask, **kwargs: Any) -> SampleResult:
        result = super().sample(model, task, **kwargs)
        mixed = (0.9 * result.crystals.frac_coords + 0.1 * task.templates.frac_coords).remainder(1.0)
        return _with(
            result, frac_coords=torch.where(task.known.frac_coords[:, None], task.templates.frac_coords, mixed)
        )


class EndlessProgress(Correct):
    def sample(self, model: Any, task: SamplingTask, *, seed: int, progress: Any = None) -> SampleResult:
        if progress is not None:
            progress.update(1, 2)
        return super().sample(model, task, seed=seed)


class ModelForgotten(Correct):
    def sample(self, model: Any, task: SamplingTask, **kwargs: Any) -> SampleResult:
        if model is None:
            return SampleResult(task.templates, (None,) * task.templates.n_crystals, 0)
        return super().sample(model, task, **kwargs)


class SymmetryIgnored(Correct):
    def sample(self, model: Any, task: SamplingTask, **kwargs: Any) -> SampleResult:
        return super().sample(model, replace(task, symmetry=None), **kwargs)


class StartIgnored(Correct):
    def sample(self, model: Any, task: SamplingTask, **kwargs: Any) -> SampleResult:
        return super().sample(model, replace(task, start_sigma_A=None), **kwargs)


LAWS: dict[type[Correct], str] = {
    HostDrifts: "known-values-exact",
    RescalesCell: "cell-and-species-exact",
    GlobalNoise: "global-random-state",
    SeedIgnored: "other-seed-other-crystals",
    CopiesAlike: "copies-differ",
    KeyedByPosition: "independent-of-batch",
    MutatesTemplates: "inputs-not-mutated",
    NotFolded: "result-form",
    SinglePrecision: "result-form",
    WrongSign: "samples-follow-the-model",
    WrongPower: "guests-follow-the-model",
    StopsEarly: "guests-follow-the-model",
    CountsTwice: "network-calls-counted",
    NanSpreads: "failed-crystal-alone",
    HidesFailure: "failed-crystal-alone",
    ReadsPlaceholders: "placeholders-do-not-matter",
    EndlessProgress: "progress-reaches-the-end",
    ModelForgotten: "model-required",
    SymmetryIgnored: "symmetry-kept",
    StartIgnored: "start-from-template",
}
