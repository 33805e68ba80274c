"""Volumes per atom: presets, known crystals, missing elements, and the shipped table's own numbers."""

from __future__ import annotations

import pytest
from pymatgen.core import Composition

from chggen_kit.errors import InputError
from chggen_kit.workflow.formula import parse_composition
from chggen_kit.workflow.volume import anion_class, volume_from_table, volume_per_atom, volume_table


@pytest.mark.parametrize(
    ("formula", "value", "system"),
    [("ZnP2S6", 24.0, "Zn-P-S"), ("Zn4P4S14", 24.0, "Zn-P-S"), ("Li5Si2", 16.0, "Li-Si"), ("LiSi", 16.0, "Li-Si")],
)
def test_presets(formula: str, value: float, system: str) -> None:
    estimate = volume_per_atom(parse_composition(formula))
    assert estimate.value_A3 == value
    assert estimate.source == f"preset {system} (paper)"


def test_presets_hold_for_exactly_their_elements() -> None:
    for formula in ("ZnS", "P2S5", "LiZnPS4", "Li2SiO3", "Si"):
        assert "regression" in volume_per_atom(parse_composition(formula)).source


# Experimental cells at room temperature: volume per atom in Å^3.
CRYSTALS = {
    "NaCl": 5.640**3 / 8,
    "MgO": 4.212**3 / 8,
    "CaF2": 5.463**3 / 12,
    "SrTiO3": 3.905**3 / 5,
    "Si": 5.431**3 / 8,
    "GaAs": 5.653**3 / 8,
    "ZnS": 5.409**3 / 8,
    "CsCl": 4.123**3 / 2,
    "Cu": 3.615**3 / 4,
    "MgAl2O4": 8.083**3 / 56,
}


@pytest.mark.parametrize("formula", CRYSTALS)
def test_textbook_crystals_within_a_fifth(formula: str) -> None:
    assert volume_per_atom(parse_composition(formula)).value_A3 == pytest.approx(CRYSTALS[formula], rel=0.2)


def test_formula_units_do_not_matter() -> None:
    one, four = (volume_per_atom(parse_composition(f)).value_A3 for f in ("LiCoO2", "Li4Co4O8"))
    assert one == pytest.approx(four, rel=1e-12)


def test_elements_without_data_are_named() -> None:
    for formula in ("EsO2", "RnF2"):
        with pytest.raises(InputError, match="--volume-per-atom"):
            volume_per_atom(Composition(formula))


def test_absurd_estimates_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(volume_table()["volumes"], "Na", -40.0)
    with pytest.raises(InputError, match="no solid"):
        volume_per_atom(Composition("NaCl"))


def test_the_table_states_what_it_was_fitted_on() -> None:
    table = volume_table()
    assert {"Li5Si2", "ZnP2S6", "Zn2P2S7", "Li2Si", "Li4Si", "Li13Si4"} <= set(table["fit"]["left_out"])
    for split in ("val", "test"):
        assert 0.02 < table["fit"][split]["mean_relative_error"] < 0.08
    assert len(table["volumes"]) > 80


def test_class_is_that_of_the_most_electronegative_element() -> None:
    classes = volume_table()["anion_classes"]
    assert anion_class({"Li": 1, "P": 1, "O": 4}, classes) == "oxide"
    assert anion_class({"Zn": 1, "P": 2, "S": 6}, classes) == "chalcogenide"
    assert anion_class({"Ni": 1, "Al": 1}, classes) == "metal"
    assert anion_class({"S": 8}, classes) == "element"
    assert anion_class({"He": 1, "O": 1}, classes) == "oxide"


def test_the_law_of_the_table() -> None:
    table = {
        "anion_classes": {"O": "oxide"},
        "volumes": {"Mg": 10.0, "O": 12.0},
        "corrections": {"Mg": {"oxide": -4.0}},
    }
    assert volume_from_table({"Mg": 1, "O": 3}, table) == pytest.approx((6.0 + 36.0) / 4)
