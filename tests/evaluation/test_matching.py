"""Matches, and how far guests are from home."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from chggen_kit.evaluation.matching import Matcher

MATCHER = Matcher()
FLUORITE = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.46), ["Ca", "F"], [[0, 0, 0], [0.25] * 3])
PRIMITIVE = FLUORITE.get_primitive_structure()
GUESTS = [i for i, site in enumerate(PRIMITIVE) if site.specie.symbol == "F"]


def moved(structure: Structure, atom: int, by_A: list[float]) -> Structure:
    copy = structure.copy()
    copy.translate_sites([atom], by_A, frac_coords=False)
    return copy


def test_the_parameters_are_pymatgens_defaults() -> None:
    assert MATCHER.parameters == {
        "ltol": 0.2,
        "stol": 0.3,
        "angle_tol": 5,
        "primitive_cell": True,
        "scale": True,
        "attempt_supercell": False,
    }


def test_a_copy_has_no_distance_however_it_is_written() -> None:
    host = next(i for i in range(3) if i not in GUESTS)
    swapped = Structure(
        PRIMITIVE.lattice,
        ["Ca", "F", "F"],
        [
            PRIMITIVE[host].frac_coords + 0.3,
            PRIMITIVE[GUESTS[1]].frac_coords + 0.3,
            PRIMITIVE[GUESTS[0]].frac_coords - 0.7,
        ],
    )
    assert MATCHER.fits(PRIMITIVE, swapped)
    assert MATCHER.guest_rmsd_A(PRIMITIVE, swapped, GUESTS) == pytest.approx(0, abs=1e-6)


def test_a_guest_that_is_off_counts_by_its_share_and_a_slide_does_not() -> None:
    off = moved(PRIMITIVE, GUESTS[0], [0.12, 0, 0])
    off.translate_sites(list(range(3)), [0.4, 0.1, 0.7])
    assert MATCHER.guest_rmsd_A(PRIMITIVE, off, GUESTS) == pytest.approx(0.12 / np.sqrt(2), abs=1e-3)


def test_an_equivalent_site_is_home() -> None:
    """The other set of tetrahedral holes of the face-centred host gives the same zinc blende."""
    first = Structure.from_spacegroup("F-43m", Lattice.cubic(5.41), ["S", "Zn"], [[0, 0, 0], [0.25] * 3])
    other = Structure.from_spacegroup("F-43m", Lattice.cubic(5.41), ["S", "Zn"], [[0, 0, 0], [0.75] * 3])
    guests = [i for i, site in enumerate(first) if site.specie.symbol == "Zn"]
    assert MATCHER.fits(first, other)
    assert MATCHER.guest_rmsd_A(first, other, guests) == pytest.approx(0, abs=1e-6)


def test_another_structure_neither_fits_nor_has_a_distance() -> None:
    rocksalt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.41), ["S", "Zn"], [[0, 0, 0], [0.5] * 3])
    zincblende = Structure.from_spacegroup("F-43m", Lattice.cubic(5.41), ["S", "Zn"], [[0, 0, 0], [0.25] * 3])
    assert not MATCHER.fits(zincblende, rocksalt)
    assert MATCHER.guest_rmsd_A(zincblende, rocksalt, [4, 5, 6, 7]) is None
