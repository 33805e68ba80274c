"""Orders, spreads and swapped pairs: worked by hand, and blind to the zero of energy of a frame."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from chggen_kit.judging.comparison import Compared, Level, agreement, difference, spread, swapped_pairs
from chggen_kit.judging.result import Voice, make_judgement
from chggen_kit.judging.table import print_judgement
from chggen_kit.judging.work import JudgedRecord


def one(name: str, formula: str = "NaCl", **levels: tuple[float, float | None]) -> Compared:
    return Compared(name, formula, {key: Level(*values) for key, values in levels.items()})


def test_one_composition_is_compared_by_energy_and_several_by_decomposition_energy() -> None:
    first, second = one("a", p=(-3.0, None)), one("b", p=(-2.9, None))
    assert difference(second, first, "p") == pytest.approx(0.1)
    other = one("c", "KCl", p=(-9.0, 0.2))
    assert difference(first, other, "p") is None
    assert difference(one("d", p=(-3.0, 0.05)), other, "p") == pytest.approx(-0.15)
    assert difference(first, other, "unknown") is None


def test_a_pair_is_swapped_when_both_orders_exceed_the_margin() -> None:
    a = one("a", p=(-3.0, None), q=(-7.0, None))
    b = one("b", p=(-2.97, None), q=(-7.02, None))
    assert [(x.id, y.id) for x, y in swapped_pairs([a, b], ["p", "q"], 0.01)] == [("a", "b")]
    assert swapped_pairs([a, b], ["p", "q"], 0.025) == []
    assert swapped_pairs([a, b], ["p"], 0.01) == []


def test_agreement_is_kendalls_tau_over_the_pairs_that_both_can_compare() -> None:
    levels = [(0.0, 0.0), (0.1, 0.2), (0.2, 0.1), (0.3, 0.3)]
    candidates = [one(str(i), p=(x, None), q=(y, None)) for i, (x, y) in enumerate(levels)]
    found = agreement(candidates, "p", "q")
    assert (found.tau, found.pairs) == (pytest.approx((5 - 1) / 6), 6)
    assert agreement(candidates[:1], "p", "q").tau is None
    assert agreement([*candidates, one("x", p=(0.0, None))], "p", "q").pairs == 6


def test_the_spread_is_that_of_decomposition_energies() -> None:
    assert spread(one("a", p=(-3.0, 0.02), q=(-8.0, 0.07), r=(-1.0, None))) == pytest.approx(0.05)
    assert spread(one("a", p=(-3.0, 0.02), q=(-8.0, None))) is None


def test_a_judgement_flags_both_of_a_swapped_pair_and_prints_them() -> None:
    candidates = [
        (rank, one(name, own=(own, None), judge=(other, None)), "P1")
        for rank, (name, own, other) in enumerate([("a", -3.0, -7.0), ("b", -2.97, -7.02), ("c", -2.5, -6.9)], start=1)
    ]
    opinions = {"judge": {name: JudgedRecord(id=name, digest="", n_atoms=2, converged=True) for name in "abc"}}
    voices = [Voice("own", "pairs-1", "toy", reason="the run has none"), Voice("judge", "x", "y", reason="none")]
    result = make_judgement(Path("run"), voices, candidates, opinions, 0.01)
    assert [(x.id, x.swapped_with, x.rank_depends) for x in result.candidates] == [
        ("a", ("b",), True),
        ("b", ("a",), True),
        ("c", (), False),
    ]
    assert result.swapped == [("a", "b")]
    assert result.above_best(result.candidates[0], "judge") == pytest.approx(0.02)
    console = Console(width=120, record=True, file=StringIO())
    print_judgement(result, console)
    text = console.export_text()
    assert [line.rstrip().endswith("!") for line in text.splitlines() if " P1 " in line] == [True, True, False]
    assert "by more than 10 meV/atom, both ways, for a and b." in text


@given(
    energies=st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=2, max_size=6),
    shift=st.floats(-100, 100),
)
def test_the_zero_of_a_frame_does_not_matter(energies: list[tuple[float, float]], shift: float) -> None:
    rounded = [(round(x, 3), round(y, 3)) for x, y in energies]
    plain = [one(str(i), p=(x, None), q=(y, None)) for i, (x, y) in enumerate(rounded)]
    moved = [one(str(i), p=(x, None), q=(y + round(shift, 3), None)) for i, (x, y) in enumerate(rounded)]
    margin = 0.0105
    pairs = [(a.id, b.id) for a, b in swapped_pairs(plain, ["p", "q"], margin)]
    assert pairs == [(a.id, b.id) for a, b in swapped_pairs(moved, ["p", "q"], margin)]
