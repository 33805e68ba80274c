"""Confidence intervals by resampling whole systems: samples of one compound are not independent, compounds are.

The percentile bootstrap (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13) over systems, each
of which contributes a numerator and a denominator: a rate is sum(numerators) / sum(denominators).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 4000
LEVEL = 0.95
_Z = 1.959964
"""Quantile of the normal distribution that belongs to `LEVEL`."""


@dataclass(frozen=True)
class Estimate:
    """A number and its interval.

    Attributes:
        value: over all systems; NaN where nothing contributes.
        low, high: ends of the 95 % interval; NaN with fewer than two systems.
        systems: how many were resampled.
    """

    value: float
    low: float
    high: float
    systems: int

    @property
    def excludes_zero(self) -> bool:
        """Whether the whole interval lies on one side of zero."""
        return self.low > 0 or self.high < 0

    def as_json(self) -> dict[str, Any]:
        """Plain values; NaN becomes None."""
        numbers = {"value": self.value, "low": self.low, "high": self.high}
        plain = {key: round(number, 6) if math.isfinite(number) else None for key, number in numbers.items()}
        return {**plain, "systems": self.systems}

    def percent(self) -> str:
        """As a share in percent, for a table."""
        return self._text(lambda x: f"{100 * x:.0f}", " %")

    def text(self, digits: int) -> str:
        """With so many digits, for a table."""
        return self._text(lambda x: f"{x:.{digits}f}", "")

    def _text(self, number: Any, unit: str) -> str:  # noqa: ANN401  a function of a float
        if not math.isfinite(self.value):
            return "–"
        ends = f" ({number(self.low)} to {number(self.high)})" if math.isfinite(self.low) else ""
        return f"{number(self.value)}{unit}{ends}"


def ratio(numerators: ArrayLike, denominators: ArrayLike | None = None, *, seed: int = 0) -> Estimate:
    """Sum of `numerators` `[n_systems]` over sum of `denominators` (by default 1 each: a mean), with its interval."""
    return _estimate([(numerators, denominators)], seed)


def share(numerators: ArrayLike, denominators: ArrayLike | None = None, *, seed: int = 0) -> Estimate:
    """As `ratio`, for shares: one of exactly 0 or 1 has no spread to resample and gets Wilson's interval.

    In it a system counts as one draw (Wilson, J. Am. Stat. Assoc. 22, 209 (1927)).
    """
    found = ratio(numerators, denominators, seed=seed)
    if found.value not in (0.0, 1.0):
        return found
    reach = _Z**2 / (found.systems + _Z**2)
    low, high = (0.0, reach) if found.value == 0.0 else (1.0 - reach, 1.0)
    return Estimate(found.value, low, high, found.systems)


def difference(
    first: tuple[ArrayLike, ArrayLike | None], second: tuple[ArrayLike, ArrayLike | None], *, seed: int = 0
) -> Estimate:
    """Ratio of `first` minus ratio of `second`, both over the same systems, which are resampled together (paired)."""
    return _estimate([first, second], seed)


def _estimate(pairs: Sequence[tuple[ArrayLike, ArrayLike | None]], seed: int) -> Estimate:
    columns = [_columns(*pair) for pair in pairs]
    systems = columns[0].shape[1]
    if systems == 0:
        return Estimate(math.nan, math.nan, math.nan, 0)
    value = float(_signed(columns, np.ones((1, systems)))[0])
    if systems < 2 or not math.isfinite(value):
        return Estimate(value, math.nan, math.nan, systems)
    blocks = np.array_split(_counts(systems, seed), 8)  # as float64 all of them at once would take much memory
    drawn = np.concatenate([_signed(columns, block.astype(np.float64)) for block in blocks])
    tail = (1 - LEVEL) / 2
    # A resample in which nothing contributes has no ratio: it says nothing.
    low, high = np.nanquantile(drawn, [tail, 1 - tail])
    return Estimate(value, float(low), float(high), systems)


@lru_cache(maxsize=4)
def _counts(systems: int, seed: int) -> NDArray[np.uint16]:
    """How often each system is in each resample `[n_resamples, n_systems]`; the same for every quantity of a report."""
    generator = np.random.Generator(np.random.Philox(seed))
    counts: NDArray[np.uint16] = generator.multinomial(systems, np.full(systems, 1 / systems), size=RESAMPLES).astype(
        np.uint16
    )
    counts.setflags(write=False)
    return counts


def _columns(numerators: ArrayLike, denominators: ArrayLike | None) -> NDArray[np.float64]:
    top = np.asarray(numerators, dtype=np.float64)
    bottom = np.ones_like(top) if denominators is None else np.asarray(denominators, dtype=np.float64)
    return np.stack([top, bottom])


def _signed(columns: Sequence[NDArray[np.float64]], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """First ratio minus the second one, where there are two, for each row of `counts` `[n_resamples, n_systems]`."""
    ratios = []
    for top, bottom in columns:
        total, over = counts @ top, counts @ bottom
        ratios.append(np.divide(total, over, out=np.full_like(total, np.nan), where=over > 0))
    return ratios[0] if len(ratios) == 1 else ratios[0] - ratios[1]
