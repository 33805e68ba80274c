"""References from the Materials Project, by the user's own key (extra `mp`: the package mp-api)."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from typing import Any

from chggen_kit.errors import InputError
from chggen_kit.thermo.phases import DFT, NotComparableError, ReferencePhase, References, amounts_of
from chggen_kit.workflow.records import StructureData

LABEL = "Materials Project"
KEY_VARIABLE = "MP_API_KEY"
_THERMO_TYPES = {"mp2020-corrected": "GGA_GGA+U", "r2scan": "R2SCAN"}
"""The project's name of the hulls whose energies are in a frame."""

Fetch = Callable[[Sequence[str], str], Sequence[Any]]
"""Entries (pymatgen's `ComputedStructureEntry`) of all chemical systems within some elements, of a thermo type."""


def materials_project_references(
    symbols: Collection[str], energy_frame: str, *, fetch: Fetch | None = None
) -> References:
    """All phases of the elements `symbols` in the Materials Project, with its computed energies in `energy_frame`.

    Args:
        symbols: of the elements.
        energy_frame: of the potential that is to be compared with them.
        fetch: where entries come from; the project's server by default.

    Raises:
        InputError: for a frame that the project has not, without key or package, or when the server does not answer.
    """
    if energy_frame not in _THERMO_TYPES:
        raise NotComparableError(
            f"The Materials Project has no energies in the frame {energy_frame!r}, only in "
            f"{' and '.join(_THERMO_TYPES)}. Choose another potential, or give structures with --references, which "
            "are then relaxed with yours."
        )
    entries = (fetch or _fetch)(sorted(symbols), _THERMO_TYPES[energy_frame])
    phases = []
    for entry in entries:
        structure = getattr(entry, "structure", None)
        phases.append(
            ReferencePhase(
                id=str(entry.entry_id),
                amounts=amounts_of(entry.composition),
                energy=float(entry.energy),  # corrected
                energy_frame=energy_frame,
                potential=DFT,
                source=LABEL,
                data=None if structure is None else StructureData.of(structure),
            )
        )
    if not phases:
        raise InputError(f"The Materials Project knows no phase of {'-'.join(sorted(symbols))}.")
    return References(phases, LABEL)


def _fetch(symbols: Sequence[str], thermo_type: str) -> Sequence[Any]:
    if not os.environ.get(KEY_VARIABLE, "").strip():
        raise InputError(
            f"References from the Materials Project need a key. Get one at https://materialsproject.org/api and put it "
            f"into the environment variable {KEY_VARIABLE}."
        )
    try:
        from mp_api.client import MPRester
    except ImportError as error:
        raise InputError(
            "References from the Materials Project need the package mp-api. Install it with: "
            "pip install 'chggen-kit[mp]'."
        ) from error
    try:
        with MPRester(os.environ[KEY_VARIABLE].strip(), mute_progress_bars=True) as client:
            found: Sequence[Any] = client.get_entries_in_chemsys(
                list(symbols), additional_criteria={"thermo_types": [thermo_type]}
            )
    except Exception as error:
        # mp-api and requests raise errors of many kinds; the user needs to know that it was the server's answer.
        raise InputError(
            f"The Materials Project gave no phases of {'-'.join(symbols)}: {type(error).__name__}: {error}. Check the "
            f"key in {KEY_VARIABLE} and the network, or use other references."
        ) from error
    return found
