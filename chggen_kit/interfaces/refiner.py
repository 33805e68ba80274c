"""`HostRefiner`: finds the symmetry of a host framework and imposes it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pymatgen.core import Structure


@dataclass(frozen=True)
class RefinedHost:
    """A symmetrised host.

    Attributes:
        host: the host without guests, symmetrised.
        guest_counts: guests by element symbol for the cell of `host`: they follow the formula.
        spacegroup_number: 1 to 230.
        spacegroup_symbol: Hermann-Mauguin symbol.
        symprec_A: tolerance in Å that gave the group; None for refiners that use none.
        angle_tolerance_deg: angle tolerance in degrees that gave the group; None as above.
        max_displacement_A: largest displacement of an atom by symmetrisation, in Å.
        rms_displacement_A: root mean square of the same.
        cell: `primitive`, or `own` when the cell of the input was kept.
        library: library and version that found the group.
    """

    host: Structure
    guest_counts: Mapping[str, int]
    spacegroup_number: int
    spacegroup_symbol: str
    symprec_A: float | None
    angle_tolerance_deg: float | None
    max_displacement_A: float
    rms_displacement_A: float
    cell: Literal["primitive", "own"]
    library: str


class HostRefiner(ABC):
    """Removes the guests of a structure and symmetrises what is left.

    Laws: the input is not mutated; guest counts follow the formula when the cell changes, and come out whole (else
    the host is symmetrised in its own cell); the host's volume per host atom is kept within the strain that
    symmetrisation makes.
    """

    @abstractmethod
    def refine(self, structure: Structure, guests: Collection[str]) -> list[RefinedHost]:
        """Hosts of `structure` without the elements `guests`, best first; empty when no symmetry is found.

        With no guests the whole structure is symmetrised.

        Raises:
            InputError: when a guest is not in the structure, or nothing but guests is.
        """
