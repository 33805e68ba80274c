"""The choice of guests: the cation with the broadest local environments, never everything."""

from __future__ import annotations

import math

import pytest

from chggen_kit.workflow.formula import parse_composition
from chggen_kit.workflow.guests import cations, choose_guests, coordination_table, entropy


@pytest.mark.parametrize(
    ("formula", "guest"),
    [
        ("ZnP2S6", "Zn"),
        ("Zn2P2S7", "Zn"),
        ("Zn3(PS4)2", "Zn"),
        ("Li3PS4", "Li"),
        ("Li5Si2", "Li"),
        ("LiFePO4", "Li"),
        ("LiCoO2", "Li"),
        ("NaTaCl6", "Na"),
        ("Na3PS4", "Na"),
        ("MnO2", "Mn"),
        ("NaCl", "Na"),
        ("SO2", "S"),
        ("NiAl", "Al"),
    ],
)
def test_guest_of(formula: str, guest: str) -> None:
    choice = choose_guests(parse_composition(formula))
    assert choice.elements == (guest,)
    assert guest in choice.reason


@pytest.mark.parametrize("formula", ["Si", "S8", "He", "Cu4"])
def test_elements_have_no_guests(formula: str) -> None:
    choice = choose_guests(parse_composition(formula))
    assert choice.elements == ()
    assert "no guests" in choice.reason


@pytest.mark.parametrize("formula", ["ZnP2S6", "HeO", "SeS", "NeHe", "IBr", "AmO2", "CmAmO4", "NH4Cl", "XeF2"])
def test_something_is_always_left(formula: str) -> None:
    composition = parse_composition(formula)
    chosen = choose_guests(composition).elements
    assert len(chosen) <= 1
    assert set(chosen) < {element.symbol for element in composition}


def test_cations_by_electronegativity() -> None:
    for formula, expected in (
        ("ZnP2S6", {"Zn", "P"}),
        ("LiFePO4", {"Li", "Fe", "P"}),
        ("Na2SO4", {"Na"}),
        ("LaOF", {"La"}),
        ("GaAs", {"Ga"}),
        ("LiH", {"Li"}),
        ("SO2", {"S"}),
    ):
        assert set(cations(parse_composition(formula))) == expected


def test_the_order_of_the_formula_does_not_matter() -> None:
    assert choose_guests(parse_composition("S5ZnP2S")).elements == choose_guests(parse_composition("ZnP2S6")).elements


def test_the_reason_names_the_statistics() -> None:
    reason = choose_guests(parse_composition("ZnP2S6")).reason
    assert "entropy" in reason
    assert "P 0." in reason


def test_unknown_cations_fall_back_on_electronegativity(monkeypatch: pytest.MonkeyPatch) -> None:
    for symbol in ("Li", "Fe", "P"):
        monkeypatch.setitem(coordination_table(), symbol, {})
    choice = choose_guests(parse_composition("LiFePO4"))
    assert choice.elements == ("Li",)
    assert "no statistics" in choice.reason


def test_entropy() -> None:
    assert entropy([4, 4]) == pytest.approx(math.log(2))
    assert entropy([7, 0]) == pytest.approx(0)


def test_the_table_agrees_with_itself() -> None:
    table = coordination_table()
    assert len(table) > 70
    for numbers in table.values():
        assert sum(numbers["histogram"].values()) == numbers["sites"]
        assert numbers["entropy"] == pytest.approx(entropy(numbers["histogram"].values()), abs=1e-3)
    assert table["P"]["mean"] == pytest.approx(4, abs=0.2)


@pytest.mark.parametrize(("formula", "guest"), [("Cu3Si", "Cu"), ("PdH", "H"), ("Cu5Si", "Cu")])
def test_equal_electronegativities_still_give_a_guest(formula: str, guest: str) -> None:
    assert choose_guests(parse_composition(formula)).elements == (guest,)
