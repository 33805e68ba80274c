"""The convex hull of reference phases, and where other phases lie against it.

E_d = E - sum_i x_i E_i, with the phases i on the hull of the *references* that a phase would decompose into (eV/atom;
negative below that hull), after Zhong et al. (2025). E_hull is the distance from the hull of references *and* all
phases that are placed together; it is never negative. The hull itself is pymatgen's `PhaseDiagram` (Ong et al.,
Chemistry of Materials 20, 1798 (2008)).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pymatgen.core import Composition, Element

from chggen_kit.errors import InputError
from chggen_kit.thermo.phases import Phase, References

if TYPE_CHECKING:
    from pymatgen.analysis.phase_diagram import PhaseDiagram

_NEGLIGIBLE = 1e-6
"""Atomic fractions of products below this are rounding of the linear algebra."""


@dataclass(frozen=True)
class Product:
    """One of the phases that a phase would decompose into.

    Attributes:
        id: of the reference phase.
        formula: its reduced formula.
        fraction: share of the atoms that end in it.
    """

    id: str
    formula: str
    fraction: float


@dataclass(frozen=True)
class Placement:
    """Where a phase lies.

    Attributes:
        decomposition_energy: E_d in eV/atom against the hull of the references alone; negative below it.
        above_hull: E_hull in eV/atom against the references and all phases placed with it, at least 0.
        products: what it would decompose into, on the hull of the references.
        exclude_composition: whether references of its own reduced formula were left out.
        left_out: identities of those that were.
        references: label of the references.
        energy_frame: of all energies.
    """

    decomposition_energy: float
    above_hull: float
    products: tuple[Product, ...]
    exclude_composition: bool
    left_out: tuple[str, ...]
    references: str
    energy_frame: str

    @property
    def decomposition(self) -> str:
        """The products in one line, with their atomic fractions, e.g. `0.600 P2S5 + 0.400 ZnS`."""
        return " + ".join(f"{product.fraction:.3f} {product.formula}" for product in self.products)


class Hull:
    """Hulls of `references`, for any of their chemical systems."""

    def __init__(self, references: References) -> None:
        self.references = references
        self._diagrams: dict[tuple[frozenset[str], str | None], PhaseDiagram] = {}

    def place(self, phase: Phase, *, exclude_composition: bool = False) -> Placement:
        """Where `phase` lies; see `place_all`."""
        return self.place_all([phase], exclude_composition=exclude_composition)[0]

    def place_all(self, phases: Sequence[Phase], *, exclude_composition: bool = False) -> list[Placement]:
        """Where each of `phases` lies, the others being on the hull of E_hull too.

        Args:
            phases: of the references' frame, and of their potential (any potential for computed references).
            exclude_composition: leave references of a phase's own reduced formula out of its hull.

        Raises:
            InputError: for another frame or potential, an energy that is no finite number, or an element without an
                elemental reference phase.
        """
        for phase in phases:
            if not math.isfinite(phase.energy):
                raise InputError(
                    f"The energy of {phase.id} ({phase.formula}) is {phase.energy}, not a finite number, so it has no "
                    "place against a hull. Its relaxation failed; leave it out."
                )
            self.references.check_comparable(phase.potential, phase.energy_frame)
        joined: dict[tuple[frozenset[str], str | None], PhaseDiagram] = {}
        placements = []
        for phase in phases:
            key = (phase.symbols, phase.formula if exclude_composition else None)
            if key not in joined:
                joined[key] = _joined(self._diagram(*key), phases)
            placements.append(self._place(phase, self._diagram(*key), joined[key], key[1]))
        return placements

    def _place(self, phase: Phase, diagram: PhaseDiagram, joined: PhaseDiagram, without: str | None) -> Placement:
        per_atom = phase.composition.fractional_composition
        parts, hull_energy = diagram.get_decomp_and_hull_energy_per_atom(per_atom)
        products = [
            Product(entry.attribute.id, entry.attribute.formula, float(share))
            for entry, share in parts.items()
            if share > _NEGLIGIBLE
        ]
        left_out = () if without is None else tuple(one.id for one in self.references.phases if one.formula == without)
        return Placement(
            decomposition_energy=float(phase.energy_per_atom - hull_energy),
            above_hull=max(0.0, float(phase.energy_per_atom - joined.get_hull_energy_per_atom(per_atom))),
            products=tuple(sorted(products, key=lambda one: (-one.fraction, one.formula))),
            exclude_composition=without is not None,
            left_out=left_out,
            references=self.references.label,
            energy_frame=self.references.energy_frame,
        )

    def diagram(self, symbols: Sequence[str]) -> PhaseDiagram:
        """Diagram (pymatgen's) of the references of these elements; the `attribute` of an entry is its phase.

        Raises:
            InputError: when an element has no elemental phase.
        """
        return self._diagram(frozenset(symbols), None)

    def _diagram(self, symbols: frozenset[str], without: str | None) -> PhaseDiagram:
        key = (symbols, without)
        if key not in self._diagrams:
            chosen = self.references.of(symbols).phases
            if without in symbols:
                raise InputError(
                    f"Leaving out the phases of {without} leaves its element without a reference. Place it without "
                    "excluding its composition."
                )
            entries = [_entry(phase) for phase in chosen if phase.formula != without]
            self._diagrams[key] = _diagram(entries, [Element(symbol) for symbol in sorted(symbols)])
        return self._diagrams[key]


def _joined(diagram: PhaseDiagram, phases: Sequence[Phase]) -> PhaseDiagram:
    """`diagram` with those of `phases` that lie below it, and so can change it."""
    symbols = {element.symbol for element in diagram.elements}
    lower = [
        one
        for one in phases
        if one.symbols <= symbols
        and one.energy_per_atom < diagram.get_hull_energy_per_atom(one.composition.fractional_composition)
    ]
    return _diagram([*diagram.all_entries, *map(_entry, lower)], diagram.elements) if lower else diagram


def _diagram(entries: Sequence[Any], elements: Sequence[Element]) -> PhaseDiagram:
    from pymatgen.analysis.phase_diagram import PhaseDiagram  # takes seconds to import

    return PhaseDiagram(entries, elements)


def _entry(phase: Phase) -> Any:  # noqa: ANN401  pymatgen has no type information
    from pymatgen.analysis.phase_diagram import PDEntry

    return PDEntry(Composition(dict(phase.amounts)), phase.energy, name=phase.id, attribute=phase)
