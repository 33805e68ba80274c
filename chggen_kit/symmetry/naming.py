"""Names of space groups from either library."""

from __future__ import annotations

from typing import Literal

import numpy as np
import spglib
from numpy.typing import NDArray
from pymatgen.core import Structure

from chggen_kit.metrics.moyopy_process import MoyopyProcess
from chggen_kit.metrics.symmetry import SpaceGroup, SymmetryFailure, space_group
from chggen_kit.symmetry.operations import SymmetryOperations


def name_group(
    structure: Structure,
    symprec_A: float,
    angle_tolerance_deg: float,
    library: Literal["spglib", "moyopy"] = "spglib",
    time_limit_s: float = 10.0,
) -> SpaceGroup | SymmetryFailure:
    """Space group of `structure` by `library`; moyopy is given `time_limit_s` seconds.

    Raises:
        InputError: when a tolerance is not positive, or moyopy is asked for and not installed.
    """
    if library == "spglib":
        return space_group(structure, symprec_A, angle_tolerance_deg)
    with MoyopyProcess(time_limit_s) as process:
        return process.space_group(structure, symprec_A, angle_tolerance_deg)


def name_operations(operations: SymmetryOperations, lattice: NDArray[np.float64]) -> tuple[int, str] | None:
    """Number and symbol of the space group that operations are, whatever else the atoms may have; None if unknown.

    Args:
        operations: a group, in the cell
        lattice: rows in Å `[3, 3]`.
    """
    found = spglib.get_spacegroup_type_from_symmetry(
        operations.rotations, operations.translations, lattice=lattice, symprec=1e-3
    )
    return None if found is None else (int(found.number), str(found.international_short))
