"""Disordered crystals: what becomes host, what becomes guest, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from chggen_kit.errors import InputError
from chggen_kit.io.disorder import read_host, resolve_host, split_disordered, squarest

FLUORITE = Lattice.cubic(5.46)
CATIONS = [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]
ANIONS = [[x, y, z] for x in (0.25, 0.75) for y in (0.25, 0.75) for z in (0.25, 0.75)]

CIF = """data_filled_rocksalt
_cell_length_a 5.64
_cell_length_b 5.64
_cell_length_c 5.64
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Cl1 Cl 0.5 0 0 1
Cl2 Cl 0 0.5 0 1
Cl3 Cl 0 0 0.5 1
Cl4 Cl 0.5 0.5 0.5 1
Li5 Li 0 0 0 0.5
Na6 Na 0 0 0 0.5
Li7 Li 0 0.5 0.5 0.5
Na8 Na 0 0.5 0.5 0.5
Li9 Li 0.5 0 0.5 0.333(5)
Li10 Li 0.5 0.5 0 0.667
"""


def fluorite(occupancy: float) -> Structure:
    return Structure(FLUORITE, [{"Ca": 1}] * 4 + [{"F": occupancy}] * 8, CATIONS + ANIONS)


def test_partially_occupied_species_become_guests() -> None:
    found = split_disordered(fluorite(0.75))
    assert found.guest_counts == {"F": 6}
    assert found.sites == 8
    assert found.host.composition.as_dict() == {"Ca": 4}
    np.testing.assert_array_equal(found.host.frac_coords, fluorite(1).frac_coords[:4])


def test_rows_of_a_file_that_share_a_site_add_up(tmp_path: Path) -> None:
    path = tmp_path / "salt.cif"
    path.write_text(CIF)
    host, counts = read_host(path)
    assert counts == {"Li": 2, "Na": 1}
    assert host.composition.as_dict() == {"Cl": 4}
    np.testing.assert_allclose(host.frac_coords[0], [0.5, 0, 0])


def test_two_halves_of_one_element_fill_a_site() -> None:
    species = [{"Cl": 1}, {"Na": 0.5}, {"Na": 0.5}, {"Li": 0.5}, {"Li": 0.5}]
    coords = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0.5], [0.25, 0.25, 0.25], [0.25, 0.25, 0.45]]
    host, counts = resolve_host(Structure(Lattice.cubic(5), species, coords))
    assert host.composition.as_dict() == {"Cl": 1, "Na": 1}
    assert counts == {"Li": 1}


def test_a_count_that_is_not_whole_names_the_supercell() -> None:
    with pytest.raises(InputError, match=r"F 5\.33.*supercell of 3 cells.*F 16.*--supercell 1,1,3"):
        resolve_host(fluorite(2 / 3))
    host, counts = resolve_host(fluorite(2 / 3), supercell=(1, 1, 3))
    assert (len(host), counts) == (12, {"F": 16})
    assert host.lattice.abc == pytest.approx((5.46, 5.46, 16.38))


def test_numbers_that_no_supercell_makes_whole_are_asked_for() -> None:
    odd = Structure(FLUORITE, [{"Ca": 1}] * 4 + [{"F": 0.7071}, {"O": 0.4142}], CATIONS + ANIONS[:2])
    with pytest.raises(InputError, match=r"no whole number of atoms.*--guest F=1 --guest O=1"):
        resolve_host(odd)
    host, counts = resolve_host(odd, {"F": 1, "O": 1})
    assert (len(host), counts) == (4, {"F": 1, "O": 1})
    with pytest.raises(InputError, match=r"partially occupied sites of O too"):
        resolve_host(odd, {"F": 1})


def test_what_leaves_no_host_is_refused() -> None:
    salt = Structure(
        Lattice.cubic(4),
        [{"Na": 0.5, "K": 0.5}, {"Cl": 0.5, "Br": 0.5}] * 2,
        [[0] * 3, [0.5] * 3, [0, 0.5, 0], [0.5, 0, 0]],
    )
    with pytest.raises(InputError, match="so there is no host to draw"):
        resolve_host(salt)


def test_an_ordered_host_needs_its_guests_named() -> None:
    ordered = fluorite(1)
    with pytest.raises(InputError, match="is ordered: name the guests"):
        resolve_host(ordered)
    host, counts = resolve_host(ordered, {"Li": 1})
    assert counts == {"Li": 1}
    np.testing.assert_array_equal(host.frac_coords, ordered.frac_coords)


def test_a_supercell_repeats_the_crystal() -> None:
    host, _ = resolve_host(fluorite(1), {"Li": 1}, (2, 1, 3))
    whole = fluorite(1) * (2, 1, 3)
    assert len(host) == len(whole)
    distances = host.lattice.get_all_distances(host.frac_coords, whole.frac_coords)
    nearest = distances.argmin(axis=1)
    assert distances.min(axis=1).max() < 1e-9
    assert [whole[i].specie.symbol for i in nearest] == [site.specie.symbol for site in host]


def test_the_squarest_supercell_repeats_the_short_axes() -> None:
    long = Structure(Lattice.orthorhombic(3, 12, 6), ["Na"], [[0, 0, 0]])
    assert squarest(long, 8) == (4, 1, 2)
