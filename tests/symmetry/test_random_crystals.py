"""Random crystals of a space group: the group is there, the cell is a cell of it, and a given lattice is kept."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice

from chggen_kit.errors import InputError
from chggen_kit.metrics.geometry import minimum_distance
from chggen_kit.metrics.symmetry import SpaceGroup, space_group
from chggen_kit.symmetry.cells import conventional_cells, random_cell, settings, system_of
from chggen_kit.symmetry.random_crystals import Effort, hosting_groups, random_symmetric_crystal
from chggen_kit.symmetry.wyckoff import primitive_group

SYSTEMS = {1: "triclinic", 15: "monoclinic", 16: "orthorhombic", 142: "tetragonal", 143: "hexagonal", 230: "cubic"}
COUNTS = {"Zn": 1, "P": 2, "S": 6}


@pytest.mark.parametrize(("number", "system"), SYSTEMS.items())
def test_random_cells_have_the_metric_of_their_system(number: int, system: str) -> None:
    assert system_of(number) == system
    cell = random_cell(system_of(number), 123.0, np.random.default_rng(number))
    assert np.linalg.det(cell) == pytest.approx(123.0)
    # A group's operations, in conventional axes, turn its cell into itself.
    last = {"triclinic": 2, "monoclinic": 15, "orthorhombic": 74, "tetragonal": 142, "hexagonal": 194, "cubic": 230}
    group = primitive_group(last[system])
    metric = group.basis @ cell @ cell.T @ group.basis.T
    for rotation in group.rotations:
        assert np.allclose(rotation.T @ metric @ rotation, metric, atol=1e-8)


@pytest.mark.parametrize(
    ("lattice", "fitting", "others"),
    [
        (Lattice.cubic(5), {3, 16, 75, 146, 195, 221}, {168, 196, 197, 79}),
        (Lattice([[0, 2.5, 2.5], [2.5, 0, 2.5], [2.5, 2.5, 0]]), {5, 22, 79, 148, 196, 225}, {16, 75, 195, 197, 143}),
        (Lattice.hexagonal(4, 9), {3, 5, 20, 143, 168, 194}, {16, 146, 75, 195}),
        (Lattice.rhombohedral(6, 25), {5, 12, 146, 166}, {3, 143, 16, 195}),
        (Lattice.monoclinic(4, 5, 6, 100), {3, 14}, {5, 16, 75}),
        (Lattice.from_parameters(4, 5, 6, 80, 85, 95), {1, 2}, {3, 5}),
    ],
)
def test_groups_that_a_lattice_is_compatible_with(lattice: Lattice, fitting: set[int], others: set[int]) -> None:
    """A cell that is not reduced tells no other story."""
    skew = np.array([[1, 0, 0], [2, 1, 0], [-1, 3, 1]])
    for matrix in (lattice.matrix, skew @ lattice.matrix):
        for number in fitting | others:
            found = settings(matrix, system_of(number), primitive_group(number).basis)
            assert bool(found) == (number in fitting), number
            for change in found:
                assert abs(round(np.linalg.det(change))) == 1


def test_a_rotated_copy_of_a_cell_is_found_for_every_axis() -> None:
    """A cubic lattice has three fourfold axes, each with four right-handed pairs of axes, both ways round."""
    cells = conventional_cells(np.eye(3) * 4, "tetragonal")
    primitive = [cell for cell in cells if abs(round(np.linalg.det(cell))) == 1]
    assert len({tuple(np.abs(cell[2])) for cell in primitive}) == 3
    assert len(primitive) == 24


@pytest.mark.parametrize("number", [4, 8, 14, 36, 62, 92, 148, 160, 166, 176, 186, 198, 216, 225])
def test_a_crystal_has_the_group_that_was_drawn(number: int) -> None:
    counts = {"Na": 4, "Cl": 4} if number in {4, 8, 14, 62, 92, 176, 198} else {"Na": 2, "Cl": 2}
    if number in {216, 225}:
        counts = {"Na": 1, "Cl": 1}
    rng = np.random.default_rng(number)
    found = random_symmetric_crystal(counts, rng, volume_A3=22.0 * sum(counts.values()), groups=(number,))
    assert found is not None
    named = space_group(found.structure, 1e-3, 0.1)
    assert isinstance(named, SpaceGroup)
    assert named.number == number or named.number > number  # more symmetry by chance
    assert found.operations.n_ops == len(primitive_group(number).rotations)
    assert found.operations.residual_A(found.structure) < 1e-6
    assert np.linalg.det(found.structure.lattice.matrix) == pytest.approx(22.0 * sum(counts.values()))
    assert found.structure.composition.get_el_amt_dict() == {key: float(value) for key, value in counts.items()}
    assert minimum_distance(found.structure) >= 1.5 - 1e-9
    turned = found.operations.cartesian_rotations(found.structure.lattice.matrix)
    assert np.allclose(turned @ turned.transpose(0, 2, 1), np.eye(3), atol=1e-6)


@pytest.mark.parametrize(
    "lattice", [Lattice.hexagonal(6, 7), Lattice.rhombohedral(7, 60), Lattice.monoclinic(5, 6, 8, 105)]
)
def test_a_given_cell_is_kept(lattice: Lattice) -> None:
    skew = np.array([[1, 0, 0], [1, 1, 0], [0, -1, 1]]) @ lattice.matrix
    rng = np.random.default_rng(3)
    numbers = set()
    for _ in range(6):
        found = random_symmetric_crystal({"Zn": 1, "S": 2}, rng, lattice=skew)
        assert found is not None
        assert np.array_equal(found.structure.lattice.matrix, skew)
        assert found.operations.residual_A(found.structure) < 1e-6
        named = space_group(found.structure, 1e-3, 0.1)
        assert isinstance(named, SpaceGroup)
        assert named.number > 2
        numbers.add(found.number)
    assert len(numbers) > 1


def test_groups_are_drawn_alike() -> None:
    """Two groups that both have room are drawn equally often."""
    rng = np.random.default_rng(5)
    counts = [
        found.number
        for _ in range(200)
        if (found := random_symmetric_crystal(COUNTS, rng, volume_A3=300, groups=(5, 8), effort=Effort(0.5)))
    ]
    assert len(counts) == 200
    assert abs(counts.count(5) - 100) < 4 * np.sqrt(50)


def test_the_impossible_is_none_and_nonsense_is_refused() -> None:
    rng = np.random.default_rng(0)
    assert 225 in hosting_groups(COUNTS)  # K2PtCl6 is such a crystal
    three = {"Zn": 1, "P": 1, "S": 1}
    assert 225 not in hosting_groups(three)
    assert random_symmetric_crystal(three, rng, volume_A3=200, groups=(225,)) is None
    assert random_symmetric_crystal(COUNTS, rng, volume_A3=20) is None  # no room
    triclinic = Lattice.from_parameters(5, 6, 7, 80, 85, 95).matrix
    assert random_symmetric_crystal(COUNTS, rng, lattice=triclinic) is None
    for values in ({}, {"volume_A3": 20.0, "lattice": triclinic}):
        with pytest.raises(InputError, match="either a volume or a cell"):
            random_symmetric_crystal(COUNTS, rng, **values)
    with pytest.raises(InputError, match="at least 1"):
        random_symmetric_crystal({}, rng, volume_A3=10)
