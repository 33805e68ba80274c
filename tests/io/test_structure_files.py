"""Reading what users have: each mistake gets an error that names the file and what is wrong in it."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from chggen_kit.errors import InputError
from chggen_kit.io.files import (
    FORMATS,
    Format,
    check_host,
    read_structure,
    read_structures,
    write_extxyz,
    write_structure,
)

ROCKSALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])

CIF = """data_test
_cell_length_a 5.0
_cell_length_b 5.0
_cell_length_c 5.0
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'P 1'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
{atoms}
"""


def cif(path: Path, atoms: str) -> Path:
    path.write_text(CIF.format(atoms=atoms))
    return path


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_is_read_back(tmp_path: Path, form: Format) -> None:
    path = tmp_path / {"cif": "a.cif", "poscar": "POSCAR", "json": "a.json", "extxyz": "a.extxyz"}[form]
    write_structure(ROCKSALT, path, form)
    structure = read_structure(path)
    assert structure.matches(ROCKSALT, scale=False)
    assert not structure.site_properties


@pytest.mark.parametrize("form", FORMATS)
def test_a_left_handed_cell_is_not_mirrored(tmp_path: Path, form: Format) -> None:
    """The chirality of three atoms on different heights around an axis survives."""
    rows = np.array([[4.0, 0.2, 0.1], [0.3, 5.0, 0.2], [0.1, 0.4, -6.0]])
    chiral = Structure(
        Lattice(rows), ["Si", "O", "Li", "Na"], [[0, 0, 0], [0.2, 0, 0.1], [0, 0.2, 0.2], [0.2, 0.2, 0.4]]
    )
    path = tmp_path / {"cif": "a.cif", "poscar": "POSCAR", "json": "a.json", "extxyz": "a.extxyz"}[form]
    write_structure(chiral, path, form)
    back = read_structure(path)

    def handedness(crystal: Structure) -> float:
        place = {site.specie.symbol: site for site in crystal}
        arms = []
        for symbol in ("O", "Li", "Na"):
            offset = place[symbol].frac_coords - place["Si"].frac_coords
            arms.append(crystal.lattice.get_cartesian_coords(offset - np.round(offset)))
        return float(np.linalg.det(arms))

    assert handedness(back) == pytest.approx(handedness(chiral), rel=1e-6)
    assert abs(handedness(chiral)) > 0.1


def test_poscar_groups_elements(tmp_path: Path) -> None:
    mixed = Structure(Lattice.cubic(6), ["Na", "Cl", "Na"], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0, 0]])
    write_structure(mixed, tmp_path / "POSCAR", "poscar")
    assert (tmp_path / "POSCAR").read_text().splitlines()[5:7] == ["Na Cl", "2 1"]


def test_oxidation_states_are_left_out_and_coordinates_kept(tmp_path: Path) -> None:
    charged = ROCKSALT.copy()
    charged.add_oxidation_state_by_element({"Na": 1, "Cl": -1})
    charged.translate_sites([0], [2, 0, 0], to_unit_cell=False)
    write_structure(charged, tmp_path / "a.json", "json")
    structure = read_structure(tmp_path / "a.json")
    assert np.array_equal(structure.frac_coords, charged.frac_coords)
    assert {site.species_string for site in structure} == {"Na", "Cl"}


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no file .*absent\.cif"):
        read_structure(tmp_path / "absent.cif")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.cif", "this is not a CIF"),
        ("a.cif", ""),
        ("a.cif", "data_x\n_cell_length_a 5\n"),
        ("POSCAR", "title\n1.0\n1 0 0\n"),
        ("a.json", "{"),
        ("a.json", '{"@module": "pymatgen.core.structure"}'),
        ("a.extxyz", "2\nLattice=\nNa 0 0 0\n"),
        ("a.unknown", "Na Cl"),
        ("a.cif", "\x00\x01\x02"),
    ],
)
def test_files_that_do_not_parse_are_named(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=name):
        read_structure(tmp_path / name)


def test_partial_occupancies_are_named_by_site(tmp_path: Path) -> None:
    path = cif(tmp_path / "a.cif", "Li1 Li 0 0 0 0.5\nCl1 Cl 0.5 0.5 0.5 1.0")
    with pytest.raises(InputError, match=r"Partial occupancies in .*a\.cif, at 1 of 2 sites: 0 \(Li:0\.50*\)"):
        read_structure(path)


def test_atoms_of_a_cif_keep_their_order_and_numbers(tmp_path: Path) -> None:
    path = cif(tmp_path / "a.cif", "Cl1 Cl -0.33331(2) 1.5 0.66669 1.0\nNa1 Na1+ 0.33331 -2 3.1 ?\nO Cl 0 0 0 .")
    (tmp_path / "b.cif.gz").write_bytes(gzip.compress(path.read_bytes()))
    structure = read_structure(path)
    assert read_structure(tmp_path / "b.cif.gz") == structure
    assert [site.species_string for site in structure] == ["Cl", "Na", "Cl"]
    assert structure.frac_coords.tolist() == [[-0.33331, 1.5, 0.66669], [0.33331, -2.0, 3.1], [0.0, 0.0, 0.0]]


def test_images_of_a_cif_follow_their_row(tmp_path: Path) -> None:
    """Fluorite with F first, one F listed as an image outside the cell; graphene-like sites written with few digits."""
    fluorite = CIF.replace("'P 1'", "'F m -3 m'").format(atoms="F1 F 1.25 0.25 0.25 1\nCa1 Ca 0 0 0 1")
    (tmp_path / "a.cif").write_text(fluorite)
    structure = read_structure(tmp_path / "a.cif")
    assert [site.species_string for site in structure] == ["F"] * 8 + ["Ca"] * 4
    assert structure.frac_coords[0].tolist() == [1.25, 0.25, 0.25]
    known = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5), ["F", "Ca"], [[0.25, 0.25, 0.25], [0, 0, 0]])
    assert structure.matches(known, scale=False)
    hexagonal = CIF.replace("gamma 90", "gamma 120").replace("'P 1'", "'P 6/m m m'")
    (tmp_path / "b.cif").write_text(hexagonal.format(atoms="C1 C 0.333 0.667 0 1"))
    assert len(read_structure(tmp_path / "b.cif")) == 2


def test_a_cif_with_two_crystals(tmp_path: Path) -> None:
    one = CIF.format(atoms="Na1 Na 0 0 0 1")
    (tmp_path / "a.cif").write_text(one + one)  # with the same name, even
    with pytest.raises(InputError, match=r"a\.cif has 2 data blocks with atoms \(data_test, data_test\)"):
        read_structure(tmp_path / "a.cif")
    (tmp_path / "b.cif").write_text("data_remarks\n_audit_author_name 'me'\n" + one)
    assert len(read_structure(tmp_path / "b.cif")) == 1


@pytest.mark.parametrize("name", ["Wat", "X1", "0.8Nb+0.2Zr"])
def test_rows_of_a_cif_that_are_no_atoms(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"a\.cif holds an atom named .*which is no element"):
        read_structure(cif(tmp_path / "a.cif", f"A1 {name} 0 0 0 1"))


def test_partial_occupancies_on_atoms_that_overlap(tmp_path: Path) -> None:
    path = cif(tmp_path / "a.cif", "Li1 Li 0 0 0 0.5\nLi2 Li 0.02 0 0 0.5\nCl1 Cl 0.5 0.5 0.5 1.0")
    with pytest.raises(InputError, match=r"Partial occupancies in .*a\.cif, at 2 of 3 sites"):
        read_structure(path)


def test_mixed_occupancies(tmp_path: Path) -> None:
    path = cif(tmp_path / "a.cif", "Na1 Na 0 0 0 0.5\nK1 K 0 0 0 0.5\nCl1 Cl 0.5 0.5 0.5 1.0")
    with pytest.raises(InputError, match="Partial occupancies"):
        read_structure(path)


@pytest.mark.parametrize(
    "atoms",
    [
        "Na1 Na 0 0 0 1\nCl1 Cl 0.05 0 0 1",
        "Na1 Na 0 0 0.98 1\nCl1 Cl 0 0 0.01 1",
        "Na1 Na 0 0 0 1\nCl1 Cl 0 0 0 1",
    ],
)
def test_overlapping_atoms(tmp_path: Path, atoms: str) -> None:
    with pytest.raises(InputError, match=r"a\.cif"):
        read_structure(cif(tmp_path / "a.cif", atoms))


def test_overlapping_atoms_are_named() -> None:
    with pytest.raises(InputError, match=r"Na \(site 1\) and Cl \(site 2\) are 0\.20 Å apart"):
        check_host(Structure(Lattice.cubic(5), ["Na", "Na", "Cl"], [[0.5, 0.5, 0.5], [0, 0, 0], [0.96, 0, 0]]))


def test_several_frames(tmp_path: Path) -> None:
    write_extxyz([ROCKSALT, ROCKSALT], [{}, {}], tmp_path / "two.extxyz")
    assert len(read_structures(tmp_path / "two.extxyz")) == 2
    with pytest.raises(InputError, match="2 structures where one is expected"):
        read_structure(tmp_path / "two.extxyz")


def test_a_molecule_is_no_crystal(tmp_path: Path) -> None:
    (tmp_path / "a.xyz").write_text("1\nno cell\nNa 0 0 0\n")
    with pytest.raises(InputError, match="without a periodic cell"):
        read_structure(tmp_path / "a.xyz")
