"""The laws of `NoiseProcess`, measured on the fields of a score model; part of `check_score_model`.

For each field: the identity at the clean level, moments, the composition of marginal and jump, the predictor's law
under a perfect network, folding, inputs left alone, and the projector on symmetric subspaces.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from chggen_kit.errors import InputError
from chggen_kit.interfaces.processes import FieldDraws, KernelOptions, NoiseProcess, Step
from chggen_kit.interfaces.score_model import ScoreModel
from chggen_kit.state import CrystalBatch, Fields
from chggen_kit.testing.report import LawResult
from chggen_kit.torus import to_cartesian

MOMENT_TOLERANCE = 0.05
"""Largest relative difference of two spreads over `MOMENT_ATOMS` atoms."""
MEAN_TOLERANCE = 0.12
"""Largest root mean square difference of two means, in units of the spread (its error is about 0.04)."""
REVERSE_TOLERANCE = 0.08
"""Largest relative difference of the predictor's spread from the marginal's, with a perfect network."""
MOMENT_ATOMS = 12000
FINE_STEPS = 100
"""Steps of the grid on which the predictor is measured, where the model has so many: kernels that are right to first
order pass on it."""


@dataclass(frozen=True)
class Probe:
    """Many copies of one crystal as fields, with what is needed to draw for them.

    Attributes:
        batch: the copies.
        fields: as the model encodes them, without noise.
        times: grid of ten steps.
        fine: grid of `FINE_STEPS` steps, or the finest there is.
        prediction: of the model at level 6 of `times`.
    """

    batch: CrystalBatch
    fields: Fields
    times: Sequence[float]
    fine: Sequence[float]
    prediction: Fields


@dataclass(frozen=True)
class PlainDraws:
    """`FieldDraws` for a whole batch at once, where it does not matter whose numbers are whose: thousands of copies."""

    number: int

    def _generator(self, purpose: str) -> torch.Generator:
        seed = hashlib.blake2b(f"{self.number} {purpose}".encode(), digest_size=7).digest()
        return torch.Generator().manual_seed(int.from_bytes(seed))

    def normal(self, purpose: str, like: Tensor) -> Tensor:
        """Standard normal numbers of the shape of `like`."""
        drawn = torch.randn(like.shape, generator=self._generator(purpose), dtype=torch.float64)
        return drawn.to(dtype=like.dtype, device=like.device)

    def uniform(self, purpose: str, like: Tensor) -> Tensor:
        """Uniform numbers in [0, 1) of the shape of `like`."""
        drawn = torch.rand(like.shape, generator=self._generator(purpose), dtype=torch.float64)
        # Rounded to single precision the largest ones would be 1.
        return drawn.to(dtype=like.dtype, device=like.device).clamp(max=1 - torch.finfo(like.dtype).eps)

    def categorical(self, purpose: str, probabilities: Tensor) -> Tensor:
        """One class index a row of `probabilities` `[n, n_classes]`."""
        rows = probabilities.double().cpu()
        return torch.multinomial(rows, 1, generator=self._generator(purpose))[:, 0].to(probabilities.device)


def finest_grid(model: ScoreModel, steps: int) -> tuple[float, ...]:
    """Times of `model` for `steps` steps, or for half as many where it has not so many, and so on down to ten."""
    while steps > 10:
        try:
            return tuple(model.times(steps))
        except InputError:
            steps //= 2
    return tuple(model.times(10))


def copies_for_moments(batch: CrystalBatch) -> CrystalBatch:
    """So many copies of the first crystal of `batch` that moments have a small error."""
    return batch.select([0] * max(2, MOMENT_ATOMS // int(batch.num_atoms[0])))


def check_process(name: str, process: NoiseProcess, probe: Probe) -> list[LawResult]:
    """Measure the laws of the process of the field `name`."""
    x0, clean = probe.fields[name], len(probe.times) - 1
    draws = [PlainDraws(number) for number in range(3)]

    def step(level: int, target: int) -> Step:
        return Step(probe.times, level, target, probe.fields)

    kept = {field: tensor.clone() for field, tensor in probe.fields.items()}
    same = process.forward_marginal(x0, step(clean, clean), draws[0])
    noised = process.forward_marginal(x0, step(6, 6), draws[0])
    again = process.forward_marginal(x0, step(6, 6), draws[0])
    results = [
        LawResult.of(f"clean-level-identity-{name}", holds=bool(torch.equal(same, x0))),
        LawResult.of(f"same-seed-same-draw-{name}", holds=bool(torch.equal(noised, again))),
    ]
    prediction = probe.prediction[name] if process.moves else x0
    moved = {
        "forward_marginal": noised,
        "reverse_step": process.reverse_step(x0, prediction, step(6, 7), draws[0]),
        "renoise": process.renoise(x0, step(7, 6), draws[0], KernelOptions()),
    }
    if not process.moves:
        stays = all(torch.equal(x, x0) for x in moved.values())
        return [*results, LawResult.of(f"fixed-stays-{name}", holds=stays)]
    rows = torch.ones(x0.shape[0], dtype=torch.bool, device=x0.device)
    corrected = process.correct(x0, prediction, step(6, 6), rows, draws[0], KernelOptions())
    if corrected is not None:
        moved["correct"] = corrected
    moved["prior"] = process.prior(step(0, 0), x0, draws[0])
    results += [_keeps_form(name, x0, moved), _folds(name, process, x0, moved)]
    touched = [field for field, tensor in probe.fields.items() if not torch.equal(tensor, kept[field])]
    results.append(
        LawResult.of(f"kernels-mutate-nothing-{name}", holds=not touched, detail=f"changed: {touched}" * bool(touched))
    )
    results += _check_moments(name, process, probe, draws)
    return [*results, *_check_predictor(name, process, probe, draws)]


def _keeps_form(name: str, x0: Tensor, moved: dict[str, Tensor]) -> LawResult:
    wrong = [
        kernel
        for kernel, x in moved.items()
        if x.shape != x0.shape or x.dtype != x0.dtype or not bool(torch.isfinite(x).all())
    ]
    detail = f"other shape or dtype, or not finite: {', '.join(wrong)}" if wrong else ""
    return LawResult.of(f"kernels-keep-form-{name}", holds=not wrong, detail=detail)


def _folds(name: str, process: NoiseProcess, x0: Tensor, moved: dict[str, Tensor]) -> LawResult:
    """Every kernel gives what `wrap` leaves alone; on a torus `wrap` folds into [0, 1) and never gives 1."""
    law = f"kernels-fold-{name}"
    wrong = [kernel for kernel, x in moved.items() if not torch.equal(process.wrap(x), x)]
    if wrong:
        return LawResult.of(law, holds=False, detail=f"not folded by `wrap`: {', '.join(wrong)}")
    if process.metric == "plain":
        return LawResult.of(law, holds=True)
    # A number below the last bit of one: x % 1 gives exactly 1 for it.
    edge = torch.full_like(x0, -torch.finfo(x0.dtype).eps / 8)
    folded = torch.cat([process.wrap(edge), process.wrap(x0 + 1), process.wrap(x0 - 2)])
    inside = bool(((folded >= 0) & (folded < 1)).all())
    return LawResult.of(law, holds=inside, detail="" if inside else "`wrap` leaves [0, 1)")


def _check_moments(name: str, process: NoiseProcess, probe: Probe, draws: Sequence[FieldDraws]) -> list[LawResult]:
    """Means and spreads at low levels, where on a torus they are small against the cell and mean something."""
    x0, times, fields = probe.fields[name], probe.times, probe.fields
    level, target = len(times) - 2, len(times) - 4
    at_target = Step(times, target, target, fields)
    direct = process.forward_marginal(x0, at_target, draws[1])
    low = process.forward_marginal(x0, Step(times, level, level, fields), draws[1])
    composed = process.renoise(low, Step(times, level, target, fields), draws[2], KernelOptions())
    (mean, spread), (mean_of_two, spread_of_two) = (_moments(process, x, x0, probe.batch) for x in (direct, composed))
    unit = _UNITS[process.metric]
    results = [
        LawResult.at_most(
            f"renoise-composes-{name}",
            abs(spread_of_two / spread - 1),
            MOMENT_TOLERANCE,
            f"spread {spread:.4g} {unit} directly, {spread_of_two:.4g} {unit} in two steps",
        ),
        LawResult.at_most(
            f"renoise-keeps-mean-{name}",
            float((mean_of_two - mean).square().mean().sqrt()) / spread,
            MEAN_TOLERANCE,
            "difference of the means over the spread",
        ),
    ]
    declared = process.marginal_std(at_target)
    if declared is not None:
        results.append(
            LawResult.at_most(
                f"marginal-moments-{name}",
                abs(spread / declared - 1),
                MOMENT_TOLERANCE,
                f"spread {spread:.4g} {unit}, declared {declared:.4g} {unit}",
            )
        )
    return results


def _check_predictor(name: str, process: NoiseProcess, probe: Probe, draws: Sequence[FieldDraws]) -> list[LawResult]:
    """From x_t ~ marginal at t, the predictor with the perfect output for one known x0 gives the marginal at s.

    The ancestral kernels draw from q(x_s | x_t, x0), so this holds step by step; it tells a wrong sign of the score, a
    wrong power of the noise level, and levels that are off by one.
    """
    x0, times = probe.fields[name], probe.fine
    level = len(times) - 1 - len(times) // 5
    noised_fields = _noised(name, process, probe, times, level, draws[1])
    step = Step(times, level, level + len(times) // 10, noised_fields)
    target = process.denoising_target(x0, noised_fields[name], step)
    if target is None:
        return []
    arrived = process.reverse_step(noised_fields[name], target, step, draws[2])
    direct = process.forward_marginal(x0, Step(times, step.target, step.target, probe.fields), draws[2])
    (mean, spread), (mean_of, spread_of) = (_moments(process, x, x0, probe.batch) for x in (direct, arrived))
    unit = _UNITS[process.metric]
    return [
        LawResult.at_most(
            f"predictor-follows-marginal-{name}",
            max(abs(spread_of / spread - 1), float((mean_of - mean).square().mean().sqrt()) / spread),
            REVERSE_TOLERANCE,
            f"spread {spread_of:.4g} {unit} after the step from level {level} to {step.target}, {spread:.4g} expected; "
            "difference of the means over the spread if larger",
        )
    ]


def _noised(
    name: str, process: NoiseProcess, probe: Probe, times: Sequence[float], level: int, draws: FieldDraws
) -> Fields:
    x = process.forward_marginal(probe.fields[name], Step(times, level, level, probe.fields), draws)
    return probe.fields.updated(**{name: x})


_UNITS = {"cartesian": "Å", "fractional": "of the cell", "plain": "(plain)"}


def _moments(process: NoiseProcess, x: Tensor, x0: Tensor, batch: CrystalBatch) -> tuple[Tensor, float]:
    """Mean displacement of each entry of the repeated crystal, and the spread about it (on a torus about zero)."""
    offset = x.double() - x0.double()
    if process.metric != "plain":
        offset = offset - offset.round()
    if process.metric == "cartesian":
        offset = to_cartesian(offset, batch.lattice, batch.crystal_index)
    copies = offset.reshape(batch.n_crystals, -1, *offset.shape[1:])
    mean = copies.mean(dim=0)
    about = copies if process.metric != "plain" else copies - mean
    return mean, float(about.square().mean().sqrt())
