"""VASP's input files of one structure, through pymatgen's MPScanRelaxSet."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pymatgen.core import SETTINGS, Structure
from pymatgen.io.vasp.inputs import PmgVaspPspDirError, VaspInput
from pymatgen.io.vasp.sets import MPScanRelaxSet

from chggen_kit.dft.settings import KSpacingChoice, incar_settings, kpoint_grid
from chggen_kit.errors import InputError

PotcarPolicy = Literal["auto", "spec"]
POTCAR_SETTING = "PMG_VASP_PSP_DIR"
_ANY_GAP_EV = 1.0
"""MPScanRelaxSet derives from a band gap only what `incar_settings` sets anyway; a number keeps it from guessing."""


@dataclass(frozen=True)
class Written:
    """What the files of one structure hold.

    Attributes:
        incar: what was set on top of MPScanRelaxSet.
        grid: k-points along the reciprocal axes that VASP makes of KSPACING; there is no KPOINTS file.
        potcar_symbols: pseudopotentials, in the order of POSCAR.
        has_potcar: whether POTCAR was written; else POTCAR.spec names the pseudopotentials.
        potcar_problem: why there is no POTCAR although pseudopotentials are set up; None when there is nothing to tell.
        remarks: warnings of pymatgen.
    """

    incar: dict[str, float]
    grid: tuple[int, int, int]
    potcar_symbols: tuple[str, ...]
    has_potcar: bool
    potcar_problem: str | None
    remarks: tuple[str, ...]


def has_pseudopotentials() -> bool:
    """Whether pymatgen knows where the user keeps pseudopotentials."""
    return bool(SETTINGS.get(POTCAR_SETTING))


def check_elements(structure: Structure) -> None:
    """Refuse elements for which MPScanRelaxSet has no pseudopotential.

    Raises:
        InputError: naming them.
    """
    known = MPScanRelaxSet.CONFIG["POTCAR"]
    missing = sorted(symbol for symbol in structure.symbol_set if symbol not in known)
    if missing:
        raise InputError(
            f"MPScanRelaxSet names no pseudopotential for {', '.join(missing)}, so no inputs can be made for "
            f"{structure.composition.reduced_formula}. Set its calculation up by hand (`chggen export` writes POSCAR)."
        )


def write_inputs(structure: Structure, choice: KSpacingChoice, folder: Path, potcar: PotcarPolicy = "auto") -> Written:
    """Write INCAR, POSCAR and POTCAR (or POTCAR.spec) of a relaxation of `structure` into the new `folder`.

    Raises:
        InputError: when an element has no pseudopotential in MPScanRelaxSet.
    """
    check_elements(structure)
    settings = incar_settings(structure, choice)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        inputs = MPScanRelaxSet(structure, bandgap=_ANY_GAP_EV, user_incar_settings=settings)
        made: VaspInput | None = None
        problem: str | None = None
        if potcar == "auto" and has_pseudopotentials():
            try:
                made = inputs.get_input_set()
            except (OSError, ValueError, PmgVaspPspDirError) as error:
                # A folder that is not there, an element that is not in it, a file that is no POTCAR.
                problem = " ".join(str(error).split())
        has_potcar = made is not None
        made = made or inputs.get_input_set(potcar_spec=True)
        folder.mkdir()
        made.write_input(output_dir=os.fspath(folder), make_dir_if_not_present=False)
    remarks = dict.fromkeys(
        " ".join(str(one.message).split()) for one in caught if not issubclass(one.category, DeprecationWarning)
    )
    return Written(
        incar=settings,
        grid=kpoint_grid(inputs.structure, choice.kspacing),
        potcar_symbols=tuple(inputs.potcar_symbols),
        has_potcar=has_potcar,
        potcar_problem=problem,
        remarks=tuple(remarks),
    )
