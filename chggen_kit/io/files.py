"""Structure files: reading what users have, with errors that say what is wrong, and writing results."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pymatgen.core import Lattice, Structure
from pymatgen.io.cif import CifWriter

from chggen_kit.errors import InputError, unknown_name
from chggen_kit.io.cif import is_cif, read_cif
from chggen_kit.io.convert import to_batch
from chggen_kit.torus import neighbours

Format = Literal["cif", "extxyz", "poscar", "json"]
FORMATS: tuple[Format, ...] = ("cif", "extxyz", "poscar", "json")

OVERLAP_A = 0.5
"""No two atoms of a crystal are closer (the shortest bond, H-H, is 0.74 Å)."""


def read_structure(path: Path) -> Structure:
    """The structure of a file: CIF, POSCAR, pymatgen JSON, extended XYZ (of one frame), and what pymatgen reads.

    Atoms stay in the file's order. Fractional coordinates are the numbers of the file, outside [0, 1) too; where the
    file holds Cartesian ones (extended XYZ, Cartesian POSCAR) they are what follows from those. A CIF with symmetry
    operations is expanded: see `chggen_kit.io.cif.read_cif`. Oxidation states and other properties are left out.

    Raises:
        InputError: when the file is missing, cannot be parsed, holds several structures, partial occupancies or
            numbers that are not finite, or has overlapping atoms.
    """
    structures = read_structures(path)
    if len(structures) > 1:
        raise InputError(f"{path} holds {len(structures)} structures where one is expected.")
    check_host(structures[0], str(path))
    return structures[0]


def read_structures(path: Path) -> list[Structure]:
    """All structures of a file (several for extended XYZ), not checked for overlaps.

    Raises:
        InputError: when the file is missing, cannot be parsed, or holds something else than ordered crystals.
    """
    found = _read_all(path)
    for structure in found:
        check_ordered(structure, str(path))
    return [_bare(structure) for structure in found]


def _read_all(path: Path) -> list[Structure]:
    """What the file holds, as it is."""
    if not path.is_file():
        raise InputError(f"There is no file {path}. Check the name, and the directory that you are in.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pymatgen remarks on rounding and on occupancies, which are checked here
            if path.suffix.lower() in {".xyz", ".extxyz"}:
                found = _read_extxyz(path)
            else:
                found = [read_cif(path) if is_cif(path) else _read_with_pymatgen(path)]
    except InputError:
        raise
    except Exception as error:
        # Parsers raise errors of many kinds on damaged files; the user needs to know which file and what was said.
        raise InputError(
            f"Cannot read a structure from {path}: {type(error).__name__}: {str(error).strip() or 'no details'}. "
            "The file is damaged, or its name does not tell its format (.cif, POSCAR or .vasp, .json, .extxyz)."
        ) from error
    if not found:
        raise InputError(f"{path} holds no structure.")
    return found


def read_any_structure(path: Path) -> Structure:
    """The structure of a file as `read_structure`, which may hold partial occupancies; not checked for overlaps.

    Raises:
        InputError: when the file is missing, cannot be parsed, or holds several structures.
    """
    found = _read_all(path)
    if len(found) > 1:
        raise InputError(f"{path} holds {len(found)} structures where one is expected.")
    return found[0]


def _read_with_pymatgen(path: Path) -> Structure:
    structure = Structure.from_file(str(path))
    if not isinstance(structure, Structure):
        raise InputError(f"{path} holds a {type(structure).__name__}, not a crystal structure.")
    return structure


def _read_extxyz(path: Path) -> list[Structure]:
    import ase.io

    frames = ase.io.read(str(path), index=":", format="extxyz")
    if any(not frame.pbc.all() for frame in frames):
        raise InputError(f"{path} holds a frame without a periodic cell: a crystal needs a Lattice=... entry.")
    return [
        Structure(frame.cell.array, frame.get_chemical_symbols(), frame.get_scaled_positions(wrap=False))
        for frame in frames
    ]


def _bare(structure: Structure) -> Structure:
    return Structure(structure.lattice, [site.specie.symbol for site in structure], structure.frac_coords)


def check_ordered(structure: Structure, where: str = "the structure") -> None:
    """Raise `InputError` unless every site of `structure` holds one whole atom of an element."""
    if len(structure) == 0:
        raise InputError(f"There are no atoms in {where}.")
    if not structure.is_ordered:
        sites = [index for index, site in enumerate(structure) if not site.is_ordered]
        listing = ", ".join(f"{index} ({structure[index].species_string})" for index in sites[:4])
        raise InputError(
            f"Partial occupancies in {where}, at {len(sites)} of {len(structure)} sites: {listing}. Choose an ordered "
            "arrangement first (e.g. with pymatgen's OrderDisorderedStructureTransformation); `chggen inpaint` takes "
            "disordered hosts, and draws what is partially occupied."
        )
    strangers = sorted({str(site.specie) for site in structure if not getattr(site.specie, "Z", 0)})
    if strangers:
        raise InputError(f"{where} holds species that are no elements: {', '.join(strangers)}.")


def check_host(structure: Structure, where: str = "the host") -> None:
    """Raise `InputError` when `structure` is not ordered and finite, or two of its atoms overlap."""
    check_ordered(structure, where)
    bad = [index for index, position in enumerate(structure.frac_coords) if not np.isfinite(position).all()]
    if bad:
        raise InputError(f"Coordinates that are no finite numbers in {where}, of site {bad[0]} (of {len(bad)} sites).")
    if not (np.isfinite(structure.lattice.matrix).all() and structure.lattice.volume > 0):
        raise InputError(f"The cell of {where} is no cell: its rows are {structure.lattice.matrix.tolist()} Å.")
    batch = to_batch([structure])
    pairs = neighbours(batch.frac_coords, batch.lattice, batch.num_atoms, OVERLAP_A)
    if pairs.source.numel():
        nearest = int(pairs.vector.norm(dim=1).argmin())
        one, other = sorted((int(pairs.source[nearest]), int(pairs.target[nearest])))
        distance = float(pairs.vector[nearest].norm())
        raise InputError(
            f"Overlapping atoms in {where}: {structure[one].species_string} (site {one}) and "
            f"{structure[other].species_string} (site {other}) are {distance:.2f} Å apart. A site listed twice, or a "
            "disordered site split into alternatives, looks like this; remove one of the two."
        )


def write_structure(structure: Structure, path: Path, form: Format) -> None:
    """Write one structure: JSON and extended XYZ with all digits, POSCAR with 16, CIF with 12 (longer lines break).

    POSCAR groups atoms by element; the others keep the order. CIF holds lengths and angles, and programs read POSCARs
    as right-handed cells, so in these two a left-handed cell has its three axes (and all coordinates) turned round:
    that is the same crystal, where keeping the coordinates would give its mirror image.

    Raises:
        InputError: for an unknown format.
    """
    if form in ("cif", "poscar"):
        structure = right_handed(structure)
    if form == "cif":
        text = str(CifWriter(structure, significant_figures=12))
    elif form == "poscar":
        from pymatgen.io.vasp import Poscar  # its package takes two seconds to import

        grouped = _grouped(structure)
        text = Poscar(grouped, comment=grouped.composition.formula).get_str(significant_figures=16)
    elif form == "json":
        text = json.dumps(structure.as_dict(), indent=1) + "\n"
    elif form == "extxyz":
        write_extxyz([structure], [{}], path)
        return
    else:
        raise InputError(unknown_name("format", form, FORMATS))
    path.write_text(text, encoding="utf-8")


def right_handed(structure: Structure) -> Structure:
    """The same crystal in a right-handed cell: where the axes are left-handed, they and all coordinates turn round."""
    matrix = structure.lattice.matrix
    if np.linalg.det(matrix) >= 0:
        return structure
    coords = [-site.frac_coords % 1.0 % 1.0 for site in structure]
    return Structure(Lattice(-matrix), structure.species_and_occu, coords, site_properties=structure.site_properties)


def _grouped(structure: Structure) -> Structure:
    first: dict[str, int] = {}
    for site in structure:
        first.setdefault(site.specie.symbol, len(first))
    order = sorted(range(len(structure)), key=lambda index: first[structure[index].specie.symbol])
    return Structure.from_sites([structure[index] for index in order])


def write_extxyz(structures: Sequence[Structure], infos: Sequence[dict[str, str | int | float]], path: Path) -> None:
    """Write `structures` as frames of one extended XYZ file, each with its entries on the comment line.

    Cartesian coordinates are written with all digits of a float64, so that a host can be compared exactly.
    """
    frames = []
    for structure, info in zip(structures, infos, strict=True):
        cell = " ".join(repr(float(value)) for value in structure.lattice.matrix.ravel())
        entries = "".join(f" {key}={json.dumps(value)}" for key, value in info.items())
        rows = [
            f"{site.specie.symbol} {' '.join(repr(float(value)) for value in position)}"
            for site, position in zip(structure, np.asarray(structure.cart_coords), strict=True)
        ]
        frames.append(
            f'{len(structure)}\nLattice="{cell}" Properties=species:S:1:pos:R:3 pbc="T T T"{entries}\n'
            + "\n".join(rows)
            + "\n"
        )
    path.write_text("".join(frames), encoding="utf-8")
