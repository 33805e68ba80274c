"""The tolerance ladder: right groups from rattled crystals, guests that follow the formula, honest displacements."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from pymatgen.core import Lattice, Structure

from chggen_kit.errors import InputError
from chggen_kit.interfaces import HostRefiner
from chggen_kit.metrics.geometry import minimum_distance
from chggen_kit.metrics.symmetry import SpaceGroup, space_group
from chggen_kit.refiners.ladder import LadderOptions, LadderRefiner, build

LAYERED = Structure.from_spacegroup(
    "R-3m", Lattice.hexagonal(2.82, 14.05), ["Li", "Co", "O"], [[0, 0, 0.5], [0, 0, 0], [0, 0, 0.26]]
)
SPINEL = Structure.from_spacegroup(
    "Fd-3m", Lattice.cubic(8.24), ["Li", "Mn", "O"], [[0, 0, 0], [0.625, 0.625, 0.625], [0.388, 0.388, 0.388]]
)
PEROVSKITE = Structure.from_spacegroup(
    "Pm-3m", Lattice.cubic(3.905), ["Sr", "Ti", "O"], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]]
)
QUARTZ = Structure.from_spacegroup(
    "P3_221", Lattice.hexagonal(4.913, 5.405), ["Si", "O"], [[0.4697, 0, 2 / 3], [0.4135, 0.2669, 0.7858]]
)


def rattled(structure: Structure, size_A: float, seed: int, strain: float = 0.0) -> Structure:
    rng = np.random.default_rng(seed)
    bend = np.eye(3) + strain * rng.normal(size=(3, 3))
    coords = (structure.cart_coords + rng.normal(0, size_A, size=(len(structure), 3))) @ bend
    cell = Lattice(structure.lattice.matrix @ bend)
    return Structure(cell, structure.species, coords, coords_are_cartesian=True)


def group_at(structure: Structure, symprec_A: float) -> int:
    found = space_group(structure, symprec_A, 1.0)
    assert isinstance(found, SpaceGroup)
    return found.number


def random_structure(n_atoms: int, seed: int) -> Structure:
    rng = np.random.default_rng(seed)
    cell = Lattice.from_parameters(*rng.uniform(0.75, 1.25, 3), *rng.uniform(75, 105, 3)).scale(18.0 * n_atoms)
    while True:
        structure = Structure(cell, ["Si"] * n_atoms, rng.random((n_atoms, 3)))
        if minimum_distance(structure) > 1.3:
            return structure


@pytest.mark.parametrize(
    ("crystal", "guest", "size_A", "symprec_A", "group", "count", "atoms"),
    [
        (LAYERED, "Li", 0.02, 0.2, 166, 1, 3),
        (LAYERED, "Li", 0.05, 0.5, 166, 1, 3),
        (SPINEL.get_primitive_structure(), "Li", 0.02, 0.2, 227, 2, 12),
        (SPINEL.get_primitive_structure(), "Li", 0.05, 0.5, 227, 2, 12),
        (PEROVSKITE, "Sr", 0.02, 0.2, 221, 1, 4),
        (PEROVSKITE, "Sr", 0.05, 0.5, 221, 1, 4),
    ],
)
def test_rattled_hosts_regain_their_group(
    crystal: Structure, guest: str, size_A: float, symprec_A: float, group: int, count: int, atoms: int
) -> None:
    refiner = build(LadderOptions(rungs=((symprec_A, 15.0),)))
    assert isinstance(refiner, HostRefiner)
    (found,) = refiner.refine(rattled(crystal, size_A, seed=2, strain=0.003), [guest])
    assert found.spacegroup_number == group
    assert (found.symprec_A, found.angle_tolerance_deg) == (symprec_A, 15.0)
    assert found.cell == "primitive"
    assert found.guest_counts == {guest: count}
    assert len(found.host) == atoms
    assert guest not in {site.specie.symbol for site in found.host}
    assert group_at(found.host, 0.01) == group
    assert group_at(found.host, 1e-4) == group
    assert 0 < found.rms_displacement_A < found.max_displacement_A < 6 * size_A
    assert found.library.startswith("spglib")


def test_the_first_rung_with_a_group_wins() -> None:
    noisy = rattled(LAYERED, 0.05, seed=2, strain=0.003)
    refined = LadderRefiner().refine(noisy, ["Li"])
    assert len(refined) == 1
    for symprec_A, angle_tolerance_deg in LadderOptions().rungs:
        loose = space_group(_without(noisy, "Li"), symprec_A, angle_tolerance_deg)
        assert isinstance(loose, SpaceGroup)
        if (symprec_A, angle_tolerance_deg) == (refined[0].symprec_A, refined[0].angle_tolerance_deg):
            assert loose.number == refined[0].spacegroup_number
            break
        assert loose.number in {1, 2}
    more = LadderRefiner(LadderOptions(max_hosts=5)).refine(noisy, ["Li"])
    assert more[0].spacegroup_number == refined[0].spacegroup_number
    numbers = [host.spacegroup_number for host in more]
    assert len(set(numbers)) == len(numbers)


def test_guest_number_is_rescaled_when_the_primitive_host_is_smaller() -> None:
    """The original's slip.

    "Guest number is not rescaled if the refined primitive host has another number of formula units."
    """
    supercell = rattled(PEROVSKITE * [2, 1, 1], 0.01, seed=1)
    (found,) = LadderRefiner().refine(supercell, ["Sr"])
    assert found.spacegroup_number == 221
    assert (len(found.host), found.guest_counts, found.cell) == (4, {"Sr": 1}, "primitive")
    full = found.host.composition.as_dict() | found.guest_counts
    assert full == {"Ti": 1, "O": 3, "Sr": 1}
    assert found.host.volume == pytest.approx(supercell.volume / 2, rel=1e-9)


def test_guests_that_do_not_come_out_whole_keep_the_own_cell() -> None:
    """One Sr in two TiO3 cells: the original would have put one Sr, or two, into the primitive host."""
    supercell = rattled(PEROVSKITE * [2, 1, 1], 0.01, seed=1)
    supercell.remove_sites([next(i for i, site in enumerate(supercell) if site.specie.symbol == "Sr")])
    (found,) = LadderRefiner().refine(supercell, ["Sr"])
    assert found.spacegroup_number == 221
    assert (len(found.host), found.guest_counts, found.cell) == (8, {"Sr": 1}, "own")
    assert found.host.species == _without(supercell, "Sr").species
    assert found.host.volume == pytest.approx(supercell.volume, rel=1e-9)


def test_several_guest_elements_are_rescaled_together() -> None:
    supercell = PEROVSKITE * [2, 1, 1]
    first = next(i for i, site in enumerate(supercell) if site.specie.symbol == "Sr")
    supercell.replace(first, "Ba")
    (found,) = LadderRefiner().refine(supercell, ["Sr", "Ba"])
    assert (found.guest_counts, found.cell) == ({"Ba": 1, "Sr": 1}, "own")
    (found,) = LadderRefiner().refine(supercell * [2, 1, 1], ["Ba", "Sr"])
    assert (found.guest_counts, found.cell) == ({"Ba": 2, "Sr": 2}, "own")


def test_a_primitive_host_keeps_cell_axes_and_order() -> None:
    (found,) = LadderRefiner().refine(PEROVSKITE, ["Sr"])
    assert np.allclose(found.host.lattice.matrix, PEROVSKITE.lattice.matrix, atol=1e-9)
    assert found.host.species == _without(PEROVSKITE, "Sr").species
    assert found.max_displacement_A == pytest.approx(0, abs=1e-9)


def test_whole_structures() -> None:
    (found,) = LadderRefiner().refine_structure(rattled(PEROVSKITE, 0.01, seed=3))
    assert (found.spacegroup_number, found.guest_counts) == (221, {})
    assert found.host.composition == PEROVSKITE.composition


@pytest.mark.parametrize("crystal", [QUARTZ, QUARTZ * [1, 2, 1]], ids=["primitive", "supercell"])
def test_handedness(crystal: Structure) -> None:
    """A left-handed cell of a chiral crystal works, and gives the same crystal, not its mirror image."""
    noisy = rattled(crystal, 0.005, seed=5)
    flip = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1]])
    left = Structure(Lattice(flip @ noisy.lattice.matrix), noisy.species, noisy.frac_coords @ flip)
    assert np.linalg.det(left.lattice.matrix) < 0
    for structure in (noisy, left):
        (found,) = LadderRefiner().refine(structure, [])
        assert found.spacegroup_number == 154
        assert len(found.host) == 9
        assert found.max_displacement_A < 0.05
        # Every atom of the result lies near an atom of the input: neither mirrored nor turned.
        for site in found.host:
            near = structure.get_sites_in_sphere(site.coords, 0.1)
            assert [other.specie for other in near] == [site.specie]


def test_excluded_groups() -> None:
    monoclinic = Structure.from_spacegroup(
        "Pm", Lattice.monoclinic(4.1, 3.3, 5.2, 97), ["Si", "O"], [[0.1, 0, 0.2], [0.43, 0.5, 0.61]]
    )
    only = ((0.1, 10.0),)
    assert LadderRefiner(LadderOptions(rungs=only)).refine(monoclinic, [])[0].spacegroup_number == 6
    assert not LadderRefiner(LadderOptions(rungs=only, excluded_groups=frozenset({1, 2, 6}))).refine(monoclinic, [])


def test_random_structures_report_what_it_cost() -> None:
    """The ladder manufactures symmetry in small random cells: the displacement says so, and a cap prevents it."""
    free = LadderRefiner(LadderOptions(max_displacement_A=None, max_strain=None))
    capped = LadderRefiner(LadderOptions(max_displacement_A=0.1))
    structures = [random_structure(4, seed) for seed in range(12)]
    costs = [host.max_displacement_A for structure in structures for host in free.refine(structure, [])]
    assert len(costs) >= 5
    assert np.median(costs) > 0.15
    kept = [host.max_displacement_A for structure in structures for host in capped.refine(structure, [])]
    assert len(kept) < len(costs)
    assert all(cost <= 0.1 for cost in kept)


def test_strain_cap() -> None:
    sheared = Structure(
        Lattice(PEROVSKITE.lattice.matrix @ np.diag([1.04, 1.0, 1.0])), PEROVSKITE.species, PEROVSKITE.frac_coords
    )
    (cubic,) = LadderRefiner(LadderOptions(rungs=((0.5, 15.0),))).refine(sheared, [])
    assert cubic.spacegroup_number == 221
    assert cubic.max_displacement_A == pytest.approx(0, abs=1e-9)
    assert not LadderRefiner(LadderOptions(rungs=((0.5, 15.0),), max_strain=0.02)).refine(sheared, [])


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), strain=st.floats(0, 0.02))
def test_volume_per_host_atom_is_kept(seed: int, strain: float) -> None:
    noisy = rattled(LAYERED, 0.03, seed, strain)
    before = noisy.copy()
    for found in LadderRefiner().refine(noisy, ["Li"]):
        per_atom = noisy.volume / len(_without(noisy, "Li"))
        assert found.host.volume / len(found.host) == pytest.approx(per_atom, rel=1e-6)
        assert group_at(found.host, 0.01) == found.spacegroup_number
        assert np.all((found.host.frac_coords >= 0) & (found.host.frac_coords < 1))
    assert noisy == before
    assert np.array_equal(noisy.frac_coords, before.frac_coords)


def test_no_symmetry_gives_no_host() -> None:
    assert LadderRefiner().refine(random_structure(14, 0), []) == []


def test_overlapping_hosts_give_nothing_and_do_not_crash() -> None:
    overlapping = Structure(Lattice.cubic(4), ["Ti", "Ti", "Sr"], [[0, 0, 0], [0.001, 0, 0], [0.5, 0.5, 0.5]])
    assert LadderRefiner().refine(overlapping, ["Sr"]) == []
    broken = Structure(Lattice.cubic(4), ["Ti", "O"], [[0, 0, 0], [float("nan"), 0, 0]])
    assert LadderRefiner().refine(broken, []) == []


def test_same_input_same_output() -> None:
    noisy = rattled(LAYERED, 0.05, seed=8)
    (first,), (second,) = (LadderRefiner().refine(noisy, ["Li"]) for _ in range(2))
    assert np.array_equal(first.host.frac_coords, second.host.frac_coords)
    assert np.array_equal(first.host.lattice.matrix, second.host.lattice.matrix)


def test_bad_guests_are_refused() -> None:
    refiner = LadderRefiner()
    with pytest.raises(InputError, match="not in"):
        refiner.refine(PEROVSKITE, ["Li"])
    with pytest.raises(InputError, match="not in"):  # a substring of Si is no guest
        refiner.refine(QUARTZ, ["S"])
    with pytest.raises(InputError, match="nothing but"):
        refiner.refine(PEROVSKITE, ["Sr", "Ti", "O"])
    mixed = PEROVSKITE.copy()
    mixed.replace_species({"Sr": {"Sr": 0.5, "Ba": 0.5}})
    with pytest.raises(InputError, match="partial"):
        refiner.refine(mixed, ["Sr"])


def test_options_are_checked() -> None:
    assert LadderOptions().rungs[0] == (0.1, 10.0)
    assert LadderOptions().rungs[-1] == (2.0, 30.0)
    assert len(LadderOptions().rungs) == 7
    for bad in (
        {"rungs": ()},
        {"rungs": ((0.0, 10.0),)},
        {"rungs": ((0.1, math.inf),)},
        {"excluded_groups": {0}},
        {"max_displacement_A": -1.0},
        {"max_hosts": 0},
        {"symprec": 0.1},
    ):
        with pytest.raises(ValidationError):
            LadderOptions.model_validate(bad)


def _without(structure: Structure, symbol: str) -> Structure:
    host = structure.copy()
    host.remove_species([symbol])
    return host


@pytest.mark.parametrize("seed", range(12))
def test_a_pseudo_translation_alone_is_no_symmetry(seed: int) -> None:
    """A doubled random cell: spglib names the group of the half; the double cell keeps only the translation."""
    rng = np.random.default_rng(seed)
    half = Structure(
        Lattice(np.diag(rng.uniform(3, 6, 3)) + rng.normal(0, 0.5, (3, 3))), ["S", "P"], rng.random((2, 3))
    )
    double = half.copy()
    double.make_supercell([2, 1, 1])
    double.append("Zn", [0.1, 0.2, 0.3])
    for found in LadderRefiner().refine(double, ["Zn"]):
        assert found.spacegroup_number > 2
