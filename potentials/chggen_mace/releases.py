"""The released MACE models whose energies are known to the kit.

Training sets as stated at https://github.com/ACEsuit/mace-foundations. MPtrj and sAlex hold PBE(+U) energies with the
settings of the Materials Project, without its corrections; OMat24 and MatPES use other pseudopotentials (and MatPES no
U), so that their energies can be compared with nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

_MIT = "MIT"
_ASL = "Academic Software License (non-commercial)"


@dataclass(frozen=True)
class Release:
    """What is known of a released model: the frame of its energies, and its licence."""

    energy_frame: str
    licence: str


RELEASES: dict[str, Release] = {
    **dict.fromkeys(
        (
            "small",
            "medium",
            "large",
            "small-0b",
            "medium-0b",
            "small-0b2",
            "medium-0b2",
            "large-0b2",
            "medium-0b3",
            "medium-mpa-0",
        ),
        Release("raw-pbe", _MIT),
    ),
    **dict.fromkeys(("small-omat-0", "medium-omat-0"), Release("omat24-pbe", _ASL)),
    "mace-matpes-pbe-0": Release("matpes-pbe", _ASL),
    "mace-matpes-r2scan-0": Release("matpes-r2scan", _ASL),
}
