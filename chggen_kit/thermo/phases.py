"""`Phase`, `ReferencePhase`, `References`: phases that a hull is made of, all of one potential and energy frame."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property

from pymatgen.core import Composition, Structure

from chggen_kit.errors import InputError
from chggen_kit.workflow.records import StructureData

DFT = "dft"
"""Stands for the potential of energies that were computed from first principles; see `References.check_comparable`."""


class NotComparableError(InputError):
    """References that are of another frame or potential, or lack an element: no hull, however they are asked for."""


@dataclass(frozen=True)
class Phase:
    """A compound with an energy, and what that energy is.

    Attributes:
        id: name in its source or run, e.g. `mp-2` or `i0003-1`.
        amounts: number of atoms of each element in the cell that `energy` belongs to; `amounts_of` makes them.
        energy: total energy in eV of that cell.
        energy_frame: which energies these are, e.g. `mp2020-corrected`; never mixed in a hull.
        potential: name of the potential, e.g. `chgnet-0.3.0`; `dft` for computed energies.
    """

    id: str
    amounts: tuple[tuple[str, float], ...]
    energy: float
    energy_frame: str
    potential: str

    @cached_property
    def composition(self) -> Composition:
        """Composition of the cell."""
        return Composition(dict(self.amounts))

    @property
    def symbols(self) -> frozenset[str]:
        """Its elements."""
        return frozenset(symbol for symbol, _ in self.amounts)

    @cached_property
    def formula(self) -> str:
        """Reduced formula."""
        return reduced_formula(self.composition)

    @property
    def n_atoms(self) -> float:
        """Atoms in the cell."""
        return sum(amount for _, amount in self.amounts)

    @property
    def energy_per_atom(self) -> float:
        """In eV/atom."""
        return self.energy / self.n_atoms


@dataclass(frozen=True)
class ReferencePhase(Phase):
    """A known phase.

    Attributes:
        source: where its structure comes from.
        data: the structure; None where only the energy is known. In the packaged set it is the structure as relaxed by
            the set's first potential, where other potentials' energies belong to what they relaxed it to.
    """

    source: str
    data: StructureData | None = None

    @cached_property
    def structure(self) -> Structure | None:
        """The structure, if it is known."""
        return None if self.data is None else self.data.structure()


def reduced_formula(composition: Composition) -> str:
    """Reduced formula, the same for all cells of a compound (`Li2`, `P4` and `S8` count as `Li`, `P` and `S`)."""
    if len(composition.elements) == 1:
        return str(composition.elements[0].symbol)
    return str(composition.reduced_formula)


def amounts_of(composition: Composition) -> tuple[tuple[str, float], ...]:
    """Amounts as a `ReferencePhase` holds them, in the order of the symbols."""
    return tuple(sorted((element.symbol, float(amount)) for element, amount in composition.items()))


class References:
    """A set of reference phases of one potential, in one frame.

    Args:
        phases: of any number, in any order.
        label: what the set is, in a few words, for rows and tables.

    Raises:
        InputError: when it is empty, mixes frames or potentials, or holds an energy that is no finite number.
    """

    def __init__(self, phases: Iterable[ReferencePhase], label: str) -> None:
        self.phases = tuple(phases)
        self.label = label
        if not self.phases:
            raise InputError(f"The references ({label}) hold no phase.")
        self.energy_frame = self._single("energy frames", {phase.energy_frame for phase in self.phases})
        self.potential = self._single("potentials", {phase.potential for phase in self.phases})
        for phase in self.phases:
            if not math.isfinite(phase.energy):
                raise InputError(
                    f"The energy of the reference phase {phase.id} ({phase.formula}) in {label} is {phase.energy}, "
                    "not a finite number: its relaxation failed, or the file is damaged. Leave the phase out."
                )

    def _single(self, what: str, names: set[str]) -> str:
        if len(names) > 1:
            raise InputError(
                f"The references ({self.label}) mix {what}: {', '.join(sorted(names))}. Their energies cannot meet in "
                "one hull. Give references of one kind, evaluated with the potential of the run."
            )
        return names.pop()

    def __len__(self) -> int:
        return len(self.phases)

    @cached_property
    def digest(self) -> str:
        """Hash of the phases and their energies."""
        content = [[one.id, one.amounts, one.energy, one.energy_frame, one.potential] for one in self.phases]
        return hashlib.blake2b(json.dumps(content).encode(), digest_size=8).hexdigest()

    @property
    def elements(self) -> frozenset[str]:
        """Elements of which the set holds the element itself as a phase."""
        return frozenset(symbol for phase in self.phases if len(phase.amounts) == 1 for symbol, _ in phase.amounts)

    def missing_elements(self, symbols: Collection[str]) -> list[str]:
        """Those of `symbols` without an elemental phase here: no hull reaches them."""
        return sorted(set(symbols) - self.elements)

    def of(self, symbols: Collection[str]) -> References:
        """The phases that hold no other elements than `symbols`.

        Raises:
            InputError: when one of `symbols` has no elemental phase.
        """
        missing = self.missing_elements(symbols)
        if missing:
            raise NotComparableError(
                f"The references ({self.label}) hold no phase of the element {', '.join(missing)} itself, so "
                f"{'-'.join(sorted(symbols))} has no hull. Add a structure of it to the references, or name others "
                "with --references."
            )
        wanted = set(symbols)
        return References((phase for phase in self.phases if phase.symbols <= wanted), self.label)

    def check_comparable(self, potential: str, energy_frame: str) -> None:
        """Refuse energies of another potential or frame than the references'.

        Computed energies (`dft`) may be compared with those of any potential that predicts the same frame, as the
        paper compares CHGNet with the Materials Project: the potential's errors then don't cancel.

        Raises:
            InputError: naming both.
        """
        if energy_frame != self.energy_frame:
            raise NotComparableError(
                f"Energies of {potential} are in the frame {energy_frame!r}, the references ({self.label}) in "
                f"{self.energy_frame!r}: their differences mean nothing. Use references evaluated with {potential}."
            )
        if self.potential not in {potential, DFT}:
            raise NotComparableError(
                f"The references ({self.label}) are energies of {self.potential}, not of {potential}. Use references "
                f"evaluated with {potential}; give their structures with --references, and they are relaxed with it."
            )
