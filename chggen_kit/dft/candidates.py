"""Which structures of a run are worth a DFT calculation: those below a threshold, each once."""

from __future__ import annotations

import math
import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import spglib
from ase.db.row import AtomsRow
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure

from chggen_kit.errors import InputError
from chggen_kit.interfaces import Progress
from chggen_kit.io.files import right_handed
from chggen_kit.metrics.matching import MATCHER_FAILURES, unusable
from chggen_kit.metrics.symmetry import SymmetryFailure, refined_structure, to_cell
from chggen_kit.workflow.records import StructureData

Criterion = Literal["E_d", "above best"]
Form = Literal["relaxed", "symmetrised"]

LTOL, STOL, ANGLE_TOLERANCE_DEG = 0.2, 0.3, 5.0
"""StructureMatcher's own defaults; primitive cells, scaled to the same volume."""
SAME_ENERGY = 0.01
"""eV/atom; relaxations to the default force limit end within a few meV/atom of their minimum."""
MATCHER = (
    f"StructureMatcher(ltol={LTOL:g}, stol={STOL:g}, angle_tol={ANGLE_TOLERANCE_DEG:g}), and energies within "
    f"{1000 * SAME_ENERGY:g} meV/atom"
)
_EXACT_A = 1e-4
"""Tolerance in Å for a structure whose symmetry was imposed."""


@dataclass(frozen=True)
class Judged:
    """A structure of a run with the energy that decides.

    Attributes:
        row: its row of `results.db`.
        structure: as relaxed.
        criterion: `E_d`, the energy over the hull of reference phases, or `above best`, the energy above the best
            structure of the same composition in the run.
        energy: that energy in eV/atom.
    """

    row: AtomsRow
    structure: Structure
    criterion: Criterion
    energy: float

    @property
    def id(self) -> str:
        """Identity in the run."""
        return str(self.row.structure_id)


@dataclass(frozen=True)
class Selected:
    """A structure to be calculated, and those that it stands for.

    Attributes:
        judged: the one of lowest energy.
        duplicates: the others, lowest energy first.
    """

    judged: Judged
    duplicates: list[Judged] = field(default_factory=list)


def judge_rows(rows: Sequence[AtomsRow]) -> list[Judged]:
    """The relaxed structures among `rows` with the energies that decide, lowest first.

    A composition is judged by E_d where each of its rows has one, else by the energy above its best row.

    Raises:
        InputError: when none was relaxed.
    """
    relaxed = [row for row in rows if "relaxed" in row.data and _number(row, "energy_per_atom") is not None]
    if not relaxed:
        raise InputError(
            f"None of the {len(rows)} structures was relaxed, so there are no energies to choose by. Run without "
            "--no-relax."
        )
    by_composition: dict[str, list[tuple[AtomsRow, Structure]]] = defaultdict(list)
    for row in relaxed:
        structure = StructureData.model_validate(row.data["relaxed"]).structure()
        by_composition[structure.composition.reduced_formula].append((row, structure))
    result = []
    for members in by_composition.values():
        distances = [_number(row, "E_d") for row, _ in members]
        best = min(float(row.energy_per_atom) for row, _ in members)
        criterion: Criterion = "above best" if None in distances else "E_d"
        for (row, structure), distance in zip(members, distances, strict=True):
            energy = distance if criterion == "E_d" and distance is not None else row.energy_per_atom - best
            result.append(Judged(row, structure, criterion, float(energy)))
    return sorted(result, key=lambda one: (one.energy, one.id))


def _number(row: AtomsRow, key: str) -> float | None:
    value = row.get(key)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def merge_duplicates(judged: Sequence[Judged], progress: Progress | None = None) -> list[Selected]:
    """Group equal structures of `judged` (lowest energy first); order is kept.

    Two are equal when pymatgen's StructureMatcher says so and their energies differ by at most `SAME_ENERGY`: its usual
    tolerances alone also join neighbouring minima, of which one would be lost. What the matcher cannot reduce stays on
    its own.
    """
    matcher = StructureMatcher(ltol=LTOL, stol=STOL, angle_tol=ANGLE_TOLERANCE_DEG)
    selected: list[Selected] = []
    for number, one in enumerate(judged):
        twin = next((other for other in selected if _same(matcher, one, other.judged)), None)
        if twin is None:
            selected.append(Selected(one))
        else:
            twin.duplicates.append(one)
        if progress is not None:
            progress.update(number + 1, len(judged), "duplicates")
    return selected


def _same(matcher: StructureMatcher, one: Judged, other: Judged) -> bool:
    first, second = one.structure, other.structure
    if first.composition.reduced_formula != second.composition.reduced_formula:
        return False
    if abs(one.energy - other.energy) > SAME_ENERGY:
        return False
    if unusable(first) is not None or unusable(second) is not None:
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of divisions in the reduction of odd cells
            return bool(matcher.fit(first, second))
    except MATCHER_FAILURES:
        return False


def structure_for_dft(judged: Judged, form: Form) -> Structure | None:
    """The structure that is calculated, right-handed as VASP wants it; None when it has no symmetry to impose.

    `symmetrised` is the primitive standard cell with the space group of the row imposed exactly.
    """
    if form == "relaxed":
        return right_handed(judged.structure)
    refined = refined_structure(judged.structure, judged.row.symprec, judged.row.angle_tolerance)
    if isinstance(refined, SymmetryFailure):
        return None
    lattice, positions, numbers = to_cell(refined)
    symbols = {number: site.specie.symbol for number, site in zip(numbers, refined, strict=True)}
    found = spglib.find_primitive((lattice, positions, numbers), symprec=_EXACT_A)
    if found is None:
        return right_handed(refined)
    return right_handed(Structure(Lattice(found[0]), [symbols[int(number)] for number in found[2]], found[1]))
