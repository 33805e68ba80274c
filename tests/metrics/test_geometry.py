"""Distances and displacements: periodic images, drift, rotation, skewed cells."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from scipy.spatial.transform import Rotation

from chggen_kit.errors import InputError
from chggen_kit.metrics.geometry import fold, host_drift_A, max_displacement_A, minimum_distance, nearest_images

SKEWED = np.array([[3.0, 0, 0], [7.3, 2.6, 0], [-5.1, 4.4, 3.3]])


def _rocksalt() -> Structure:
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def test_minimum_distance_of_a_crystal() -> None:
    assert minimum_distance(_rocksalt()) == pytest.approx(2.82)


def test_minimum_distance_counts_images_of_the_same_atom() -> None:
    """The original looked at pairs of different atoms only: one atom in a flat cell passed every test."""
    assert minimum_distance(Structure(Lattice.orthorhombic(0.8, 9, 9), ["Li"], [[0.3, 0.3, 0.3]])) == pytest.approx(0.8)
    pair = Structure(Lattice.orthorhombic(0.9, 9, 9), ["Li", "O"], [[0, 0, 0], [0, 0.5, 0]])
    assert minimum_distance(pair) == pytest.approx(0.9)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n_atoms=st.integers(1, 12))
def test_minimum_distance_equals_the_search_of_a_library(seed: int, n_atoms: int) -> None:
    rng = np.random.default_rng(seed)
    cell = rng.normal(size=(3, 3)) * rng.uniform(1, 6, size=(3, 1))
    if abs(np.linalg.det(cell)) < 2:
        return
    structure = Structure(Lattice(cell), ["Si"] * n_atoms, rng.random((n_atoms, 3)))
    radius = 1.2 * (structure.volume / n_atoms) ** (1 / 3)
    _, _, _, distances = structure.get_neighbor_list(radius, exclude_self=True)
    assert minimum_distance(structure) == pytest.approx(distances.min(), abs=1e-9)


def test_coinciding_atoms_are_at_distance_zero() -> None:
    assert minimum_distance(Structure(Lattice.cubic(4), ["Li", "O"], [[0, 0, 0], [1, 0, 0]])) == pytest.approx(0)


def test_nearest_images_against_brute_force() -> None:
    rng = np.random.default_rng(4)
    offsets = rng.uniform(-2, 2, size=(200, 3))
    images = np.stack(np.meshgrid(*[np.arange(-9, 10)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    brute = np.linalg.norm((offsets[:, None] + images[None]) @ SKEWED, axis=-1).min(axis=1)
    found = nearest_images(offsets, SKEWED)
    assert np.allclose(np.linalg.norm(found @ SKEWED, axis=1), brute, atol=1e-10)
    assert np.allclose(found - offsets, np.round(found - offsets), atol=1e-12)


def test_fold_never_gives_one() -> None:
    assert fold(np.array([[-1e-18, 1.0, 2.25]])).tolist() == [[0.0, 0.0, 0.25]]


def test_displacement_is_that_of_the_atom_that_moved() -> None:
    before = _rocksalt()
    after = before.copy()
    after.translate_sites([3], [0.4, 0, 0], frac_coords=False)
    n_atoms = len(before)
    assert max_displacement_A(before, after) == pytest.approx(0.4 * (1 - 1 / n_atoms))


def test_displacement_ignores_drift_and_wrapping() -> None:
    before = _rocksalt()
    for drift in ([0.5, 0.5, 0.5], [0.26, 0.74, -3.1], [1e-18, -1e-18, 0]):
        after = before.copy()
        after.translate_sites(list(range(len(after))), drift, frac_coords=True, to_unit_cell=True)
        assert max_displacement_A(before, after) == pytest.approx(0, abs=1e-9)
    assert len(before) == 8


def test_displacement_in_the_mean_cell_without_rotation() -> None:
    before = _rocksalt()
    coords = before.frac_coords.copy()
    coords[0, 0] += 0.05
    coords[1, 0] -= 0.05
    larger = Structure(Lattice.cubic(5.64 * 1.1), before.species, coords)
    expected = 0.05 * 5.64 * 1.05
    assert max_displacement_A(before, larger) == pytest.approx(expected)
    turn = Rotation.from_euler("xyz", [20, 130, 70], degrees=True).as_matrix()
    turned = Structure(Lattice(larger.lattice.matrix @ turn), larger.species, larger.frac_coords)
    assert max_displacement_A(before, turned) == pytest.approx(expected)


def test_displacement_of_a_single_atom_is_drift() -> None:
    one = Structure(Lattice.cubic(3), ["Po"], [[0, 0, 0]])
    assert max_displacement_A(one, Structure(Lattice.cubic(3), ["Po"], [[0.3, 0, 0]])) == pytest.approx(0, abs=1e-12)


def test_host_drift_is_the_deformation_of_the_host() -> None:
    before = _rocksalt()
    host = [index for index, site in enumerate(before) if site.specie.symbol == "Cl"]
    guests = [index for index in range(len(before)) if index not in host]
    moved_guests = before.copy()
    moved_guests.translate_sites(guests, [1.0, 0.3, 0], frac_coords=False)
    assert host_drift_A(before, moved_guests, host) == pytest.approx(0, abs=1e-9)
    bent = before.copy()
    bent.translate_sites([host[0]], [0, 0.2, 0], frac_coords=False)
    assert host_drift_A(before, bent, host) == pytest.approx(0.2 * (1 - 1 / len(host)))


def test_other_atoms_are_refused() -> None:
    before = _rocksalt()
    swapped = Structure(before.lattice, list(reversed(before.species)), before.frac_coords)
    with pytest.raises(InputError, match="same order"):
        max_displacement_A(before, swapped)
    with pytest.raises(InputError, match="at least one"):
        host_drift_A(before, before, [])
