"""Intervals: within one system, over systems, of medians, and of differences between methods.

Structures of one system are not independent draws of what a method can do: over several systems the systems are
resampled (`chggen_kit.evaluation.bootstrap`). Within one system they are independent draws of what the method makes of
it, as far as they do not descend from one start: Wilson's interval then counts starts.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chggen_kit.evaluation.bootstrap import difference, share

LEVEL = 0.95
RESAMPLES = 2000
_Z = NormalDist().inv_cdf(0.5 + LEVEL / 2)

IntervalKind = Literal["wilson", "wilson-starts", "wilson-systems", "newcombe", "bootstrap", "bootstrap-starts", "none"]


@dataclass(frozen=True)
class Interval:
    """A 95 % interval.

    Attributes:
        low, high: ends; None where there is none.
        kind: how it was found.
        systems: that it is over.
    """

    low: float | None
    high: float | None
    kind: IntervalKind
    systems: int


@dataclass(frozen=True)
class Count:
    """A rate in one system.

    Attributes:
        numerator, denominator: how many of how many.
        draws: independent draws among the denominator (starts); None for all of them.
    """

    numerator: int
    denominator: int
    draws: int | None = None

    @property
    def rate(self) -> float | None:
        """The share; None without a denominator."""
        return self.numerator / self.denominator if self.denominator else None


def wilson_ends(rate: float, n: float) -> tuple[float, float]:
    """Wilson's score interval of a share of `n` draws (J. Am. Stat. Assoc. 22, 209 (1927)), `n` positive."""
    centre = rate + _Z**2 / (2 * n)
    reach = _Z * math.sqrt(rate * (1 - rate) / n + _Z**2 / (4 * n * n))
    scale = 1 + _Z**2 / n
    # At the ends of the range the interval touches it exactly; rounding must not move it beyond.
    low = 0.0 if rate == 0 else max((centre - reach) / scale, 0.0)
    high = 1.0 if rate == 1 else min((centre + reach) / scale, 1.0)
    return low, high


def rate_interval(counts: Sequence[Count], *, seed: int = 0) -> Interval:
    """Interval of the pooled rate of `counts`, one for each system that has a denominator."""
    usable = [one for one in counts if one.denominator]
    if not usable:
        return Interval(None, None, "none", 0)
    if len(usable) == 1:
        (one,) = usable
        draws = one.denominator if one.draws is None else min(one.draws, one.denominator)
        low, high = wilson_ends(one.numerator / one.denominator, draws)
        return Interval(low, high, "wilson" if draws == one.denominator else "wilson-starts", 1)
    found = share([one.numerator for one in usable], [one.denominator for one in usable], seed=seed)
    # None or all: nothing to resample, and Wilson's interval has systems for draws.
    kind: IntervalKind = "wilson-systems" if found.value in {0.0, 1.0} else "bootstrap"
    return Interval(_number(found.low), _number(found.high), kind, len(usable))


def rate_difference(first: Sequence[Count], second: Sequence[Count], *, seed: int = 0) -> tuple[float | None, Interval]:
    """Rate of `first` minus rate of `second`, paired by their places: one entry of each for every system.

    Systems in which one of the two has no denominator are left out. In one system the interval is Newcombe's hybrid
    of two Wilson intervals (Stat. Med. 17, 873 (1998), method 10), which takes the methods as independent.
    """
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if a.denominator and b.denominator]
    if not pairs:
        return None, Interval(None, None, "none", 0)
    if len(pairs) == 1:
        ((a, b),) = pairs
        p, q = a.numerator / a.denominator, b.numerator / b.denominator
        p_low, p_high = wilson_ends(p, a.denominator if a.draws is None else min(a.draws, a.denominator))
        q_low, q_high = wilson_ends(q, b.denominator if b.draws is None else min(b.draws, b.denominator))
        low = p - q - math.hypot(p - p_low, q_high - q)
        high = p - q + math.hypot(p_high - p, q - q_low)
        return p - q, Interval(low, high, "newcombe", 1)
    found = difference(
        ([a.numerator for a, _ in pairs], [a.denominator for a, _ in pairs]),
        ([b.numerator for _, b in pairs], [b.denominator for _, b in pairs]),
        seed=seed,
    )
    return found.value, Interval(_number(found.low), _number(found.high), "bootstrap", len(pairs))


def mean_difference(first: ArrayLike, second: ArrayLike, *, seed: int = 0) -> tuple[float | None, Interval]:
    """Mean over systems of `first` minus `second` `[n_systems]`, paired; no interval for a single system."""
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if not a.size:
        return None, Interval(None, None, "none", 0)
    found = difference((a, None), (b, None), seed=seed)
    kind: IntervalKind = "bootstrap" if a.size > 1 else "none"
    return found.value, Interval(_number(found.low), _number(found.high), kind, int(a.size))


def median_interval(
    values: ArrayLike, clusters: Sequence[Hashable], *, systems: int, seed: int = 0, resamples: int = RESAMPLES
) -> Interval:
    """Interval of the median of `values` `[n]` by resampling whole clusters (systems, or the starts of one).

    The percentile bootstrap (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13).
    """
    data = np.asarray(values, dtype=np.float64)
    names = {name: index for index, name in enumerate(dict.fromkeys(clusters))}
    if len(names) < 2:
        return Interval(None, None, "none", systems)
    member = np.array([names[name] for name in clusters])
    order = np.argsort(data, kind="stable")
    data, member = data[order], member[order]
    generator = np.random.Generator(np.random.Philox(seed))
    drawn = []
    # Blocks: all resamples of a large benchmark at once would take gigabytes.
    for _ in range(0, resamples, 100):
        times = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=100)
        drawn.append(_weighted_medians(data, times[:, member]))
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(np.concatenate(drawn), [tail, 1 - tail])
    return Interval(float(low), float(high), "bootstrap" if systems > 1 else "bootstrap-starts", systems)


def _weighted_medians(ordered: NDArray[np.float64], weights: NDArray[np.int64]) -> NDArray[np.float64]:
    """Medians of `ordered` `[n]` with each value repeated `weights` `[n_resamples, n]` times, without repeating it."""
    upto = weights.cumsum(axis=1)
    total = upto[:, -1:]
    lower = (upto < (total + 1) // 2).sum(axis=1)
    upper = (upto < total // 2 + 1).sum(axis=1)
    medians: NDArray[np.float64] = (ordered[lower] + ordered[upper]) / 2
    return medians


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
