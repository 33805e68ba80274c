"""Cells are Niggli-reduced before training."""

from __future__ import annotations

import numpy as np

from chggen_diffcsp.reduction import niggli_reduced
from chggen_kit.io.readers import StructureRecord

SHEAR = np.array([[1, 1, 0], [0, 1, 2], [0, 0, 1]])


def record(lattice: np.ndarray, frac: np.ndarray) -> StructureRecord:
    return StructureRecord("r", lattice, np.array([11, 17, 8]), frac)


def distances(structure: StructureRecord) -> np.ndarray:
    """Shortest distances between atoms, over 11^3 images."""
    images = np.stack(np.meshgrid(*[np.arange(-5, 6)] * 3), axis=-1).reshape(-1, 3)
    offset = structure.frac_coords[[0, 0, 1]] - structure.frac_coords[[1, 2, 2]]
    vectors = (offset[:, None] + images) @ structure.lattice
    return np.linalg.norm(vectors, axis=-1).min(axis=1)


def test_another_cell_of_the_same_lattice_comes_back_reduced() -> None:
    cell = np.array([[3.0, 0, 0], [0.4, 4.1, 0], [0.2, 0.7, 5.3]])
    frac = np.array([[0.1, 0.2, 0.3], [0.6, 0.7, 0.1], [0.4, 0.9, 0.8]])
    skewed = record(SHEAR @ cell, frac @ np.linalg.inv(SHEAR))
    reduced = niggli_reduced(skewed)
    np.testing.assert_allclose(np.linalg.norm(reduced.lattice, axis=1), np.linalg.norm(cell, axis=1), rtol=1e-9)
    np.testing.assert_allclose(abs(np.linalg.det(reduced.lattice)), np.linalg.det(cell))
    np.testing.assert_allclose(distances(reduced), distances(record(cell, frac)), rtol=1e-9)
    assert reduced.species.tolist() == [11, 17, 8]


def test_a_reduced_cell_stays_as_it_is() -> None:
    given = record(np.eye(3) * 4, np.full((3, 3), 0.25))
    np.testing.assert_array_equal(niggli_reduced(given).lattice, given.lattice)
    np.testing.assert_allclose(niggli_reduced(given).frac_coords, given.frac_coords)


def test_five_digits_do_not_decide_between_two_reduced_cells() -> None:
    """A face-centred cell has equal angles of 60 degrees, also where the file's rounding makes one a little larger."""
    rounded = np.array([[-1.64914, 2.33222, -0.0], [0.82457, 2.33224, 1.42820], [0.82458, 2.33223, -1.42819]])
    lattice = niggli_reduced(record(rounded, np.zeros((3, 3)))).lattice
    unit = lattice / np.linalg.norm(lattice, axis=1, keepdims=True)
    np.testing.assert_allclose((unit @ unit.T)[np.triu_indices(3, 1)], 0.5, atol=1e-3)
