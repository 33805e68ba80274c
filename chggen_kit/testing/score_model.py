"""`check_score_model`: the laws of `ScoreModel`, measured on real crystals."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Sequence
from functools import partial

import torch
from torch import Tensor

from chggen_kit.interfaces.score_model import ScoreModel
from chggen_kit.state import FIELD_NAMES, CrystalBatch, Fields, Known
from chggen_kit.testing.calibration import check_calibration
from chggen_kit.testing.crystals import covered, disturbed, textbook_crystals
from chggen_kit.testing.measuring import chosen, global_random_state_kept, global_random_states
from chggen_kit.testing.noise_process import FINE_STEPS, Probe, check_process, copies_for_moments, finest_grid
from chggen_kit.testing.projector import check_projectors
from chggen_kit.testing.report import ConformanceReport, LawResult
from chggen_kit.torus import to_cartesian, wrap

PREDICTION_TOLERANCE = 2e-4
"""Largest relative difference (maximum norm) of two predictions that should be equal, in float32."""
ROUND_TRIP_TOLERANCE_A = 1e-6
"""Largest displacement by `decode(encode(x))`, in Å."""

PARTS = (
    "declarations",
    "round_trip",
    "outputs",
    "batching",
    "symmetries",
    "masks",
    "processes",
    "projectors",
    "calibration",
)
"""Groups of laws, in the order in which they are measured."""

Check = Callable[[ScoreModel, CrystalBatch], list[LawResult]]


def check_score_model(
    model: ScoreModel,
    batch: CrystalBatch | None = None,
    *,
    known_crystals: CrystalBatch | None = None,
    symmetric_crystals: CrystalBatch | None = None,
    only: Collection[str] | None = None,
) -> ConformanceReport:
    """Measure the laws of `model`.

    Args:
        model: what to check.
        batch: crystals in general position to check it on, at least two; by default rattled and strained textbook
            crystals of the elements that the model covers.
        known_crystals: crystals, without noise, that a trained model should know: the only way to tell whether the
            sign and the power of the noise level are right (`prediction-calibrated`). Not measured by default.
        symmetric_crystals: crystals with exact symmetry for the laws of `NoiseProcess.project`; by default textbook
            ones that the model covers.
        only: groups of laws to measure (`PARTS`); all by default.

    Returns:
        A report with one result a law; `report.raise_if_failed()` raises `PluginError` with the table.
    """
    if batch is None:
        batch = disturbed(covered(textbook_crystals(), model.capabilities.elements), rattle_A=0.1, strain=0.03, seed=0)
    results: list[LawResult] = []
    before = global_random_states()
    checks: tuple[Check, ...] = (
        _check_declarations,
        _check_round_trip,
        _check_outputs,
        _check_batching,
        _check_symmetries,
        _check_masks,
        _check_processes,
    )
    measured: list[tuple[str, Callable[[], list[LawResult]]]] = [
        (check.__name__.removeprefix("_check_"), partial(check, model, batch)) for check in checks
    ]
    measured.append(("projectors", partial(check_projectors, model, symmetric_crystals)))
    if known_crystals is not None:
        measured.append(("calibration", partial(check_calibration, model, known_crystals)))
    for law, check in chosen(measured, only):
        try:
            results += check()
        except Exception as error:  # noqa: BLE001 - whatever a plug-in raises is a finding, and other laws still count
            results.append(LawResult.of(law, holds=False, detail=f"raised {type(error).__name__}: {error}"))
    return ConformanceReport(
        f"score model {model.capabilities.checkpoint}", (*results, global_random_state_kept(before))
    )


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
    """The laws of every noise process, on many copies of one crystal."""
    many = copies_for_moments(batch)
    fields = _encode(model, many)
    one = _predict(model, batch.select([0]), [6])
    repeats = {name: (many.n_crystals, *(1,) * (out.ndim - 1)) for name, out in one.items()}
    prediction = Fields({name: out.repeat(repeats[name]) for name, out in one.items()}, fields.context)
    probe = Probe(many, fields, tuple(model.times(10)), finest_grid(model, FINE_STEPS), prediction)
    return [law for name, process in model.processes.items() for law in check_process(name, process, probe)]
