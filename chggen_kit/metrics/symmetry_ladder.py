"""The symmetry of structures over a ladder of tolerances, what it costs to make it exact, and how many have any."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pymatgen.core import Lattice, Structure

from chggen_kit.metrics.intervals import Share, wilson
from chggen_kit.metrics.moyopy_process import MoyopyProcess
from chggen_kit.metrics.symmetry import LIBRARY, SpaceGroup, SymmetryFailure, dataset, space_group, to_cell
from chggen_kit.symmetry.symmetrise import symmetrise

Rung = tuple[float, float]
"""Distance tolerance in Å and angle tolerance in degrees."""

RUNGS: tuple[Rung, ...] = ((0.001, 0.1), (0.003, 0.3), (0.01, 1.0), (0.03, 3.0), (0.1, 10.0), (0.3, 15.0))
"""The angle grows with the distance: at 1 mÅ an angle tolerance of 10 degrees would call a sheared cell symmetric.
0.1 Å with 10 degrees is what `chggen generate` counts with, 0.01 Å with 1 degree what refiners are checked at."""

EXCLUSIONS: Mapping[str, frozenset[int]] = {"above P-1": frozenset({1, 2}), "above P-1 and Pm": frozenset({1, 2, 6})}
"""Groups that do not count, by name: the paper's two choices."""

_EXACT: Rung = (1e-4, 0.05)
"""A projected structure is exact to 1e-6 Å."""

Outcome = SpaceGroup | SymmetryFailure


@dataclass(frozen=True)
class Reach:
    """What it takes to give a structure a space group exactly.

    Attributes:
        number, symbol: of the group, found in the projected structure at 1e-4 Å.
        max_displacement_A, rms_displacement_A: of the atoms by the projection, in the mean cell, without drift.
        strain: largest logarithmic principal strain of the cell.
        symprec_A: the tolerance whose operations were imposed.
    """

    number: int
    symbol: str
    max_displacement_A: float
    rms_displacement_A: float
    strain: float
    symprec_A: float


@dataclass(frozen=True)
class SymmetryLadder:
    """The symmetry of one structure.

    Attributes:
        name: of the structure.
        source: what it is counted with, e.g. `files`, `inpainted`.
        formula: reduced.
        rungs: tolerances.
        groups: what each library found, by its name with version, in the order of `rungs`.
        reached: groups that can be made exact, smallest displacement first; none twice.
    """

    name: str
    source: str
    formula: str
    rungs: tuple[Rung, ...]
    groups: Mapping[str, tuple[Outcome, ...]]
    reached: tuple[Reach, ...]

    def smallest_displacement_A(  # noqa: N802 - units are part of the name
        self, excluded: Collection[int] = EXCLUSIONS["above P-1"]
    ) -> float | None:
        """Smallest displacement that reaches a group outside `excluded`; None when no rung has any."""
        return min((one.max_displacement_A for one in self.reached if one.number not in excluded), default=None)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "name": self.name,
            "source": self.source,
            "formula": self.formula,
            "groups": {library: [_plain(one) for one in found] for library, found in self.groups.items()},
            "reached": [dict(vars(one)) for one in self.reached],
        }


def _plain(outcome: Outcome) -> dict[str, Any]:
    if isinstance(outcome, SymmetryFailure):
        return {"failure": outcome.reason}
    tolerances = {"symprec_A": outcome.symprec_A, "angle_tolerance_deg": outcome.angle_tolerance_deg}
    return {"number": outcome.number, "symbol": outcome.symbol, **tolerances}


def climb(
    structure: Structure,
    rungs: Sequence[Rung] = RUNGS,
    *,
    moyopy: MoyopyProcess | None = None,
    name: str = "structure",
    source: str = "files",
) -> SymmetryLadder:
    """Space groups of `structure` at each rung, and the displacements that make them exact.

    Args:
        structure: ordered.
        rungs: tolerances.
        moyopy: where it is to name the groups as well. Once it has run out of time on a structure it is not asked
            again about it: a looser rung is harder for it.
        name: of the structure in tables.
        source: what it is counted with.

    Raises:
        InputError: when a tolerance is not positive.
    """
    groups: dict[str, tuple[Outcome, ...]] = {LIBRARY: tuple(space_group(structure, *rung) for rung in rungs)}
    if moyopy is not None:
        groups[moyopy.library] = _by_moyopy(structure, rungs, moyopy)
    best: dict[int, Reach] = {}
    for one in _reaches(structure, rungs):
        if one.number not in best or one.max_displacement_A < best[one.number].max_displacement_A:
            best[one.number] = one
    reached = tuple(sorted(best.values(), key=lambda one: one.max_displacement_A))
    return SymmetryLadder(name, source, structure.composition.reduced_formula, tuple(rungs), groups, reached)


def _by_moyopy(structure: Structure, rungs: Sequence[Rung], moyopy: MoyopyProcess) -> tuple[Outcome, ...]:
    # It must not be given what spglib cannot take either: cells that are flat or not finite.
    found: list[Outcome] = []
    for rung in rungs:
        unusable = dataset(structure, *rung)
        if isinstance(unusable, SymmetryFailure) and unusable.reason != "spglib_failed":
            found.append(unusable)
            continue
        last = found[-1] if found else None
        if isinstance(last, SymmetryFailure) and last.reason == "moyopy_timeout":
            found.append(last)
            continue
        found.append(moyopy.space_group(structure, *rung))
    return tuple(found)


def _reaches(structure: Structure, rungs: Sequence[Rung]) -> list[Reach]:
    """Projections on the operations of each rung, those of P1 and repetitions left out."""
    lattice, frac, numbers = to_cell(structure)
    seen: set[bytes] = set()
    result = []
    for rung in rungs:
        found = dataset(structure, *rung)
        if isinstance(found, SymmetryFailure) or len(found.rotations) == 1:
            continue
        key = found.rotations.tobytes() + found.translations.tobytes()
        if key in seen:
            continue
        seen.add(key)
        projected = symmetrise(lattice, frac, numbers, found.rotations, found.translations)
        if projected is None:
            continue
        exact = Structure(Lattice(projected.lattice), [site.species for site in structure], projected.frac_coords)
        group = space_group(exact, *_EXACT)
        if isinstance(group, SymmetryFailure) or group.number == 1:
            continue  # pure translations of a cell that is not primitive are no symmetry
        lengths = np.linalg.norm(projected.displacements, axis=1)
        result.append(
            Reach(
                group.number,
                group.symbol,
                float(lengths.max()),
                float(np.sqrt(np.square(lengths).mean())),
                projected.strain,
                rung[0],
            )
        )
    return result


@dataclass(frozen=True)
class SymmetryReport:
    """The symmetry of many structures.

    Attributes:
        ladders: one for each structure.
        rungs: tolerances of all of them.
        missing: by source, structures that were started and never came to be: they count as not symmetric.
    """

    ladders: Sequence[SymmetryLadder]
    rungs: Sequence[Rung] = RUNGS
    missing: Mapping[str, int] = field(default_factory=dict)

    @property
    def sources(self) -> list[str]:
        """What structures are counted with, in their order."""
        return list(dict.fromkeys([*(one.source for one in self.ladders), *self.missing]))

    @property
    def libraries(self) -> list[str]:
        """Libraries that named groups."""
        return list(dict.fromkeys(library for one in self.ladders for library in one.groups))

    def share(self, source: str, library: str, rung: int, excluded: Collection[int]) -> Share:
        """Structures of `source` with a group outside `excluded` at rung number `rung`, among all that were started."""
        mine = [one for one in self.ladders if one.source == source]
        found = [one.groups[library][rung] for one in mine if library in one.groups]
        count = sum(isinstance(one, SpaceGroup) and one.number not in excluded for one in found)
        return wilson(count, len(mine) + self.missing.get(source, 0))

    def formulas(self, source: str) -> Counter[str]:
        """How many structures of `source` each formula has: those of one formula are no independent trials."""
        return Counter(one.formula for one in self.ladders if one.source == source)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "rungs": [{"symprec_A": symprec, "angle_tolerance_deg": angle} for symprec, angle in self.rungs],
            "interval": "Wilson, 95 %, structures as independent trials",
            "shares": [
                {
                    "source": source,
                    "library": library,
                    "excluded_groups": sorted(excluded),
                    "structures": len([one for one in self.ladders if one.source == source]),
                    "missing": self.missing.get(source, 0),
                    "formulas": len(self.formulas(source)),
                    "by_rung": [
                        self.share(source, library, rung, excluded).as_json() for rung in range(len(self.rungs))
                    ],
                }
                for source in self.sources
                for library in self.libraries
                for excluded in EXCLUSIONS.values()
            ],
            "structures": [one.as_json() for one in self.ladders],
        }
