"""Known compounds with a guest species that can be taken out: what guest recovery is measured on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from pymatgen.core import Element, Structure

from chggen_kit.evaluation.rows import to_structure
from chggen_kit.interfaces import SamplingTask, ScoreModel
from chggen_kit.io.convert import to_batch
from chggen_kit.io.readers import StructureRecord
from chggen_kit.metrics.families import family
from chggen_kit.state import CrystalBatch, Known

GUESTS = ("Li", "Na", "K", "Mg", "Ca", "Zn", "Cu", "Ag", "F", "H")
"""Guest species, in the order in which they are looked for."""


@dataclass(frozen=True)
class Compound:
    """A known compound and which of its atoms are guests.

    Attributes:
        id: of the row.
        formula: reduced, canonical.
        structure: as known, in its own cell and atom order.
        guest: symbol of the guest species; all of its atoms are guests.
    """

    id: str
    formula: str
    structure: Structure
    guest: str

    @property
    def guests(self) -> list[int]:
        """Indices of the guest atoms."""
        return [index for index, site in enumerate(self.structure) if site.specie.symbol == self.guest]

    @property
    def family(self) -> str:
        """Chemical family."""
        return family({site.specie.symbol for site in self.structure})


def guest_of(symbols: Collection[str]) -> str | None:
    """The guest species of a compound of the elements `symbols`: the first of `GUESTS` that is present.

    None where there is none, or where it is the only element, so that no host would be left.
    """
    present = set(symbols)
    return next((guest for guest in GUESTS if guest in present), None) if len(present) > 1 else None


def choose_compounds(
    rows: Sequence[StructureRecord], count: int, model: ScoreModel, elements: Collection[int]
) -> tuple[list[Compound], Counter[str]]:
    """The first `count` compounds of `rows` that can be used, one for each formula, and why others were passed over.

    Passed over are rows without a guest species, of elements outside `elements` (atomic numbers), of a formula that has
    been chosen, and of a formula that the model was, or for all it says may have been, trained on. A model that says
    nothing of its training keeps all of them.
    """
    formulas = {row.formula for row in rows}
    unseen = model.never_trained_on(formulas)
    chosen: list[Compound] = []
    taken: set[str] = set()
    passed: Counter[str] = Counter()
    for row in rows:
        if len(chosen) == count:
            break
        symbols = [Element.from_Z(z).symbol for z in row.species.tolist()]
        guest = guest_of(symbols)
        if guest is None:
            passed["no guest species"] += 1
        elif not set(elements).issuperset(row.species.tolist()):
            passed["elements not covered"] += 1
        elif unseen is not None and row.formula not in unseen:
            passed["formula trained on"] += 1
        elif row.formula in taken:
            passed["formula chosen already"] += 1
        else:
            taken.add(row.formula)
            chosen.append(Compound(row.id, row.formula, to_structure(row), guest))
    return chosen, passed


def refilling(compounds: Sequence[Compound], samples: int) -> SamplingTask:
    """Every compound `samples` times, its guests unknown."""
    batch = to_batch([one.structure for one in compounds for _ in range(samples)])
    given = torch.tensor(
        [site.specie.symbol != one.guest for one in compounds for _ in range(samples) for site in one.structure]
    )
    # Unknown places start from zeros: nothing of the known structure may leak through the template.
    frac = torch.where(given[:, None], batch.frac_coords, torch.zeros_like(batch.frac_coords))
    templates = CrystalBatch(frac, batch.lattice, batch.species, batch.num_atoms)
    return SamplingTask(templates, Known.coordinates_only(templates, given))
