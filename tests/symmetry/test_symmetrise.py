"""Projection on given operations: orthogonal, idempotent, and refused where atoms cannot be permuted."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from chggen_kit.metrics.symmetry import SymmetryFailure, dataset, to_cell
from chggen_kit.symmetry.symmetrise import symmetrise, symmetrise_lattice

RUTILE = Structure.from_spacegroup(
    "P4_2/mnm", Lattice.tetragonal(4.594, 2.959), ["Ti", "O"], [[0, 0, 0], [0.305, 0.305, 0]]
)
WURTZITE = Structure.from_spacegroup(
    "P6_3mc", Lattice.hexagonal(3.25, 5.2), ["Zn", "O"], [[1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0.382]]
)


def _operations(structure: Structure) -> tuple[np.ndarray, np.ndarray]:
    found = dataset(structure, 1e-3, 1.0)
    assert not isinstance(found, SymmetryFailure)
    return found.rotations, found.translations


@pytest.mark.parametrize("crystal", [RUTILE, WURTZITE], ids=["tetragonal", "hexagonal"])
def test_projection_is_idempotent_and_orthogonal(crystal: Structure) -> None:
    """x - Px is orthogonal, in Å, to every displacement within the symmetric subspace."""
    rotations, translations = _operations(crystal)
    lattice, frac, numbers = to_cell(crystal)
    rng = np.random.default_rng(0)
    inverse = np.linalg.inv(lattice)
    noisy = frac + rng.normal(0, 0.05, frac.shape) @ inverse
    projected = symmetrise(lattice, noisy, numbers, rotations, translations)
    assert projected is not None
    assert projected.strain < 1e-9
    again = symmetrise(projected.lattice, projected.frac_coords, numbers, rotations, translations)
    assert again is not None
    assert np.allclose(again.frac_coords, projected.frac_coords, atol=1e-9)
    other = symmetrise(lattice, frac + rng.normal(0, 0.05, frac.shape) @ inverse, numbers, rotations, translations)
    assert other is not None
    removed = (noisy - projected.frac_coords) @ lattice
    within = (other.frac_coords - projected.frac_coords) @ lattice
    assert np.abs(within).max() > 1e-4
    assert float((removed * within).sum()) == pytest.approx(0, abs=1e-9)


def test_displacements_have_no_drift() -> None:
    rotations, translations = _operations(RUTILE)
    lattice, frac, numbers = to_cell(RUTILE)
    slid = symmetrise(lattice, frac + 0.02, numbers, rotations, translations)
    assert slid is not None
    assert np.abs(slid.displacements).max() < 1e-9


def test_lattice_is_bent_without_turning_and_keeps_its_volume() -> None:
    rotations, _ = _operations(RUTILE)
    bent = RUTILE.lattice.matrix @ (np.eye(3) + 0.03 * np.random.default_rng(1).normal(size=(3, 3)))
    cell, strain = symmetrise_lattice(bent, rotations)
    result = Lattice(cell)
    assert result.a == pytest.approx(result.b)
    assert result.angles == pytest.approx((90, 90, 90))
    assert result.volume == pytest.approx(Lattice(bent).volume)
    stretch = np.linalg.inv(bent) @ cell
    assert np.allclose(stretch, stretch.T)
    assert strain == pytest.approx(np.abs(np.log(np.linalg.eigvalsh(stretch))).max())
    assert 0.005 < strain < 0.2


def test_operations_that_do_not_permute_the_atoms() -> None:
    rotations, translations = _operations(WURTZITE)
    lattice, _, numbers = to_cell(WURTZITE)
    scattered = np.random.default_rng(3).random((len(numbers), 3))
    projected = symmetrise(lattice, scattered, numbers, rotations, translations)
    if projected is not None:  # whatever it found must obey the operations
        assert np.linalg.norm(projected.displacements, axis=1).max() > 0.3
    swapped = [1, 1, 1, 2]
    assert symmetrise(lattice, to_cell(WURTZITE)[1], swapped, rotations, translations) is None
