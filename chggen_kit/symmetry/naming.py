"""Names of space groups from either library."""

from __future__ import annotations

from typing import Literal

from pymatgen.core import Structure

from chggen_kit.metrics.moyopy_process import MoyopyProcess
from chggen_kit.metrics.symmetry import SpaceGroup, SymmetryFailure, space_group


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
