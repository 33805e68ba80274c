"""CIF files: atoms in the order and with the numbers that the file has.

pymatgen's own way from a CIF to a structure folds coordinates into [0, 1), moves those near 1/3 and 2/3, and sorts the
atoms. A host must come back as it was given, so pymatgen is used here for the syntax, the cell and the symmetry
operations, and atoms come straight from the `_atom_site_` loop.
"""

from __future__ import annotations

import bz2
import gzip
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Element, Lattice, Structure
from pymatgen.io.cif import CifBlock, CifFile, CifParser

from chggen_kit.errors import InputError

SAME_SITE_A = 0.05
"""Images of one row that are closer are one atom on a special position, written with few digits (0.333 for 1/3)."""

_AXES = ("_atom_site_fract_x", "_atom_site_fract_y", "_atom_site_fract_z")


def is_cif(path: Path) -> bool:
    """Whether the name is that of a CIF, compressed or not."""
    return ".cif" in path.name.lower() or ".mcif" in path.name.lower()


def read_cif(path: Path) -> Structure:
    """The structure of a CIF, occupancies kept (a row with a partial one is a disordered site of its own).

    Without symmetry operations but the identity, atoms are the rows of the file: their order, and the numbers as
    written (the standard uncertainty in brackets removed). With others, each row is followed by its images under the
    operations, in their order and not folded; a row itself keeps its numbers. The cell is made from its parameters,
    in pymatgen's orientation. Rows of occupancy 0 are left out.

    Raises:
        InputError: when there is no block with atoms or more than one, no cell, or a row that is no atom.
        ValueError: when a number cannot be read.
    """
    unpack = {".gz": gzip.decompress, ".bz2": bz2.decompress}.get(path.suffix.lower(), bytes)
    text = unpack(path.read_bytes()).decode("utf-8", errors="replace")
    pieces = re.split(r"^\s*data_", text, flags=re.MULTILINE)[1:]
    blocks = [f"data_{piece}" for piece in pieces if re.search(r"^\s*_atom_site_fract_x", piece, re.MULTILINE)]
    if not blocks:
        raise InputError(
            f"Cannot read a structure from {path}: it has no data block with atoms, which is a loop with "
            "_atom_site_fract_x, _y and _z."
        )
    if len(blocks) > 1:
        names = ", ".join(block.split(maxsplit=1)[0] for block in blocks[:4])
        raise InputError(
            f"{path} has {len(blocks)} data blocks with atoms ({names}) where one is expected. Save the one that you "
            "mean in a file of its own."
        )
    (block,) = CifFile.from_str(blocks[0]).data.values()
    parser = CifParser.from_str(blocks[0], frac_tolerance=0)
    lattice = parser.get_lattice(block)
    if lattice is None:
        raise InputError(f"{path} has no cell: _cell_length_a, _b, _c and _cell_angle_alpha, _beta, _gamma.")
    if parser.feature_flags["magcif_incommensurate"]:
        raise InputError(f"{path} holds a modulated structure, which has no cell that repeats.")
    operations = parser.get_magsymops(block) if parser.feature_flags["magcif"] else parser.get_symops(block)
    affine = [np.asarray(operation.affine_matrix, dtype=float) for operation in operations]
    species: list[dict[str, float]] = []
    coords: list[NDArray[np.float64]] = []
    for symbol, occupancy, position in _rows(block, path):
        images = _images(position, affine, lattice)
        species += [{symbol: occupancy}] * len(images)
        coords += images
    return Structure(lattice, species, np.array(coords).reshape(-1, 3))


def _rows(block: CifBlock, path: Path) -> list[tuple[str, float, NDArray[np.float64]]]:
    """Element, occupancy and fractional coordinates `[3]` of each row of the `_atom_site_` loop."""
    columns = [_column(block, axis) for axis in _AXES]
    positions = [[_number(text) for text in row] for row in zip(*columns, strict=True)]
    names = _column(block, "_atom_site_type_symbol") or _column(block, "_atom_site_label")
    if len(names) != len(positions):
        raise InputError(f"{path} does not name the element of each atom: it lacks _atom_site_type_symbol.")
    # Unknown ("?") and not given (".") mean the default of the CIF dictionary, which is 1.
    occupancies = [
        1.0 if text in {"?", "."} else _number(text)
        for text in _column(block, "_atom_site_occupancy") or ["."] * len(names)
    ]
    return [
        (_element(name, path), occupancy, np.array(position))
        for name, occupancy, position in zip(names, occupancies, positions, strict=True)
        if occupancy != 0
    ]


def _column(block: CifBlock, key: str) -> list[str]:
    value = block.data.get(key, [])
    return [value] if isinstance(value, str) else list(value)


def _number(text: str) -> float:
    return float(re.sub(r"\(.*", "", text))


def _element(name: str, path: Path) -> str:
    """The element of a type symbol or label: `Na`, `Na1+`, `NA12`, `O_a`."""
    match = re.match(r"[A-Za-z]+", name)
    letters = match.group() if match else ""
    # Groups with hydrogen atoms that the file does not list.
    if letters.upper() not in {"WAT", "OH", "HOH"}:
        for length in (2, 1):
            symbol = letters[:length].title()
            if len(symbol) == length and Element.is_valid_symbol(symbol):
                return symbol
    raise InputError(
        f"{path} holds an atom named '{name}', which is no element. Give each atom its element as "
        "_atom_site_type_symbol; mixtures (such as 0.8Nb + 0.2Zr) and groups of atoms cannot be used."
    )


def _images(
    position: NDArray[np.float64], operations: Sequence[NDArray[np.float64]], lattice: Lattice
) -> list[NDArray[np.float64]]:
    """`position` as it is, then its images under the `[4, 4]` operations, each site of the crystal once."""
    images = [position]
    for operation in operations:
        image = operation[:3, :3] @ position + operation[:3, 3]
        if lattice.get_all_distances([image], images).min() > SAME_SITE_A:
            images.append(image)
    return images
