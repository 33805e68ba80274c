"""Shares with their intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scipy.stats import binomtest

from chggen_kit.errors import InputError

LEVEL = 0.95


@dataclass(frozen=True)
class Share:
    """A share of independent trials with its 95 % interval.

    Attributes:
        count: successes.
        of: trials.
        low, high: ends of Wilson's interval; None without trials.
    """

    count: int
    of: int
    low: float | None
    high: float | None

    @property
    def rate(self) -> float | None:
        """The share itself; None without trials."""
        return self.count / self.of if self.of else None

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"count": self.count, "of": self.of, "rate": self.rate, "low": self.low, "high": self.high}

    def text(self) -> str:
        """In words, for a table: `3 of 20 (15 %, 5 to 36)`."""
        if self.rate is None or self.low is None or self.high is None:
            return f"{self.count} of {self.of}"
        return f"{self.count} of {self.of} ({100 * self.rate:.0f} %, {100 * self.low:.0f} to {100 * self.high:.0f})"


def wilson(count: int, of: int) -> Share:
    """Share `count` / `of` with Wilson's score interval (J. Am. Stat. Assoc. 22, 209 (1927)).

    It holds for independent trials, and for a few successes or none. Samples of one compound are not independent: over
    a few compounds the interval is too narrow (see `chggen_kit.evaluation.bootstrap`).

    Raises:
        InputError: when `count` is not between 0 and `of`.
    """
    if not 0 <= count <= of:
        raise InputError(f"{count} successes of {of} trials: there can be neither fewer than none nor more than all.")
    if of == 0:
        return Share(0, 0, None, None)
    interval = binomtest(count, of).proportion_ci(confidence_level=LEVEL, method="wilson")
    return Share(count, of, float(interval.low), float(interval.high))
