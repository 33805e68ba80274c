"""Formulas, guest counts and element lists as users write them."""

from __future__ import annotations

import pytest
from pymatgen.core import Composition

from chggen_kit.errors import InputError
from chggen_kit.workflow.formula import (
    atom_counts,
    formula_units,
    parse_composition,
    parse_elements,
    parse_guest_counts,
)


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("ZnP2S6", {"Zn": 1, "P": 2, "S": 6}),
        ("ZnSP2S5", {"Zn": 1, "P": 2, "S": 6}),
        ("Zn3(PS4)2", {"Zn": 3, "P": 2, "S": 8}),
        ("K2[Zn(CN)4]", {"K": 2, "Zn": 1, "C": 4, "N": 4}),
        (" Li3PS4 ", {"Li": 3, "P": 1, "S": 4}),
        ("LiPO\u2084", {"Li": 1, "P": 1, "O": 4}),
        ("Zn2P4S12", {"Zn": 2, "P": 4, "S": 12}),
        ("Co", {"Co": 1}),
        ("CO", {"C": 1, "O": 1}),
        ("Li2.0O", {"Li": 2, "O": 1}),
    ],
)
def test_counts_are_those_written(text: str, counts: dict[str, int]) -> None:
    assert atom_counts(parse_composition(text)) == counts


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("Zm2S", "Zn"),
        ("znP2S6", "capital"),
        ("Li0.5CoO2", "whole"),
        ("Zn0P2S6", "not positive"),
        ("Zn-1P2", "whole and positive"),
        ("Zn(PS4", "not closed"),
        ("ZnPS4)2", "not opened"),
        ("Zn(PS4]2", "not opened"),
        ("Zn()2", "nothing"),
        ("Zn(2PS4)", "Cannot read"),
        ("D2O", "Unknown element"),
        ("Zn+2S", "Cannot read"),
        ("2", "Cannot read"),
    ],
)
def test_bad_formulas_are_explained(text: str, part: str) -> None:
    with pytest.raises(InputError, match=part):
        parse_composition(text)


def test_formula_units_multiply_the_cell() -> None:
    assert atom_counts(formula_units(parse_composition("ZnP2S6"), 2)) == {"Zn": 2, "P": 4, "S": 12}
    for count in (0, -1):
        with pytest.raises(InputError, match="at least 1"):
            formula_units(parse_composition("NaCl"), count)


def test_atom_counts_refuse_fractions() -> None:
    with pytest.raises(InputError, match="whole atoms"):
        atom_counts(Composition({"Li": 0.5, "Co": 1}))
    with pytest.raises(InputError, match="whole atoms"):
        atom_counts(Composition())


def test_guest_counts() -> None:
    assert parse_guest_counts("Li=4, Na=1") == {"Li": 4, "Na": 1}
    for text in ("", "Li", "Li=", "Li=0", "Li=-1", "Li=1.5", "=3", "Li=2,Li=3", "Lj=2", "Li=4,"):
        with pytest.raises(InputError):
            parse_guest_counts(text)


def test_elements_are_compared_whole_not_as_substrings() -> None:
    """The original asked `species in formula`, so that S was in LiSi."""
    with pytest.raises(InputError, match="not in LiSi"):
        parse_elements("S", parse_composition("LiSi"))
    assert parse_elements("Zn,Cu", parse_composition("ZnCuS2")) == ("Zn", "Cu")


@pytest.mark.parametrize(
    ("text", "part"), [("Zn,Zn", "twice"), ("Zn,P,S", "leaves nothing"), ("", "Unknown"), ("zn", "Zn")]
)
def test_bad_element_lists(text: str, part: str) -> None:
    with pytest.raises(InputError, match=part):
        parse_elements(text, parse_composition("ZnP2S6"))
