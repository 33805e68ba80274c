"""Checks of plain values that come from a file."""

from __future__ import annotations

import math


def check_number(
    name: str,
    value: object,
    *,
    whole: bool = False,
    low: float = -math.inf,
    high: float = math.inf,
    above: float = -math.inf,
) -> None:
    """Check that `value` is a finite number with `low <= value <= high` and `value > above`.

    Raises:
        TypeError: when it is no number, or not whole where it has to be.
        ValueError: when it is out of range.
        OverflowError: when it is a whole number beyond every float.
    """
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        raise TypeError(f"{name} must be a {'whole ' if whole else ''}number, not {value!r}")
    if not (math.isfinite(value) and low <= value <= high and value > above):
        raise ValueError(f"{name} is out of range: {value!r}")
