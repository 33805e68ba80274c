"""The lattice search: volumes, ranges, balance, and independence of the number of starts."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from chggen_kit.errors import InputError
from chggen_kit.workflow.lattices import CENTRINGS, FAMILIES, LatticeDraw, lattice_for_start, search_lattices


def _of(family: str, centring: str, seed: int = 3, count: int = 84) -> list[LatticeDraw]:
    return [d for d in search_lattices(216.0, count, seed) if (d.family, d.centring) == (family, centring)]


@settings(max_examples=60, deadline=None)
@given(volume=st.floats(1.0, 1e5), seed=st.integers(0, 2**40), index=st.integers(0, 10**6))
def test_every_cell_has_the_volume_asked_for(volume: float, seed: int, index: int) -> None:
    draw = lattice_for_start(volume, seed, index)
    assert np.linalg.det(draw.matrix) == pytest.approx(volume, rel=1e-9)


def test_hexagonal_cells_are_not_13_to_30_times_too_large() -> None:
    """The original took a square root where its hexagonal cells needed a cube root."""
    cells = _of("hexagonal", "P")
    assert len(cells) == 12
    for draw in cells:
        assert np.linalg.det(draw.matrix) == pytest.approx(216.0, rel=1e-9)
        lattice = Lattice(draw.matrix)
        assert lattice.gamma == pytest.approx(120)
        assert lattice.a == pytest.approx(lattice.b)
        assert 0.75 < lattice.c / lattice.a < 1.25


def test_no_cell_repeats_but_the_three_cubic_ones() -> None:
    """The original drew the cubic, triclinic and rhombohedral cells five times over, all alike."""
    draws = search_lattices(100.0, 70, seed=0)
    shapes = Counter((d.family, tuple(np.round(np.sort(Lattice(d.matrix).parameters), 6))) for d in draws)
    repeated = {family for (family, _), times in shapes.items() if times > 1}
    assert repeated <= {"cubic"}
    assert len([1 for family, _ in shapes if family == "cubic"]) == 3


def test_tetragonal_and_orthorhombic_cells_differ() -> None:
    """The original's orthorhombic cells had a = c: they were tetragonal."""
    for draw in _of("tetragonal", "P"):
        a, b, c = Lattice(draw.matrix).abc
        assert a == pytest.approx(b)
        assert abs(c / a - 1) > 1e-6
    for draw in _of("orthorhombic", "P"):
        lengths = np.sort(Lattice(draw.matrix).abc)
        assert np.diff(lengths).min() > 1e-6
    for draw in _of("orthorhombic", "P") + _of("monoclinic", "P") + _of("triclinic", "P"):
        a, b, c = Lattice(draw.matrix).abc
        assert 0.75 < b / a < 1.25
        assert 0.75 < c / a < 1.25


def test_angles() -> None:
    for draw in _of("monoclinic", "P"):
        lattice = Lattice(draw.matrix)
        assert lattice.alpha == pytest.approx(90)
        assert lattice.gamma == pytest.approx(90)
        assert 90 <= lattice.beta <= 120
    for draw in _of("triclinic", "P"):
        assert all(75 <= angle <= 105 for angle in Lattice(draw.matrix).angles)
    alphas = [Lattice(draw.matrix).alpha for draw in _of("rhombohedral", "P", count=700)]
    assert min(alphas) < 60 < max(alphas)
    assert min(alphas) >= 50
    assert max(alphas) <= 110


BRAVAIS = {
    ("cubic", "P"): 221,
    ("cubic", "F"): 225,
    ("cubic", "I"): 229,
    ("tetragonal", "P"): 123,
    ("tetragonal", "I"): 139,
    ("orthorhombic", "P"): 47,
    ("orthorhombic", "C"): 65,
    ("orthorhombic", "I"): 71,
    ("orthorhombic", "F"): 69,
    ("monoclinic", "P"): 10,
    ("monoclinic", "C"): 12,
    ("triclinic", "P"): 2,
    ("hexagonal", "P"): 191,
    ("rhombohedral", "P"): 166,
}


@pytest.mark.parametrize(("family", "centring"), BRAVAIS)
def test_lattice_has_the_symmetry_of_its_name(family: str, centring: str) -> None:
    draw = _of(family, centring)[0]
    lattice = Structure(Lattice(draw.matrix), ["Po"], [[0, 0, 0]])
    assert SpacegroupAnalyzer(lattice, 1e-4, 1e-2).get_space_group_number() == BRAVAIS[family, centring]


def test_families_are_balanced_and_all_14_lattices_appear() -> None:
    draws = search_lattices(100.0, 30, seed=1)
    counts = Counter(d.family for d in draws)
    assert set(counts) == set(FAMILIES)
    assert max(counts.values()) - min(counts.values()) <= 1
    assert {(d.family, d.centring) for d in draws} == set(BRAVAIS)
    assert {(f, c) for f, centrings in CENTRINGS.items() for c in centrings} == set(BRAVAIS)


def test_a_start_does_not_depend_on_the_number_of_starts() -> None:
    few, many = search_lattices(50.0, 9, seed=5), search_lattices(50.0, 40, seed=5)
    for one, other in zip(few, many, strict=False):
        assert np.array_equal(one.matrix, other.matrix)
    assert np.array_equal(lattice_for_start(50.0, 5, 8).matrix, few[8].matrix)
    assert not np.allclose(lattice_for_start(50.0, 6, 8 + 1).matrix, many[9].matrix)


def test_bad_arguments_are_refused() -> None:
    for volume in (0.0, -3.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="positive"):
            lattice_for_start(volume, 0, 0)
    for seed, index in ((-1, 0), (0, -1)):
        with pytest.raises(InputError, match="negative"):
            lattice_for_start(10.0, seed, index)
    with pytest.raises(InputError, match="at least 1"):
        search_lattices(10.0, 0, 0)
