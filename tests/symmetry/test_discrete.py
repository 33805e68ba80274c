"""Discrete operations: exact products, groups, projections that are orthogonal, and hidden sublattices."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from chggen_kit.metrics.symmetry import SymmetryFailure, dataset, to_cell
from chggen_kit.symmetry.candidates import find_candidates
from chggen_kit.symmetry.discrete import Discrete
from chggen_kit.symmetry.evidence import freedom, log_evidence
from chggen_kit.symmetry.groups import close, find_groups
from chggen_kit.symmetry.hidden import Sublattice
from chggen_kit.symmetry.operations import SymmetryOperations

WURTZITE = Structure.from_spacegroup(
    "P6_3mc", Lattice.hexagonal(3.25, 5.2), ["Zn", "O"], [[1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0.382]]
)
RUTILE = Structure.from_spacegroup(
    "P4_2/mnm", Lattice.tetragonal(4.594, 2.959), ["Ti", "O"], [[0, 0, 0], [0.305, 0.305, 0]]
)
DIAMOND = Structure.from_spacegroup("Fd-3m", Lattice.cubic(3.57), ["C"], [[0, 0, 0]])
CRYSTALS = pytest.mark.parametrize("crystal", [WURTZITE, RUTILE, DIAMOND], ids=["wurtzite", "rutile", "diamond"])


def noisy(crystal: Structure, size_A: float, seed: int = 0) -> np.ndarray:
    offsets = np.random.default_rng(seed).normal(0, size_A, (len(crystal), 3))
    return crystal.frac_coords + offsets @ np.linalg.inv(crystal.lattice.matrix)


def operations_of(crystal: Structure, frac: np.ndarray) -> Discrete:
    lattice, _, numbers = to_cell(crystal)
    return find_candidates(
        lattice, frac, np.array(numbers), max_strain=0.02, max_rms_A=0.15, max_operations=400
    ).operations


@CRYSTALS
def test_all_operations_are_found_and_form_a_group(crystal: Structure) -> None:
    known = dataset(crystal, 1e-3, 1.0)
    assert not isinstance(known, SymmetryFailure)
    frac = noisy(crystal, 0.05)
    operations = operations_of(crystal, frac)
    assert len(operations) == len(known.rotations)
    table = operations.product_table()
    assert (table >= 0).all()
    assert all(sorted(row) == list(range(len(operations))) for row in table.tolist())
    full = close(table, np.ones(len(operations), dtype=bool))
    assert full is not None
    assert full.all()


@CRYSTALS
def test_translations_follow_exactly(crystal: Structure) -> None:
    """Products of operations with noise have the translation that they must have, to rounding."""
    frac = noisy(crystal, 0.05)
    operations = operations_of(crystal, frac)
    shifts, rotations, table = operations.translations(frac), operations.rotations, operations.product_table()
    for g in range(len(operations)):
        for h in range(len(operations)):
            product = rotations[g] @ shifts[h] + shifts[g] - shifts[table[g, h]]
            assert np.abs(product - np.round(product)).max() < 1e-12


@CRYSTALS
def test_the_average_is_symmetric_orthogonal_and_keeps_the_centroid(crystal: Structure) -> None:
    frac = noisy(crystal, 0.05)
    operations = operations_of(crystal, frac)
    lattice = crystal.lattice.matrix
    projected = operations.average(frac)
    exact = SymmetryOperations(operations.rotations, operations.translations(projected), operations.permutations)
    symmetric = Structure(crystal.lattice, crystal.species, projected)
    assert exact.residual_A(symmetric) < 1e-12
    assert np.allclose(operations.average(projected), projected, atol=1e-14)
    assert np.allclose(projected.mean(axis=0), frac.mean(axis=0), atol=1e-14)
    removed = (frac - projected) @ lattice
    assert np.linalg.norm(removed, axis=1).max() > 0.02
    for seed in range(5):
        within = exact.average_vectors(np.random.default_rng(seed).normal(size=removed.shape), lattice)
        assert float((removed * within).sum()) == pytest.approx(0, abs=1e-12)


def test_freedom_counts_what_the_projector_removes() -> None:
    for crystal in (WURTZITE, RUTILE, DIAMOND):
        frac = noisy(crystal, 0.05)
        numbers = np.array(to_cell(crystal)[2])
        operations = operations_of(crystal, frac)
        exact = SymmetryOperations(operations.rotations, operations.translations(frac), operations.permutations)
        kept = round(np.trace(exact.displacement_projector()))
        polar = 1 if crystal is WURTZITE else 0
        lost = freedom(operations, numbers)
        assert lost.positions == 3 * len(crystal) - 3 - (kept - polar)
        assert lost.strains == 6 - np.linalg.matrix_rank(
            np.array([operations.metric(np.random.default_rng(k).normal(size=(3, 3))).ravel() for k in range(9)])
        )


def test_evidence_falls_with_displacement_and_grows_with_what_is_explained() -> None:
    frac = noisy(RUTILE, 0.03)
    numbers = np.array(to_cell(RUTILE)[2])
    lost = freedom(operations_of(RUTILE, frac), numbers)
    values = [log_evidence(lost, square, RUTILE.volume) for square in (0.001, 0.01, 0.1, 1.0, 10.0)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 20
    assert values[-1] < 0
    nothing = freedom(Discrete.identity(len(RUTILE)), numbers)
    assert (nothing.positions, nothing.strains) == (0, 0)
    assert log_evidence(nothing, 0.0, RUTILE.volume) == pytest.approx(0, abs=1e-12)


def test_groups_are_subgroups() -> None:
    operations = operations_of(RUTILE, noisy(RUTILE, 0.02))
    table = operations.product_table()
    groups = find_groups(table, 400)
    assert groups[0].tolist() == [0]
    assert max(len(group) for group in groups) == 16
    assert len({group.tobytes() for group in groups}) == len(groups)
    for group in groups:
        assert 16 % len(group) == 0
        assert set(table[np.ix_(group, group)].ravel().tolist()) == set(group.tolist())
    broken = table.copy()
    broken[1, 2] = -1
    assert close(broken, np.ones(len(operations), dtype=bool)) is None


def test_a_sublattice_is_cut_out_and_filled_again() -> None:
    """The conventional diamond cell holds four primitive ones."""
    frac = noisy(DIAMOND, 0.03)
    operations = operations_of(DIAMOND, frac)
    pure = operations[(operations.rotations == np.eye(3)).all(axis=(1, 2))]
    assert len(pure) == 4
    lattice = DIAMOND.lattice.matrix
    sublattice = Sublattice.of(pure, lattice)
    assert sublattice.size == 4
    cell, inside = sublattice.cut(lattice, frac)
    assert abs(np.linalg.det(cell)) == pytest.approx(DIAMOND.volume / 4)
    assert len(inside) == 2
    assert np.allclose(sublattice.fill(inside), pure.average(frac), atol=1e-12)
    assert np.allclose(sublattice.metric(cell @ cell.T), lattice @ lattice.T)
