"""`check_score_model` passes a correct model and catches broken ones, each by the law that it breaks."""

from __future__ import annotations

import pytest
from mutants import score_model_mutants as mutants
from mutants.score_model_crystals import from_the_model, pairs, symmetric_pairs
from mutants.score_model_mutants import Correct

from chggen_kit.errors import PluginError
from chggen_kit.testing import ConformanceReport, check_score_model

PARTS = {
    "times-descend": "declarations",
    "diffused-fields-declared": "declarations",
    "decode-encode-lattice": "round_trip",
    "encode-mutates-nothing": "round_trip",
    "round_trip": "round_trip",
    "single-equals-batched": "batching",
    "permutation": "symmetries",
    "rotation": "symmetries",
    "improper-rotation": "symmetries",
    "translation": "symmetries",
    "projector": "projectors",
    "prediction-calibrated": "calibration",
    "predict-mutates": "outputs",
    "output": "outputs",
    "same-input": "outputs",
    "global": "outputs",
}
"""Where laws are measured whose names begin like this; the others among the processes. One part alone is fast."""


def _check(model: Correct, part: str | None = None) -> ConformanceReport:
    return check_score_model(
        model,
        pairs(),
        known_crystals=from_the_model(),
        symmetric_crystals=symmetric_pairs(),
        only=None if part is None else [part],
    )


def _failed(report: ConformanceReport) -> set[str]:
    return {result.law for result in report.failures}


def test_a_correct_model_passes() -> None:
    report = _check(Correct())
    assert {"projector-keeps-subspace-frac_coords", "prediction-calibrated-frac_coords"} <= {one.law for one in report}
    assert report.ok, report.table()
    report.raise_if_failed()


@pytest.mark.parametrize(
    ("mutant", "law"),
    [
        (mutants.ByIndex, "permutation"),
        (mutants.Fractional, "rotation"),
        (mutants.Chiral, "improper-rotation"),
        (mutants.Anchored, "translation"),
        (mutants.Coupled, "single-equals-batched"),
        (mutants.Mutating, "predict-mutates-nothing"),
        (mutants.SinglePrecision, "output-form-frac_coords"),
        (mutants.Noisy, "same-input-same-output"),
        (mutants.NotANumber, "output-finite-frac_coords"),
        (mutants.Mirrored, "decode-encode-lattice"),
        (mutants.Ascending, "times-descend"),
        (mutants.VarianceForDeviation, "renoise-composes-frac_coords"),
        (mutants.NeverClean, "clean-level-identity-frac_coords"),
        (mutants.GlobalNoise, "same-seed-same-draw-frac_coords"),
        (mutants.TooNoisy, "marginal-moments-frac_coords"),
        (mutants.NoReverse, "kernels-keep-form-frac_coords"),
        (mutants.DriftingLattice, "fixed-stays-lattice"),
        (mutants.MutatingEncoder, "encode-mutates-nothing"),
        (mutants.LonelyNaN, "single-equals-batched"),
        (mutants.OneSigmaForAll, "single-equals-batched"),
        (mutants.Undeclared, "diffused-fields-declared"),
        (mutants.Refusing, "round_trip"),
        (mutants.MissingWrap, "kernels-fold-frac_coords"),
        (mutants.FoldsToOne, "kernels-fold-frac_coords"),
        (mutants.MutatingKernel, "kernels-mutate-nothing-frac_coords"),
        (mutants.AwayFromTheData, "predictor-follows-marginal-frac_coords"),
        (mutants.ScoreForPrediction, "predictor-follows-marginal-frac_coords"),
        (mutants.OneLevelLate, "predictor-follows-marginal-frac_coords"),
        (mutants.JumpsOneLevelShort, "renoise-composes-frac_coords"),
        (mutants.TwiceProjected, "projector-idempotent-frac_coords"),
        (mutants.SkewProjector, "projector-commutes-with-noise-frac_coords"),
        (mutants.WrongMetric, "projector-keeps-subspace-frac_coords"),
        (mutants.NoProjector, "projector-keeps-subspace-frac_coords"),
        (mutants.TurnedFromTheLeft, "decode-encode-lattice"),
        (mutants.DrawsAndForgets, "global-random-state"),
        (mutants.Uphill, "prediction-calibrated-frac_coords"),
        (mutants.ScoreItself, "prediction-calibrated-frac_coords"),
        (mutants.TimesSigmaAgain, "prediction-calibrated-frac_coords"),
    ],
)
def test_each_mutant_is_caught(mutant: type[Correct], law: str) -> None:
    report = _check(mutant(), next((part for start, part in PARTS.items() if law.startswith(start)), "processes"))
    assert law in _failed(report), report.table()
    with pytest.raises(PluginError, match=law):
        report.raise_if_failed()


def test_chirality_is_not_mistaken_for_a_wrong_rotation() -> None:
    assert "rotation" not in _failed(_check(mutants.Chiral(), "symmetries"))
