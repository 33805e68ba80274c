"""Intervals by bootstrap: they cover, pair, and resample systems rather than samples."""

from __future__ import annotations

import math

import numpy as np
import pytest

from chggen_kit.evaluation.bootstrap import difference, ratio, share


def test_a_ratio_of_sums_and_its_interval() -> None:
    found = ratio([1, 2, 0], [2, 2, 2])
    assert found.value == pytest.approx(0.5)
    assert 0 <= found.low < 0.5 < found.high <= 1
    assert found.systems == 3
    assert ratio([3.0, 5.0]).value == 4.0


def test_intervals_cover_at_their_rate() -> None:
    rng = np.random.default_rng(0)
    inside = 0
    for repeat in range(300):
        found = ratio(rng.exponential(2.0, 60), seed=repeat)
        inside += found.low <= 2.0 <= found.high
    assert 0.88 < inside / 300 < 0.98  # a little under 95 %, as the percentile bootstrap is on skewed data


def test_equal_samples_of_one_system_do_not_narrow_the_interval() -> None:
    hits = np.array([1, 0, 1, 1, 0, 0, 1, 0])
    once, tenfold = ratio(hits, np.ones(8)), ratio(10 * hits, 10 * np.ones(8))
    assert (once.low, once.high) == (tenfold.low, tenfold.high)


def test_a_paired_difference_sees_what_two_intervals_do_not() -> None:
    rng = np.random.default_rng(1)
    difficulty = rng.uniform(0, 1, 40)
    first, second = difficulty + 0.05, difficulty
    paired = difference((first, None), (second, None))
    assert paired.value == pytest.approx(0.05)
    assert paired.excludes_zero
    assert ratio(first).low < ratio(second).high


def test_systems_without_a_denominator_are_left_out_of_the_ratio() -> None:
    found = ratio([4.0, 0.0, 6.0], [2.0, 0.0, 2.0])
    assert found.value == 2.5
    assert math.isfinite(found.low)
    nothing = ratio([0.0, 0.0], [0.0, 0.0])
    assert math.isnan(nothing.value)
    assert nothing.as_json() == {"value": None, "low": None, "high": None, "systems": 2}
    assert nothing.text(2) == "–"
    assert ratio([], []).systems == 0


def test_shares_of_none_and_all_have_an_interval() -> None:
    assert share([0, 0, 0, 0, 0]).high == pytest.approx(0.4345, abs=1e-4)  # Wilson's, of 0 of 5
    assert share([1, 1, 1, 1, 1]).low == pytest.approx(0.5655, abs=1e-4)
    assert share([1, 0]) == ratio([1, 0])
    assert share([1] * 20).percent() == "100 % (84 to 100)"
