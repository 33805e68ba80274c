"""Names of space groups from either library."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from pymatgen.core import Structure

from chggen_kit.errors import InputError
from chggen_kit.metrics.symmetry import SpaceGroup, SymmetryFailure, space_group, to_cell

_WORKER = Path(__file__).with_name("moyopy_worker.py")


def name_group(
    structure: Structure,
    symprec_A: float,
    angle_tolerance_deg: float,
    library: Literal["spglib", "moyopy"] = "spglib",
    time_limit_s: float = 10.0,
) -> SpaceGroup | SymmetryFailure:
    """Space group of `structure` by `library`.

    moyopy can go on for ever where many atoms lie within the tolerance, and cannot be interrupted: it runs in a
    process of its own, which is ended after `time_limit_s` seconds.

    Raises:
        InputError: when a tolerance is not positive, or moyopy is asked for and not installed.
    """
    if library == "spglib":
        return space_group(structure, symprec_A, angle_tolerance_deg)
    try:
        name = f"moyopy {version('moyopy')}"
    except PackageNotFoundError as error:
        raise InputError(
            "Space groups are to be named by moyopy, which is not installed: pip install 'chggen-kit[moyo]'. "
            "The default, spglib, needs nothing more."
        ) from error
    lattice, frac, numbers = to_cell(structure)
    task = {
        "lattice": lattice.tolist(),
        "positions": frac.tolist(),
        "numbers": numbers,
        "symprec_A": symprec_A,
        "angle_tolerance_deg": angle_tolerance_deg,
    }
    try:
        ended = subprocess.run(  # noqa: S603 - our own script
            [sys.executable, str(_WORKER)],
            input=json.dumps(task),
            capture_output=True,
            text=True,
            check=False,
            timeout=time_limit_s,
        )
    except subprocess.TimeoutExpired:
        return SymmetryFailure("moyopy_timeout", f"moyopy found no space group within {time_limit_s:g} s.")
    if ended.returncode != 0:
        last = (ended.stderr.strip().splitlines() or ["no message"])[-1]
        return SymmetryFailure("moyopy_failed", f"moyopy found no space group within {symprec_A} Å ({last}).")
    answer = json.loads(ended.stdout)
    return SpaceGroup(int(answer["number"]), str(answer["symbol"]), symprec_A, angle_tolerance_deg, name)
