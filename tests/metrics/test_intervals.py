"""Wilson's interval: against its formula, and at the ends where a normal one collapses."""

from __future__ import annotations

import math

import pytest

from chggen_kit.errors import InputError
from chggen_kit.metrics.intervals import wilson


@pytest.mark.parametrize(("count", "of"), [(0, 12), (1, 30), (7, 20), (100, 100)])
def test_it_is_wilsons_formula(count: int, of: int) -> None:
    z = 1.959963984540054
    share = wilson(count, of)
    p = count / of
    centre = (p + z**2 / (2 * of)) / (1 + z**2 / of)
    reach = z * math.sqrt(p * (1 - p) / of + z**2 / (4 * of**2)) / (1 + z**2 / of)
    assert share.rate == p
    assert share.low == pytest.approx(max(centre - reach, 0), abs=1e-9)
    assert share.high == pytest.approx(min(centre + reach, 1), abs=1e-9)


def test_nothing_tried_is_no_number() -> None:
    share = wilson(0, 0)
    assert (share.rate, share.low, share.high) == (None, None, None)
    assert share.text() == "0 of 0"
    assert wilson(3, 20).text() == "3 of 20 (15 %, 5 to 36)"


@pytest.mark.parametrize(("count", "of"), [(-1, 3), (4, 3)])
def test_impossible_counts_are_refused(count: int, of: int) -> None:
    with pytest.raises(InputError, match="neither fewer"):
        wilson(count, of)
