"""Is a predicted structure the known one? The rules by which crystal structure prediction is scored.

The rules are those of CDVAE (Xie et al., arXiv:2110.06197) and DiffCSP (Jiao et al., arXiv:2309.04475): pymatgen's
StructureMatcher with stol 0.5, ltol 0.3 and an angle tolerance of 10 degrees, which compares primitive, Niggli-reduced
cells scaled to the same volume, and gives the root mean square displacement over (V/N)^(1/3).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Composition, Lattice, Structure

from chggen_kit.errors import InputError

STOL = 0.5
LTOL = 0.3
ANGLE_TOLERANCE_DEG = 10.0
MIN_DISTANCE_A = 0.5
"""Shortest allowed distance of two different atoms of a valid structure (CDVAE)."""
MIN_VOLUME_A3 = 0.1
"""Smallest allowed volume of a valid cell (CDVAE)."""

_MAX_ELONGATION = 12.0
"""Longest vector of the reduced cell over the cube root of its volume. The matcher lists all lattice points within that
length: beyond this bound it takes minutes and all memory. 72,415 known crystals of up to 40 atoms stay below 8.6."""
_FLATTEST = 1e-9
"""Volume over the product of the lengths of the cell vectors below which float64 cannot reduce a cell."""

MATCHER_FAILURES = (ValueError, ArithmeticError, IndexError, RuntimeError, MemoryError, np.linalg.LinAlgError)
"""What the matcher raises on cells that it cannot reduce."""


@dataclass(frozen=True)
class Comparison:
    """Outcome of one comparison.

    Attributes:
        rmsd: root mean square displacement over (V/N)^(1/3), at most stol; None without a match.
        reason: None for a match, else why there is none: `different`, `composition`, `not-finite`, `no-volume`,
            `degenerate-cell`, `elongated-cell` or `matcher-failed`.
    """

    rmsd: float | None
    reason: str | None

    @property
    def matches(self) -> bool:
        """Whether the structures are the same."""
        return self.rmsd is not None


def unusable(structure: Structure) -> str | None:
    """Why no matcher should be given `structure`: `not-finite`, `no-volume`, `degenerate-cell`, `elongated-cell`."""
    matrix = structure.lattice.matrix
    if not (np.isfinite(matrix).all() and np.isfinite(structure.frac_coords).all()):
        return "not-finite"
    volume = abs(float(np.linalg.det(matrix)))
    if volume < MIN_VOLUME_A3:
        return "no-volume"
    if volume < _FLATTEST * float(np.linalg.norm(matrix, axis=1).prod()):
        return "degenerate-cell"
    longest = float(np.linalg.norm(Lattice(matrix).lll_matrix, axis=1).max())
    return "elongated-cell" if longest > _MAX_ELONGATION * volume ** (1 / 3) else None


class CspMatcher:
    """Compares predictions with references by the rules above."""

    def __init__(
        self, *, stol: float = STOL, ltol: float = LTOL, angle_tolerance_deg: float = ANGLE_TOLERANCE_DEG
    ) -> None:
        if not (stol > 0 and ltol > 0 and angle_tolerance_deg > 0):
            raise InputError(
                f"Tolerances of a match must be positive, not stol {stol}, ltol {ltol}, angle {angle_tolerance_deg}."
            )
        self.stol = stol
        self._matcher = StructureMatcher(stol=stol, ltol=ltol, angle_tol=angle_tolerance_deg)
        self.description = f"StructureMatcher(stol={stol:g}, ltol={ltol:g}, angle_tol={angle_tolerance_deg:g})"

    def compare(self, predicted: Structure, reference: Structure) -> Comparison:
        """Whether `predicted` is `reference`; whatever is wrong with either is a reason, not an error."""
        for structure in (predicted, reference):
            reason = unusable(structure)
            if reason is not None:
                return Comparison(None, reason)
        if not predicted.composition.reduced_composition.almost_equals(reference.composition.reduced_composition):
            return Comparison(None, "composition")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of divisions in the reduction of odd cells
                found = self._matcher.get_rms_dist(predicted, reference)
        except MATCHER_FAILURES:
            return Comparison(None, "matcher-failed")
        return Comparison(None, "different") if found is None else Comparison(float(found[0]), None)


def is_valid_structure(structure: Structure) -> bool:
    """The structural half of CDVAE's validity: a volume of 0.1 Å^3, and 0.5 Å between any two different atoms.

    Distances are between nearest images of different atoms; an atom and its own images are not judged, as there.
    """
    if unusable(structure) in {"not-finite", "no-volume", "degenerate-cell"}:
        return False
    distances = np.array(structure.distance_matrix)
    np.fill_diagonal(distances, np.inf)
    return bool(distances.min() >= MIN_DISTANCE_A)


def smact_is_installed() -> bool:
    """Whether `is_valid_composition` can be asked."""
    return find_spec("smact") is not None


def is_valid_composition(composition: Composition) -> bool:
    """The chemical half of CDVAE's validity: SMACT finds charges that balance and follow electronegativity.

    Elements and alloys of metals alone count as valid. The oxidation states are SMACT's of 2014, which CDVAE and
    DiffCSP used; many known intermetallics (Li5Si2) fail, so a rate behind this gate cannot reach 100 %.

    Raises:
        InputError: without the package `smact` (extra `csp`).
    """
    try:
        from smact.screening import smact_validity
    except ImportError as error:
        raise InputError(
            "The gate on compositions needs the package smact. Install it with: pip install 'chggen-kit[csp]'."
        ) from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bool(smact_validity(composition.reduced_composition, oxidation_states_set="smact14"))
