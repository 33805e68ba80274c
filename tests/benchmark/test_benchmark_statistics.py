"""Intervals against scipy, statsmodels and plain resampling."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from chggen_kit.benchmark.statistics import (
    Count,
    _weighted_medians,
    mean_difference,
    median_interval,
    rate_difference,
    rate_interval,
    wilson_ends,
)

counts = st.integers(1, 400).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of)))


@given(counts)
def test_one_system_has_wilsons_interval(pair: tuple[int, int]) -> None:
    count, of = pair
    found = rate_interval([Count(count, of)])
    theirs = binomtest(count, of).proportion_ci(0.95, method="wilson")
    assert found.kind == "wilson"
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert (found.low, found.high) == pytest.approx(proportion_confint(count, of, 0.05, "wilson"), abs=1e-6)


@given(counts, st.integers(1, 50))
def test_structures_of_one_start_are_one_draw(pair: tuple[int, int], draws: int) -> None:
    count, of = pair
    found = rate_interval([Count(count, of, draws)])
    n = min(draws, of)
    low, high = proportion_confint(count / of * n, n, 0.05, "wilson")
    assert (found.low, found.high) == pytest.approx((max(low, 0), min(high, 1)), abs=1e-6)
    assert found.kind == ("wilson" if n == of else "wilson-starts")


@given(counts, counts)
def test_differences_in_one_system_are_newcombes(first: tuple[int, int], second: tuple[int, int]) -> None:
    value, found = rate_difference([Count(*first)], [Count(*second)])
    low, high = confint_proportions_2indep(*first, *second, method="newcomb", compare="diff")
    assert value == pytest.approx(first[0] / first[1] - second[0] / second[1])
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-6)


@given(counts, counts)
def test_differences_change_sign_with_the_order(first: tuple[int, int], second: tuple[int, int]) -> None:
    value, found = rate_difference([Count(*first)], [Count(*second)])
    other, turned = rate_difference([Count(*second)], [Count(*first)])
    assert value == -other
    assert (found.low, found.high) == pytest.approx((-turned.high, -turned.low))


def test_several_systems_are_resampled_whole() -> None:
    generator = np.random.default_rng(0)
    numerators, denominators = generator.integers(0, 8, 12), generator.integers(8, 30, 12)
    found = rate_interval([Count(int(a), int(b)) for a, b in zip(numerators, denominators, strict=True)])
    drawn = generator.integers(0, 12, (20_000, 12))
    rates = numerators[drawn].sum(axis=1) / denominators[drawn].sum(axis=1)
    assert found.kind == "bootstrap"
    assert found.systems == 12
    assert (found.low, found.high) == pytest.approx(np.quantile(rates, [0.025, 0.975]), abs=0.006)


def test_over_systems_that_differ_the_interval_is_wider_than_wilsons() -> None:
    """200 structures of four systems, of which two always and two never succeed, are not 200 draws."""
    found = rate_interval([Count(50, 50), Count(0, 50), Count(50, 50), Count(0, 50)])
    low, high = wilson_ends(0.5, 200)
    assert found.low is not None
    assert found.high is not None
    assert found.high - found.low > 3 * (high - low)


def test_none_of_several_systems_is_not_certainty() -> None:
    found = rate_interval([Count(0, 20), Count(0, 30), Count(0, 0)])
    assert found.kind == "wilson-systems"
    assert found.systems == 2
    assert (found.low, found.high) == pytest.approx(proportion_confint(0, 2, 0.05, "wilson"), abs=1e-6)


def test_no_denominator_no_interval() -> None:
    assert rate_interval([Count(0, 0)]).kind == "none"
    assert rate_difference([Count(0, 0)], [Count(1, 2)])[0] is None
    assert Count(0, 0).rate is None


def test_paired_differences_see_what_unpaired_ones_cannot() -> None:
    """Systems differ by far more than methods do; resampled together, the methods still differ."""
    first = [Count(count, 100) for count in (6, 26, 46, 66, 86)]
    second = [Count(count, 100) for count in (1, 20, 41, 60, 81)]
    value, found = rate_difference(first, second)
    assert value == pytest.approx(0.054)
    assert found.low is not None
    assert found.low > 0
    alone, other = rate_interval(first), rate_interval(second)
    assert alone.low is not None
    assert other.high is not None
    assert alone.low < other.high


def test_systems_that_one_method_lacks_are_left_out_of_both() -> None:
    value, found = rate_difference([Count(1, 2), Count(0, 0), Count(1, 2)], [Count(0, 2), Count(2, 2), Count(0, 2)])
    assert value == 0.5
    assert found.systems == 2


@given(
    st.lists(st.floats(-5, 5, allow_nan=False), min_size=1, max_size=12),
    st.integers(0, 2**32 - 1),
)
def test_weighted_medians_are_medians_of_repeated_values(values: list[float], seed: int) -> None:
    ordered = np.sort(np.array(values))
    weights = np.random.default_rng(seed).integers(0, 4, (5, len(values)))
    weights[:, 0] += 1
    expected = [np.median(np.repeat(ordered, row)) for row in weights]
    assert _weighted_medians(ordered, weights) == pytest.approx(expected)


def test_intervals_of_medians_cover_as_they_should() -> None:
    """Clusters share an offset; the true median is 0; 95 % of intervals should hold it (here 200 of them)."""
    generator = np.random.default_rng(1)
    held = 0
    for seed in range(200):
        offsets = generator.normal(size=25)
        values = (offsets[:, None] + 0.3 * generator.normal(size=(25, 6))).ravel()
        found = median_interval(values, [n // 6 for n in range(150)], systems=25, seed=seed, resamples=300)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 0 <= found.high
    assert 0.88 <= held / 200 <= 1.0


def test_one_cluster_has_no_interval() -> None:
    assert median_interval([1.0, 2.0], ["a", "a"], systems=1).kind == "none"


def test_differences_of_means_are_paired() -> None:
    value, found = mean_difference([1.0, 2.0, 4.0], [0.5, 1.4, 3.5])
    assert value == pytest.approx(1.6 / 3)
    assert found.low is not None
    assert math.isclose(found.low, 0.5)
    assert mean_difference([], [])[0] is None
    assert mean_difference([1.0], [0.0])[1].kind == "none"
