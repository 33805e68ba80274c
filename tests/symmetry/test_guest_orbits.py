"""Guests on orbits of a host's symmetry, or of a subgroup: counts, groups, distances, and samples drawn from there."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure

from chggen_kit.errors import InputError
from chggen_kit.interfaces import SamplingTask
from chggen_kit.io.convert import to_batch
from chggen_kit.metrics.geometry import minimum_distance
from chggen_kit.metrics.symmetry import SpaceGroup, space_group
from chggen_kit.state import Known
from chggen_kit.symmetry import SymmetryOperations, find_operations
from chggen_kit.symmetry.batch import check_symmetry
from chggen_kit.symmetry.guests import guest_orbits
from chggen_kit.symmetry.subgroups import multiplication_table, subgroups

LAYERED = Structure.from_spacegroup("R-3m", Lattice.hexagonal(2.82, 14.05), ["Co", "O"], [[0, 0, 0], [0, 0, 0.26]])
SPINEL = Structure.from_spacegroup(
    "Fd-3m", Lattice.cubic(8.24), ["Mn", "O"], [[0.625, 0.625, 0.625], [0.388, 0.388, 0.388]]
).get_primitive_structure()
PEROVSKITE = Structure.from_spacegroup("Pm-3m", Lattice.cubic(3.905), ["Ti", "O"], [[0.5, 0.5, 0.5], [0.5, 0.5, 0]])
POLAR = Structure.from_spacegroup(
    "P6_3mc", Lattice.hexagonal(6.2, 7.1), ["Zn", "O"], [[1 / 3, 2 / 3, 0.13], [1 / 3, 2 / 3, 0.412]]
)
ODD_ORIGIN = Structure(LAYERED.lattice, LAYERED.species, LAYERED.frac_coords + np.array([0.137, 0.291, 0.0613]))


def group_at(structure: Structure) -> int:
    found = space_group(structure, 1e-3, 0.1)
    assert isinstance(found, SpaceGroup)
    return found.number


@pytest.mark.parametrize(
    ("host", "counts", "operations"),
    [
        (LAYERED.get_primitive_structure(), {"Li": 1}, 12),
        (LAYERED, {"Li": 3}, 36),
        (ODD_ORIGIN, {"Li": 3}, 36),
        (LAYERED, {"Li": 2}, 12),  # without the centring, whose orbits have three points
        (SPINEL, {"Li": 2}, 48),
        (SPINEL, {"Li": 1}, 24),  # one of the two tetrahedra: without the inversion
        (SPINEL, {"Li": 1, "Na": 1}, 24),
        (PEROVSKITE, {"Sr": 1}, 48),
        (POLAR, {"Li": 2, "Na": 6}, 12),
    ],
)
def test_guests_lie_on_orbits_of_the_largest_group_that_holds_them(
    host: Structure, counts: dict[str, int], operations: int
) -> None:
    exact, own = find_operations(host)
    found = guest_orbits(exact, own, counts, np.random.default_rng(0))
    assert (found.operations.n_ops, found.host_operations) == (operations, own.n_ops)
    assert np.array_equal(found.structure.frac_coords[: len(host)], exact.frac_coords)
    symbols = [site.specie.symbol for site in found.structure]
    assert symbols[len(host) :] == [symbol for symbol, count in counts.items() for _ in range(count)]
    assert found.operations.residual_A(found.structure) < 1e-5
    assert minimum_distance(found.structure) >= 1.5 - 1e-3
    assert group_at(found.structure) > 2
    batch = to_batch([found.structure])
    known = Known.coordinates_only(batch, torch.arange(batch.n_atoms) < len(host))
    check_symmetry([found.operations], batch, known)
    SamplingTask(batch, known, symmetry=(found.operations,))


def test_free_coordinates_and_choices_are_random_and_repeatable() -> None:
    exact, own = find_operations(POLAR)
    first, again, other = (guest_orbits(exact, own, {"Li": 6}, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.structure == again.structure
    assert not np.allclose(first.structure.frac_coords, other.structure.frac_coords)


def test_the_impossible_is_explained() -> None:
    exact, own = find_operations(PEROVSKITE)
    with pytest.raises(InputError, match=r"keep 3\.0 Å"):
        guest_orbits(exact, own, {"Sr": 1}, np.random.default_rng(0), min_distance_A=3.0)
    two = Structure.from_spacegroup("P2", Lattice.monoclinic(6, 5, 7, 100), ["Si", "O"], [[0, 0, 0], [0.2, 0.3, 0.4]])
    screw = Structure.from_spacegroup(
        "P2_1", Lattice.monoclinic(6, 5, 7, 100), ["Si", "O"], [[0.1, 0, 0.1], [0.2, 0.3, 0.4]]
    )
    exact, own = find_operations(two)
    assert guest_orbits(exact, own, {"Li": 1}, np.random.default_rng(0)).operations.n_ops == 2
    exact, own = find_operations(screw)
    with pytest.raises(InputError, match="orbits of 2 points"):
        guest_orbits(exact, own, {"Li": 1}, np.random.default_rng(0))
    with pytest.raises(InputError, match="permute 1 atoms"):
        guest_orbits(exact, SymmetryOperations.identity(1), {"Li": 1}, np.random.default_rng(0))


@pytest.mark.parametrize(("host", "orders"), [(POLAR, {1, 2, 3, 4, 6, 12}), (SPINEL, {1, 2, 3, 4, 6, 8, 12, 24, 48})])
def test_subgroups_are_groups(host: Structure, orders: set[int]) -> None:
    _, own = find_operations(host)
    table = multiplication_table(own)
    found = list(subgroups(own, np.random.default_rng(0)))
    assert [len(one) for one in found] == sorted((len(one) for one in found), reverse=True)
    assert len(set(found)) == len(found)
    for one in found:
        assert set(table[np.ix_(one, one)].ravel()) <= set(one)
    # Lagrange: only divisors of the order; and these groups have one of every order named.
    assert {len(one) for one in found} >= orders - {1} | {1}
    assert all(own.n_ops % len(one) == 0 for one in found)


def test_what_is_no_group_is_refused() -> None:
    _, own = find_operations(POLAR)
    turned = [index for index in range(own.n_ops) if own.rotations[index].trace() == 2][:1]
    half = SymmetryOperations(own.rotations[turned], own.translations[turned], own.permutations[turned])
    with pytest.raises(InputError, match="no group"):
        multiplication_table(half)


def test_no_subgroup_of_a_point_group_is_missing() -> None:
    """m-3m has 98 subgroups; mmm, 4/mmm and 6/mmm need three operations to generate them."""
    _, own = find_operations(PEROVSKITE)
    assert len(list(subgroups(own, np.random.default_rng(0)))) == 98
