"""Which structures of a system are the same, and which are known: composition, then a fingerprint, then a matcher."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pymatgen.core import Structure

from chggen_kit.benchmark.spec import Matching
from chggen_kit.evaluation.rows import to_structure
from chggen_kit.io.convert import to_batch
from chggen_kit.io.readers import canonical_formula, read_structures
from chggen_kit.metrics.matching import CspMatcher, unusable
from chggen_kit.thermo.packaged import packaged_set
from chggen_kit.torus import neighbours

REACH = 2.2
"""Radius of the fingerprint in units of (V/N)^(1/3): the first two or three shells."""
AnyKey = TypeVar("AnyKey", bound=Hashable)
_BINS = 44
_WIDTH = 0.2
"""Smearing in the same units; atoms that a matcher takes for the same may lie that far apart."""


def far(stol: float) -> float:
    """Distance of two fingerprints (0: equal; sqrt(2): nothing in common) from which no matcher is asked.

    The matcher forgives much: of crystals distorted until it gave up, matches lay up to 0.44 apart with stol 0.3 and
    0.68 with stol 0.5 (three types, 322 matches).
    """
    return 0.05 + 1.5 * stol


def fingerprint(structure: Structure) -> NDArray[np.float64]:
    """Smeared distances of the pairs of each two elements, of length 1: `[n_pairs * n_bins]`.

    It does not depend on the cell that was chosen, nor on the volume, which matchers scale too. Elements are taken in
    the order of their numbers, so fingerprints of equal compositions can be compared.
    """
    scaled = structure.copy()
    scaled.scale_lattice(float(len(structure)))
    batch = to_batch([scaled])
    found = neighbours(batch.frac_coords.double(), batch.lattice.double(), batch.num_atoms, REACH + 2 * _WIDTH)
    elements = sorted({site.specie.Z for site in structure})
    place = {number: index for index, number in enumerate(elements)}
    kinds = torch.tensor([place[site.specie.Z] for site in structure])
    low = torch.minimum(kinds[found.source], kinds[found.target])
    high = torch.maximum(kinds[found.source], kinds[found.target])
    centres = torch.linspace(0, REACH, _BINS, dtype=torch.float64)
    distance = found.vector.double().norm(dim=1)
    smeared = torch.exp(-0.5 * ((centres[None] - distance[:, None]) / _WIDTH) ** 2) / distance[:, None] ** 2
    table = torch.zeros(len(elements) ** 2, _BINS, dtype=torch.float64)
    table.index_add_(0, low * len(elements) + high, smeared)
    flat = table.flatten().numpy() / len(structure)
    length = float(np.linalg.norm(flat))
    return flat / length if length else flat


@dataclass(frozen=True)
class Known:
    """A known structure.

    Attributes:
        name: of it.
        structure: the structure.
    """

    name: str
    structure: Structure


def read_known(paths: Iterable[Path], formulas: Collection[str]) -> list[Known]:
    """Known structures of the `formulas` (as `formula_key` writes them) from structure files, folders and data sets.

    Raises:
        InputError: when one cannot be read.
    """
    return [
        Known(row.id, to_structure(row)) for path in paths for row in read_structures(path) if row.formula in formulas
    ]


def packaged_known(symbols: Collection[str], formulas: Collection[str]) -> list[Known]:
    """Phases of the `formulas` among the references that ship with the kit; empty where these cover no such system."""
    phases = packaged_set()
    if not phases.covers(symbols):
        return []
    found = [Known(one.id, one.structure.structure()) for one in phases.phases]
    return [one for one in found if formula_key(one.structure) in formulas]


def formula_key(structure: Structure) -> str:
    """Reduced formula in one form, whatever the order of the elements."""
    return canonical_formula(Counter(site.specie.Z for site in structure))


class Sameness:
    """Sorts structures into kinds; asked for the same structures in the same order, it gives the same kinds."""

    def __init__(self, matching: Matching) -> None:
        self._matcher = CspMatcher(
            stol=matching.stol, ltol=matching.ltol, angle_tolerance_deg=matching.angle_tolerance_deg
        )
        self.far = far(matching.stol)
        self.asked = 0

    def distance(self, one: Structure, other: Structure) -> float | None:
        """Root mean square distance over (V/N)^(1/3) of two structures that are the same; None for different ones."""
        self.asked += 1
        return self._matcher.compare(one, other).rmsd

    def kinds(self, structures: Sequence[Structure]) -> list[str | None]:
        """A name for each kind, the same for structures that are; None for those that cannot be compared.

        Each structure is compared with the first one of each kind.
        """
        firsts: dict[str, list[tuple[NDArray[np.float64], Structure, str]]] = {}
        result: list[str | None] = []
        for structure in structures:
            if unusable(structure) is not None:
                result.append(None)
                continue
            key, print_ = formula_key(structure), fingerprint(structure)
            mine = firsts.setdefault(key, [])
            name = None
            for _, index in sorted((float(np.linalg.norm(print_ - one[0])), i) for i, one in enumerate(mine)):
                if np.linalg.norm(print_ - mine[index][0]) > self.far:
                    break
                if self.distance(structure, mine[index][1]) is not None:
                    name = mine[index][2]
                    break
            if name is None:
                name = f"{key}-{len(mine)}"
                mine.append((print_, structure, name))
            result.append(name)
        return result

    def matches(
        self, structures: Mapping[AnyKey, Structure], known: Sequence[Known]
    ) -> dict[AnyKey, tuple[str | None, float | None]]:
        """For each named structure the nearest known one that it is, and its distance; (None, None) for a new one."""
        by_formula: dict[str, list[tuple[NDArray[np.float64], Known]]] = {}
        for one in known:
            if unusable(one.structure) is None:
                by_formula.setdefault(formula_key(one.structure), []).append((fingerprint(one.structure), one))
        result: dict[AnyKey, tuple[str | None, float | None]] = {}
        for name, structure in structures.items():
            candidates = by_formula.get(formula_key(structure), []) if unusable(structure) is None else []
            print_ = fingerprint(structure) if candidates else None
            best: tuple[str | None, float | None] = (None, None)
            for other, one in candidates:
                if print_ is None or np.linalg.norm(print_ - other) > self.far:
                    continue
                found = self.distance(structure, one.structure)
                if found is not None and (best[1] is None or found < best[1]):
                    best = (one.name, found)
            result[name] = best
        return result
