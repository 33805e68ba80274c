"""`check_score_model`: the laws of `ScoreModel`, measured on real crystals."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from chggen_kit.draws import Draws
from chggen_kit.errors import ChggenError
from chggen_kit.interfaces.processes import FieldDraws, KernelOptions, NoiseProcess, Step
from chggen_kit.interfaces.sampler import CrystalId
from chggen_kit.interfaces.score_model import ScoreModel
from chggen_kit.state import FIELD_NAMES, CrystalBatch, Fields, Known
from chggen_kit.testing.crystals import covered, disturbed, textbook_crystals
from chggen_kit.testing.report import ConformanceReport, LawResult
from chggen_kit.torus import to_cartesian, wrap

PREDICTION_TOLERANCE = 2e-4
"""Largest relative difference (maximum norm) of two predictions that should be equal, in float32."""
ROUND_TRIP_TOLERANCE_A = 1e-6
"""Largest displacement by `decode(encode(x))`, in Å."""
MOMENT_TOLERANCE = 0.05
"""Largest relative difference of two spreads over `_MOMENT_ATOMS` atoms."""
MEAN_TOLERANCE = 0.12
"""Largest root mean square difference of two means, in units of the spread (its error is about 0.04)."""
_MOMENT_ATOMS = 12000

Check = Callable[[ScoreModel, CrystalBatch], list[LawResult]]


def check_score_model(model: ScoreModel, batch: CrystalBatch | None = None) -> ConformanceReport:
    """Measure the laws of `model`.

    Args:
        model: what to check.
        batch: crystals in general position to check it on, at least two; by default rattled textbook crystals of the
            elements that the model covers.

    Returns:
        A report with one result a law; `report.raise_if_failed()` raises `PluginError` with the table.
    """
    if batch is None:
        batch = disturbed(covered(textbook_crystals(), model.capabilities.elements), rattle_A=0.1, strain=0.0, seed=0)
    results: list[LawResult] = []
    checks: tuple[Check, ...] = (
        _check_declarations,
        _check_round_trip,
        _check_outputs,
        _check_batching,
        _check_symmetries,
        _check_masks,
        _check_processes,
    )
    for check in checks:
        try:
            results += check(model, batch)
        except (ChggenError, RuntimeError, ValueError, KeyError, IndexError, TypeError) as error:
            law = check.__name__.removeprefix("_check_")
            results.append(LawResult.of(law, holds=False, detail=f"{type(error).__name__}: {error}"))
    return ConformanceReport(f"score model {model.capabilities.checkpoint}", tuple(results))


def _encode(model: ScoreModel, batch: CrystalBatch) -> Fields:
    moves = model.processes["frac_coords"].moves
    given = torch.full((batch.n_atoms,), not moves, device=batch.species.device)
    return model.encode(batch, Known.coordinates_only(batch, given))


def _levels(batch: CrystalBatch) -> list[int]:
    """A level of a grid of ten steps for each crystal: neighbours in a batch differ, as they do in training."""
    return [3 + crystal % 5 for crystal in range(batch.n_crystals)]


def _predict(model: ScoreModel, batch: CrystalBatch, levels: Sequence[int] | None = None) -> Fields:
    """Prediction, each crystal at its own level."""
    fields, times = _encode(model, batch), model.times(10)
    chosen = [times[level] for level in (_levels(batch) if levels is None else levels)]
    return model.predict(fields, torch.tensor(chosen, dtype=fields["lattice"].dtype, device=fields["lattice"].device))


def _difference(a: Tensor, b: Tensor) -> float:
    """Largest difference relative to the largest entry; infinite where anything is not finite."""
    if not (bool(torch.isfinite(a).all()) and bool(torch.isfinite(b).all())):
        return math.inf
    scale = max(float(a.abs().max()), float(b.abs().max()), 1e-12)
    return float((a - b).abs().max()) / scale


def _check_declarations(model: ScoreModel, batch: CrystalBatch) -> list[LawResult]:
    del batch
    times, processes = model.times(10), model.processes
    descending = all(a > b for a, b in itertools.pairwise(times))
    moving = {name for name, process in processes.items() if process.moves}
    return [
        LawResult.of("times-descend", holds=len(times) == 11 and descending, detail=f"times(10) has {len(times)}"),
        LawResult.of(
            "a-process-for-every-field", holds=set(processes) == set(FIELD_NAMES), detail=", ".join(sorted(processes))
        ),
        LawResult.of(
            "diffused-fields-declared",
            holds=moving == set(model.capabilities.diffused),
            detail=f"moving {sorted(moving)}, declared {sorted(model.capabilities.diffused)}",
        ),
    ]


def _check_round_trip(model: ScoreModel, batch: CrystalBatch) -> list[LawResult]:
    before = CrystalBatch(*(t.clone() for t in (batch.frac_coords, batch.lattice, batch.species, batch.num_atoms)))
    back = model.decode(_encode(model, batch))
    offset = back.frac_coords - before.frac_coords
    moved = to_cartesian(offset - offset.round(), before.lattice, before.crystal_index).norm(dim=1)
    strained = (back.lattice - before.lattice).abs().max()
    return [
        LawResult.at_most("decode-encode-positions", float(moved.max()), ROUND_TRIP_TOLERANCE_A, "Å"),
        LawResult.at_most("decode-encode-lattice", float(strained), ROUND_TRIP_TOLERANCE_A, "Å"),
        LawResult.of("decode-encode-species", holds=bool(torch.equal(back.species, before.species))),
        LawResult.of(
            "encode-mutates-nothing",
            holds=all(torch.equal(getattr(batch, name), getattr(before, name)) for name in (*FIELD_NAMES, "num_atoms")),
        ),
    ]


def _check_outputs(model: ScoreModel, batch: CrystalBatch) -> list[LawResult]:
    results = []
    fields = _encode(model, batch)
    copies = {name: tensor.clone() for name, tensor in fields.items()}
    t = torch.full((batch.n_crystals,), model.times(10)[5], dtype=fields["lattice"].dtype)
    prediction = model.predict(fields, t.to(fields["lattice"].device))
    unchanged = all(torch.equal(fields[name], copy) for name, copy in copies.items())
    results.append(LawResult.of("predict-mutates-nothing", holds=unchanged))
    for name in model.capabilities.diffused:
        out = prediction[name]
        right = out.dtype == fields[name].dtype and out.device == fields[name].device and not out.requires_grad
        results.append(
            LawResult.of(
                f"output-form-{name}",
                holds=right and out.shape[0] == fields[name].shape[0],
                detail=f"{out.dtype}, {tuple(out.shape)}, requires_grad={out.requires_grad}",
            )
        )
        results.append(LawResult.of(f"output-finite-{name}", holds=bool(torch.isfinite(out).all())))
    again = model.predict(fields, t)
    worst = max(_difference(prediction[name], again[name]) for name in model.capabilities.diffused)
    results.append(LawResult.at_most("same-input-same-output", worst, PREDICTION_TOLERANCE))
    return results


def _check_batching(model: ScoreModel, batch: CrystalBatch) -> list[LawResult]:
    together = _predict(model, batch)
    worst = 0.0
    for crystal in range(batch.n_crystals):
        alone = _predict(model, batch.select([crystal]), [_levels(batch)[crystal]])
        for name in model.capabilities.diffused:
            rows = (
                batch.crystal_index == crystal
                if model.processes[name].scope == "atom"
                else torch.arange(batch.n_crystals) == crystal
            )
            worst = max(worst, _difference(together[name][rows], alone[name]))
    return [LawResult.at_most("single-equals-batched", worst, PREDICTION_TOLERANCE)]


def _check_symmetries(model: ScoreModel, batch: CrystalBatch) -> list[LawResult]:
    capabilities, results = model.capabilities, []
    reference = _predict(model, batch)
    order = torch.cat(
        [torch.arange(int(low), int(high)).flip(0) for low, high in zip(batch.offsets, batch.offsets[1:], strict=False)]
    )
    permuted = CrystalBatch(batch.frac_coords[order], batch.lattice, batch.species[order], batch.num_atoms)
    prediction = _predict(model, permuted)
    worst = max(
        _difference(
            reference[name][order] if model.processes[name].scope == "atom" else reference[name], prediction[name]
        )
        for name in capabilities.diffused
    )
    results.append(LawResult.at_most("permutation", worst, PREDICTION_TOLERANCE))
    if capabilities.translation_invariant:
        shift = torch.tensor([0.137, 0.411, 0.683], dtype=torch.float64)
        moved = CrystalBatch(wrap(batch.frac_coords + shift), batch.lattice, batch.species, batch.num_atoms)
        prediction = _predict(model, moved)
        worst = max(_difference(reference[name], prediction[name]) for name in capabilities.diffused)
        results.append(LawResult.at_most("translation", worst, PREDICTION_TOLERANCE))
    if capabilities.rotation_equivariant:
        rotation = torch.linalg.matrix_exp(torch.tensor([[0, 0.4, -0.9], [-0.4, 0, 0.3], [0.9, -0.3, 0]]).double())
        results.append(_rotated(model, batch, reference, rotation, "rotation"))
        if capabilities.inversion_equivariant:
            results.append(_rotated(model, batch, reference, -rotation, "improper-rotation"))
    return results


def _rotated(model: ScoreModel, batch: CrystalBatch, reference: Fields, matrix: Tensor, law: str) -> LawResult:
    turned = CrystalBatch(batch.frac_coords, batch.lattice @ matrix.T, batch.species, batch.num_atoms)
    prediction = _predict(model, turned)
    gauge_keeps_orientation = model.capabilities.lattice_gauge in ("any", "niggli")
    worst = 0.0
    for name in model.capabilities.diffused:
        turns = (name == "frac_coords" and model.processes[name].metric == "cartesian") or (
            name == "lattice" and gauge_keeps_orientation
        )
        expected = reference[name].double()
        if turns:
            expected = expected @ matrix.T.to(expected.device)
        worst = max(worst, _difference(prediction[name].double(), expected))
    return LawResult.at_most(law, worst, PREDICTION_TOLERANCE)


def _check_masks(model: ScoreModel, batch: CrystalBatch) -> list[LawResult]:
    """Every mask that is declared is accepted, and what was not moved decodes to the templates."""
    results = []
    for name in model.capabilities.masks:
        masks = {one: torch.ones(batch.n_atoms, dtype=torch.bool) for one in ("frac_coords", "species")}
        masks["lattice"] = torch.ones(batch.n_crystals, dtype=torch.bool)
        masks[name][::2] = False
        back = model.decode(model.encode(batch, Known(**masks)))
        offset = back.frac_coords - batch.frac_coords
        moved = to_cartesian(offset - offset.round(), batch.lattice, batch.crystal_index).norm(dim=1).max()
        worst = max(float(moved), float((back.lattice - batch.lattice).abs().max()))
        holds = worst <= ROUND_TRIP_TOLERANCE_A and bool(torch.equal(back.species, batch.species))
        results.append(LawResult.of(f"mask-{name}", holds=holds, detail=f"{worst:.3g} Å"))
    return results


def _check_processes(model: ScoreModel, batch: CrystalBatch) -> list[LawResult]:
    """Identity at the clean level, moments, composition of marginal and jump, and kernels that run."""
    results = []
    # Many copies of one crystal, so that moments have a small error.
    copies = max(2, _MOMENT_ATOMS // int(batch.num_atoms[0]))
    many = batch.select([0] * copies)
    fields, times = _encode(model, many), tuple(model.times(10))
    ids = [CrystalId("check", copy) for copy in range(copies)]
    draws = Draws(0, ids, many.num_atoms.tolist())
    clean = len(times) - 1
    prediction = _predict(model, many, [6] * copies)
    for name, process in model.processes.items():
        x0 = fields[name]
        at = [draws.at(number, 0, name, process.scope) for number in range(3)]
        same = process.forward_marginal(x0, Step(times, clean, clean, fields), at[0])
        results.append(LawResult.of(f"clean-level-identity-{name}", holds=bool(torch.equal(same, x0))))
        noised = process.forward_marginal(x0, Step(times, 6, 6, fields), at[0])
        again = process.forward_marginal(x0, Step(times, 6, 6, fields), at[0])
        results.append(LawResult.of(f"same-seed-same-draw-{name}", holds=bool(torch.equal(noised, again))))
        step = Step(times, 6, 7, fields)
        moved = [
            process.reverse_step(x0, prediction[name] if process.moves else x0, step, at[0]),
            process.renoise(x0, Step(times, 7, 6, fields), at[0], KernelOptions()),
        ]
        if not process.moves:
            stays = all(torch.equal(x, x0) for x in (noised, *moved))
            results.append(LawResult.of(f"fixed-stays-{name}", holds=stays))
            continue
        rows = torch.ones(x0.shape[0], dtype=torch.bool, device=x0.device)
        corrected = process.correct(x0, prediction[name], step, rows, at[0], KernelOptions())
        moved += [] if corrected is None else [corrected]
        sound = all(x.shape == x0.shape and x.dtype == x0.dtype and bool(torch.isfinite(x).all()) for x in moved)
        results.append(LawResult.of(f"kernels-keep-form-{name}", holds=sound))
        results += _check_moments(name, process, x0, many, fields, times, at)
    return results


def _check_moments(
    name: str,
    process: NoiseProcess,
    x0: Tensor,
    batch: CrystalBatch,
    fields: Fields,
    times: Sequence[float],
    draws: Sequence[FieldDraws],
) -> list[LawResult]:
    """Means and spreads at low levels, where on a torus they are small against the cell and mean something."""
    level, target = len(times) - 2, len(times) - 4
    at_target = Step(times, target, target, fields)
    direct = process.forward_marginal(x0, at_target, draws[1])
    low = process.forward_marginal(x0, Step(times, level, level, fields), draws[1])
    composed = process.renoise(low, Step(times, level, target, fields), draws[2], KernelOptions())
    (mean, spread), (mean_of_two, spread_of_two) = (_moments(process, x, x0, batch) for x in (direct, composed))
    unit = {"cartesian": "Å", "fractional": "of the cell", "plain": "(plain)"}[process.metric]
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
