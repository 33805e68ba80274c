"""Intervals of structure prediction scores, and the paired comparison of two methods."""

from __future__ import annotations

import numpy as np
import pytest

from chggen_kit.errors import InputError
from chggen_kit.evaluation.csp_scores import difference, score
from chggen_kit.metrics.csp import ReferenceScore, values


def _outcomes(rmsds: list[float | None], groups: list[str] | None = None) -> list[ReferenceScore]:
    names = groups or [f"c{i}" for i in range(len(rmsds))]
    return [
        ReferenceScore(f"r{i}", group, (rmsd,), (True,), rmsd)
        for i, (rmsd, group) in enumerate(zip(rmsds, names, strict=True))
    ]


def _random(n: int, rate: float, seed: int) -> list[float | None]:
    rng = np.random.default_rng(seed)
    return [float(rng.uniform(0, 0.4)) if rng.random() < rate else None for _ in range(n)]


def test_values_are_those_of_the_metrics_and_lie_in_their_intervals() -> None:
    outcomes = _outcomes(_random(60, 0.6, 0))
    scores, plain = score(outcomes), values(outcomes)
    for name, value in plain.items():
        estimate = getattr(scores, name)
        assert estimate.value == pytest.approx(value)
        assert estimate.low < value < estimate.high
    rate = scores.match_rate
    expected = 1.96 * np.sqrt(rate.value * (1 - rate.value) / 60)
    assert rate.high - rate.low == pytest.approx(2 * expected, rel=0.15)
    assert score(outcomes) == scores


def test_shares_of_nothing_and_everything_have_wide_intervals() -> None:
    none, everyone = score(_outcomes([None] * 10)), score(_outcomes([0.1] * 10))
    assert (none.match_rate.low, everyone.match_rate.high) == pytest.approx((0, 1))
    assert none.match_rate.high == pytest.approx(0.278, abs=0.001)  # Wilson, 0 of 10
    assert everyone.metre.low == pytest.approx(1 - 0.278, abs=0.001)
    assert none.rmse.as_json()["value"] is None


def test_references_of_one_composition_are_resampled_together() -> None:
    rmsds = [0.1] * 10 + [None] * 10
    alone = score(_outcomes(rmsds)).match_rate
    grouped = score(_outcomes(rmsds, ["x"] * 10 + ["y"] * 10)).match_rate
    assert grouped.value == alone.value == 0.5
    assert (grouped.low, grouped.high) == (0, 1)
    assert alone.high - alone.low < 0.5


def test_the_paired_comparison_sees_what_separate_intervals_hide() -> None:
    """The second method finds all that the first one finds, less 8 of 100: far within the intervals of either."""
    first = _random(100, 0.6, 3)
    found = [i for i, rmsd in enumerate(first) if rmsd is not None]
    second = [None if i in found[:8] else rmsd for i, rmsd in enumerate(first)]
    one, other = _outcomes(first), _outcomes(second)
    assert score(other).match_rate.high > score(one).match_rate.low
    gap = difference(one, other)
    assert gap.match_rate.value == pytest.approx(0.08)
    assert gap.match_rate.excludes_zero
    assert gap.crmse.high < 0
    # Where both find a reference they do it equally well: the easier set of the second one does not count for it.
    assert gap.rmse.value == 0


def test_methods_on_other_references_cannot_be_compared() -> None:
    one = _outcomes([0.1, None])
    with pytest.raises(InputError, match="same references"):
        difference(one, list(reversed(one)))
    assert not difference(one, one).match_rate.excludes_zero
