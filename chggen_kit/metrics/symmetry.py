"""Space groups with spglib: found, judged, and imposed on a cell."""

from __future__ import annotations

import os
import warnings
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import spglib
from pymatgen.core import Lattice, Structure

from chggen_kit.errors import InputError

TRIVIAL_GROUPS = frozenset({1, 2})
"""P1 and P-1: what the paper does not count as symmetric."""

LIBRARY = f"spglib {spglib.__version__}"

# Otherwise the C library writes to the standard error stream about every tolerance that it gives up.
os.environ.setdefault("SPGLIB_WARNING", "OFF")

# Releases differ: older ones return None on failure, newer ones can raise.
_FAILURES = (getattr(spglib, "SpglibError", RuntimeError), RuntimeError, ValueError)

Cell = tuple[Any, Any, list[int]]
"""What spglib takes: lattice rows in Å `[3, 3]`, fractional coordinates `[n_atoms, 3]`, a number for each species."""


@dataclass(frozen=True)
class SpaceGroup:
    """A space group and what found it.

    Attributes:
        number: 1 to 230.
        symbol: Hermann-Mauguin symbol.
        symprec_A: distance tolerance in Å.
        angle_tolerance_deg: angle tolerance in degrees.
        library: library and version.
    """

    number: int
    symbol: str
    symprec_A: float
    angle_tolerance_deg: float
    library: str = LIBRARY


@dataclass(frozen=True)
class SymmetryFailure:
    """No space group was found, and why. `reason` is a code for tables, `detail` a sentence."""

    reason: str
    detail: str


def to_cell(structure: Structure) -> Cell:
    """Spglib's cell of `structure`; sites with equal occupations share a number."""
    names = [site.species_string for site in structure]
    numbers = {name: index + 1 for index, name in enumerate(sorted(set(names)))}
    return structure.lattice.matrix, structure.frac_coords, [numbers[name] for name in names]


def dataset(
    structure: Structure, symprec_A: float, angle_tolerance_deg: float
) -> spglib.SpglibDataset | SymmetryFailure:
    """Symmetry dataset of `structure` by spglib.

    Raises:
        InputError: when a tolerance is not positive.
    """
    if not (symprec_A > 0 and angle_tolerance_deg > 0):
        raise InputError(
            f"Symmetry tolerances must be positive, not {symprec_A} Å and {angle_tolerance_deg} degrees "
            "(0.1 and 10 are usual)."
        )
    if len(structure) == 0:
        return SymmetryFailure("no_atoms", "The structure has no atoms.")
    cell = to_cell(structure)
    # spglib crashes the whole process on values that are not finite.
    if not (np.isfinite(cell[0]).all() and np.isfinite(cell[1]).all()):
        return SymmetryFailure("not_finite", "The structure holds values that are not finite.")
    if abs(np.linalg.det(cell[0])) <= 1e-6 * np.linalg.norm(cell[0], axis=1).max() ** 3:
        return SymmetryFailure("flat_cell", "The cell has no volume.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is wrong is told by the result
            found = spglib.get_symmetry_dataset(cell, symprec=symprec_A, angle_tolerance=angle_tolerance_deg)
    except _FAILURES as error:
        return SymmetryFailure("spglib_failed", f"spglib: {error}")
    if found is None:
        return SymmetryFailure(
            "spglib_failed", f"spglib found no space group within {symprec_A} Å (atoms may lie closer than that)."
        )
    return found


def space_group(
    structure: Structure, symprec_A: float = 0.1, angle_tolerance_deg: float = 10.0
) -> SpaceGroup | SymmetryFailure:
    """Space group of `structure` within the tolerances, by spglib.

    Raises:
        InputError: when a tolerance is not positive.
    """
    found = dataset(structure, symprec_A, angle_tolerance_deg)
    if isinstance(found, SymmetryFailure):
        return found
    return SpaceGroup(int(found.number), str(found.international), symprec_A, angle_tolerance_deg)


def refined_structure(
    structure: Structure, symprec_A: float = 0.1, angle_tolerance_deg: float = 10.0
) -> Structure | SymmetryFailure:
    """Conventional standard cell of `structure` with the symmetry found within the tolerances imposed exactly.

    The atoms are those of the conventional cell, in spglib's order; its axes are in the standard orientation.

    Raises:
        InputError: when a tolerance is not positive.
    """
    found = dataset(structure, symprec_A, angle_tolerance_deg)
    if isinstance(found, SymmetryFailure):
        return found
    species = {number: site.species for number, site in zip(to_cell(structure)[2], structure, strict=True)}
    return Structure(
        Lattice(found.std_lattice), [species[int(number)] for number in found.std_types], found.std_positions
    )


def is_symmetric(number: int, excluded: Collection[int] = TRIVIAL_GROUPS) -> bool:
    """Whether space group `number` counts as symmetric: it is none of `excluded`."""
    if not 1 <= number <= 230:
        raise InputError(f"Space groups have numbers from 1 to 230, not {number}.")
    return number not in excluded
