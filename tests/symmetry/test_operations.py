"""Groups of operations: closed, consistent with the crystal, and orthogonal projectors on their subspaces."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from chggen_kit.errors import InputError
from chggen_kit.metrics.symmetry import SpaceGroup, space_group
from chggen_kit.symmetry import SymmetryOperations, find_operations

RUTILE = Structure.from_spacegroup(
    "P4_2/mnm", Lattice.tetragonal(4.594, 2.959), ["Ti", "O"], [[0, 0, 0], [0.305, 0.305, 0]]
)
WURTZITE = Structure.from_spacegroup(
    "P6_3mc", Lattice.hexagonal(3.25, 5.2), ["Zn", "O"], [[1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0.382]]
)
QUARTZ = Structure.from_spacegroup(
    "P3_221", Lattice.hexagonal(4.91, 5.40), ["Si", "O"], [[0.47, 0, 2 / 3], [0.413, 0.267, 0.7855]]
)
ROCKSALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
CRYSTALS = pytest.mark.parametrize(
    ("crystal", "order"), [(RUTILE, 16), (WURTZITE, 12), (QUARTZ, 6), (ROCKSALT, 192)], ids=str
)


@CRYSTALS
def test_the_group_is_complete_and_fits_the_atoms(crystal: Structure, order: int) -> None:
    exact, group = find_operations(crystal, 0.01)
    assert (group.n_ops, group.n_atoms) == (order, len(crystal))
    assert group.residual_A(exact) < 1e-5
    # Two operations after each other are one of the group: on the atoms as on the axes.
    known = {(w.tobytes(), p.tobytes()) for w, p in zip(group.rotations, group.permutations, strict=True)}
    first, second = 1, group.n_ops - 1
    product = group.rotations[second] @ group.rotations[first]
    assert (product.tobytes(), group.permutations[second][group.permutations[first]].tobytes()) in known
    species = np.array([site.specie.Z for site in crystal])
    assert (species[group.permutations] == species).all()


@CRYSTALS
def test_both_projectors_keep_exactly_the_symmetric_fields(crystal: Structure, order: int) -> None:
    del order
    exact, group = find_operations(crystal, 0.01)
    lattice = exact.lattice.matrix
    rng = np.random.default_rng(0)
    field = rng.normal(size=(len(crystal), 3))
    for metric in (lattice @ lattice.T, np.eye(3)):
        projector = group.displacement_projector(metric)
        weight = np.kron(np.eye(len(crystal)), metric)
        assert np.allclose(projector @ projector, projector, atol=1e-10)
        assert np.allclose(weight @ projector, (weight @ projector).T, atol=1e-8), "not orthogonal in its metric"
        kept = (projector @ field.ravel()).reshape(-1, 3)
        assert np.allclose(group.average_displacements(kept), kept, atol=1e-10)
        average = group.average_displacements(field).ravel()
        assert np.allclose(projector @ average, average, atol=1e-10)
    in_angstrom = group.displacement_projector(lattice @ lattice.T) @ field.ravel()
    assert np.allclose(in_angstrom.reshape(-1, 3), group.average_displacements(field), atol=1e-8)
    assert np.allclose(
        group.average_vectors(field @ lattice, lattice), group.average_displacements(field) @ lattice, atol=1e-8
    )


def test_the_mean_is_not_orthogonal_for_fractional_noise_on_a_hexagonal_cell() -> None:
    _, group = find_operations(QUARTZ, 0.01)
    average = group.displacement_projector(QUARTZ.lattice.matrix @ QUARTZ.lattice.matrix.T)
    assert np.abs(average - average.T).max() > 0.01
    fractional = group.displacement_projector()
    assert np.allclose(fractional, fractional.T, atol=1e-10)


@pytest.mark.parametrize(("crystal", "free"), [(RUTILE, 2), (WURTZITE, 2), (ROCKSALT, 1), (QUARTZ, 2)], ids=str)
def test_cells_of_the_group_are_a_linear_space(crystal: Structure, free: int) -> None:
    exact, group = find_operations(crystal, 0.01)
    lattice = exact.lattice.matrix
    projector = group.lattice_projector(lattice)
    # Axial cells have a and c, a cube has its edge; a turn of the cell would break the mirrors or the twofold axes.
    assert np.linalg.matrix_rank(projector) == free
    assert np.allclose(projector @ lattice.ravel(), lattice.ravel(), atol=1e-8)
    bent = (projector @ (lattice + 0.1 * np.random.default_rng(2).normal(size=(3, 3))).ravel()).reshape(3, 3)
    changed = Structure(Lattice(bent), exact.species, exact.frac_coords)
    before, after = space_group(exact, 1e-4), space_group(changed, 1e-4)
    assert isinstance(before, SpaceGroup)
    assert isinstance(after, SpaceGroup)
    assert after.number == before.number


def test_a_tensor_becomes_invariant() -> None:
    exact, group = find_operations(QUARTZ, 0.01)
    tensor = np.random.default_rng(3).normal(size=(3, 3))
    mean = group.average_tensor((tensor + tensor.T) / 2, exact.lattice.matrix)
    assert mean[0, 0] == pytest.approx(mean[1, 1])
    assert np.allclose(mean - np.diag(np.diag(mean)), 0, atol=1e-8)


def test_operations_come_with_the_exactly_symmetric_crystal() -> None:
    rattled = RUTILE.copy().perturb(0.02)
    rattled.add_site_property("tag", list(range(len(rattled))))
    exact, group = find_operations(rattled, 0.1, 5)
    assert group.n_ops == 16
    assert group.residual_A(exact) < 1e-5
    assert exact.site_properties["tag"] == list(range(len(rattled)))
    assert exact.lattice.volume == pytest.approx(rattled.lattice.volume)
    assert group.orbits().tolist() == [0, 0, 2, 2, 2, 2]


def test_wrong_shapes_and_maps_are_refused() -> None:
    with pytest.raises(InputError, match="do not belong together"):
        SymmetryOperations(np.eye(3, dtype=np.int64)[None], np.zeros((2, 3)), np.zeros((1, 4), dtype=np.int64))
    with pytest.raises(InputError, match="two atoms onto one"):
        SymmetryOperations(np.eye(3, dtype=np.int64)[None], np.zeros((1, 3)), np.zeros((1, 4), dtype=np.int64))
    with pytest.raises(InputError, match="No symmetry can be found"):
        find_operations(Structure(RUTILE.lattice, ["Ti", "Ti"], [[0, 0, 0], [0, 0, 0]]))
    assert SymmetryOperations.identity(3).displacement_projector().tolist() == np.eye(9).tolist()
