"""Which grid of k-points a composition gets, and when the tetrahedron method is possible."""

from __future__ import annotations

import math

import pytest
from dft_runs import rocksalt
from pymatgen.core import Composition, Lattice, Structure

from chggen_kit.dft.settings import choose_kspacing, incar_settings, kpoint_grid
from chggen_kit.errors import InputError


@pytest.mark.parametrize("formula", ["ZnP2S6", "NaCl", "Li3PS4", "Li7P3S11", "CaF2", "SiO2", "GaN", "CsPbI3"])
def test_plain_insulators_get_the_papers_wide_grid(formula: str) -> None:
    choice = choose_kspacing(Composition(formula))
    assert (choice.kind, choice.kspacing) == ("insulating", 0.44)


@pytest.mark.parametrize(
    ("formula", "reason"),
    [
        ("Li5Si2", "Si is no strong anion former"),
        ("GaAs", "As is no strong anion former"),
        ("NaCl3", "charges do not balance"),
        ("NO2", "charges do not balance"),
        ("FeO", "Fe can have open shells"),
        ("LaF3", "La can have open shells"),
        ("Ar", "Ar is no strong anion former"),
    ],
)
def test_what_is_not_known_gets_the_dense_grid_and_safe_smearing(formula: str, reason: str) -> None:
    choice = choose_kspacing(Composition(formula))
    assert (choice.kind, choice.kspacing) == ("unknown", 0.22)
    assert reason in choice.reason
    settings = incar_settings(rocksalt(), choice)
    assert (settings["ISMEAR"], settings["SIGMA"]) == (0, 0.05)


def test_metals_and_the_users_own_word() -> None:
    assert choose_kspacing(Composition("LiAl")).kind == "metallic"
    metal = choose_kspacing(Composition("NaCl"), "metallic")
    assert (metal.kind, metal.kspacing, metal.reason) == ("metallic", 0.22, "given")
    assert incar_settings(rocksalt(), metal)["ISMEAR"] == 2
    assert choose_kspacing(Composition("Al"), "insulating").kspacing == 0.44
    with pytest.raises(InputError, match="metallic"):
        choose_kspacing(Composition("Al"), "metalic")  # type: ignore[arg-type]


def test_the_grid_is_that_of_vasp() -> None:
    cell = Structure(Lattice.orthorhombic(4, 6, 40), ["Na"], [[0, 0, 0]])
    expected = tuple(max(1, math.ceil(2 * math.pi / length / 0.44)) for length in (4, 6, 40))
    assert kpoint_grid(cell, 0.44) == expected == (4, 3, 1)


def test_the_tetrahedron_method_needs_four_irreducible_points() -> None:
    choice = choose_kspacing(Composition("NaCl"), "insulating")
    small, large = rocksalt(), rocksalt() * (3, 3, 3)
    assert incar_settings(small, choice)["ISMEAR"] == -5
    # 2 x 2 x 2 points, of which symmetry leaves three.
    assert kpoint_grid(large, choice.kspacing) == (2, 2, 2)
    assert (incar_settings(large, choice)["ISMEAR"], incar_settings(large, choice)["SIGMA"]) == (0, 0.05)
