"""Wyckoff positions from operations alone, against International Tables, and how atoms can be spread over them."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from chggen_kit.errors import InputError
from chggen_kit.symmetry.positions import group_operations, positions, wyckoff_positions
from chggen_kit.symmetry.wyckoff import assignments, can_host, primitive_group


def test_all_groups_have_the_positions_of_the_international_tables() -> None:
    """International Tables A list 1731 Wyckoff positions in the 230 groups."""
    assert sum(len(wyckoff_positions(number)) for number in range(1, 231)) == 1731


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (2, [(1, 0)] * 8 + [(2, 3)]),
        (8, [(2, 2), (4, 3)]),
        (12, [(2, 0)] * 4 + [(4, 0)] * 2 + [(4, 1)] * 2 + [(4, 2), (8, 3)]),
        (166, [(3, 0)] * 2 + [(6, 1)] + [(9, 0)] * 2 + [(18, 1)] * 2 + [(18, 2), (36, 3)]),
        (225, [(4, 0)] * 2 + [(8, 0), (24, 0), (24, 1), (32, 1)] + [(48, 1)] * 3 + [(96, 2)] * 2 + [(192, 3)]),
    ],
)
def test_multiplicities_and_free_coordinates(number: int, expected: list[tuple[int, int]]) -> None:
    assert sorted((one.multiplicity, one.dof) for one in wyckoff_positions(number)) == sorted(expected)


@pytest.mark.parametrize("number", [5, 31, 62, 148, 167, 186, 199, 220, 227])
def test_a_point_of_a_position_has_an_orbit_of_its_multiplicity(number: int) -> None:
    rng = np.random.default_rng(number)
    group = primitive_group(number)
    for (rotations, translations), places in (
        (group_operations(number), wyckoff_positions(number)),
        ((group.rotations, group.translations), group.positions),
    ):
        for place in places:
            images = rotations @ place.point(rng.random(place.dof)) + translations
            images = np.round(images - np.floor(images + 1e-7), 6)
            assert len(np.unique(images, axis=0)) == place.multiplicity


def test_other_origins_are_refused_where_the_grid_would_miss_them() -> None:
    with pytest.raises(InputError, match="another origin"):
        positions(
            np.stack([np.eye(3, dtype=np.int64), -np.eye(3, dtype=np.int64)]), np.array([[0, 0, 0], [0.13, 0, 0]])
        )
    with pytest.raises(InputError, match="1 to 230"):
        wyckoff_positions(231)


def test_rocksalt_is_one_of_two_ways() -> None:
    """Na on a and Cl on b, or the other way round: nothing else of Fm-3m has room for one atom in a primitive cell."""
    assert sorted(assignments({"Na": 1, "Cl": 1}, primitive_group(225).positions)) == [
        (("Na", 0), ("Cl", 1)),
        (("Na", 1), ("Cl", 0)),
    ]
    assert not can_host((1, 1, 1), 225)
    assert can_host((1, 2), 225)


def test_every_assignment_adds_up_and_appears_once() -> None:
    group = primitive_group(12)
    counts = {"Zn": 2, "P": 2, "S": 6}
    found = list(islice(assignments(counts, group.positions), 20_000))
    assert len(set(found)) == len(found)
    shuffled = list(assignments({"Zn": 2, "P": 2}, group.positions, np.random.default_rng(1)))
    assert set(shuffled) == set(assignments({"Zn": 2, "P": 2}, group.positions))
    assert shuffled != list(assignments({"Zn": 2, "P": 2}, group.positions))
    for one in found[:200] + found[-200:]:
        sums = dict.fromkeys(counts, 0)
        for symbol, index in one:
            sums[symbol] += group.positions[index].multiplicity
        assert sums == counts
        fixed = [index for _, index in one if group.positions[index].dof == 0]
        assert len(set(fixed)) == len(fixed)


def test_points_are_taken_once_by_all_elements_together() -> None:
    """P-1 has eight inversion centres in a cell: nine lone atoms do not fit, whatever they are."""
    assert can_host((1,) * 8, 2)
    assert not can_host((1,) * 9, 2)
    assert can_host((3,), 2)
    assert not can_host((1,), 4)
    with pytest.raises(InputError, match="at least 1"):
        next(assignments({"Na": 0}, primitive_group(2).positions))
