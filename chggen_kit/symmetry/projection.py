"""The symmetric structures nearest to any structure, without a ladder of tolerances."""

from __future__ import annotations

import logging
import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Structure

from chggen_kit.errors import InputError
from chggen_kit.io.convert import with_coordinates
from chggen_kit.metrics.geometry import displacements, fold, mean_cell, minimum_distance
from chggen_kit.metrics.symmetry import SymmetryFailure, is_symmetric, to_cell
from chggen_kit.symmetry.naming import name_group
from chggen_kit.symmetry.operations import SymmetryOperations
from chggen_kit.symmetry.options import ProjectionOptions
from chggen_kit.symmetry.search import Hypothesis, hypotheses, reduce_crystal
from chggen_kit.symmetry.symmetrise import cell_with_metric, match_images

__all__ = ["Projection", "ProjectionOptions", "Survey", "nearest_symmetric"]

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

_LOG = logging.getLogger(__name__)

TIGHT_SYMPREC_A = 0.01
TIGHT_ANGLE_DEG = 1.0
"""Tolerances at which the group of a projected structure is named."""
_MARGIN = 3.0
"""The best group must be likelier than the best triclinic one by this, cell and positions together."""
_ENOUGH_ATOMS = 4
_TIE = 1e-6


@dataclass(frozen=True)
class Projection:
    """A structure moved onto a symmetric one.

    Attributes:
        structure: exactly symmetric, in the cell, axes and atom order of the input and with its volume.
        operations: the operations that were imposed and that fit this cell: all of them in a primitive cell; where the
            group belongs to a smaller cell, only those that leave the larger one as it is.
        max_displacement_A: largest displacement in Å, in the mean cell, without the common drift.
        rms_displacement_A: root mean square of the same.
        strain: largest logarithmic principal strain of the cell.
        spacegroup_number: 1 to 230, at 0.01 Å: now and then more than was imposed.
        spacegroup_symbol: Hermann-Mauguin symbol.
        n_ops: operations that were imposed, of the primitive cell.
        evidence: natural logarithm of how much likelier the positions are with this group and some noise than by
            chance (see `chggen_kit.symmetry.evidence`).
        library: library and version that named the group.
    """

    structure: Structure
    operations: SymmetryOperations
    max_displacement_A: float
    rms_displacement_A: float
    strain: float
    spacegroup_number: int
    spacegroup_symbol: str
    n_ops: int
    evidence: float
    library: str


def nearest_symmetric(structure: Structure, options: ProjectionOptions | None = None) -> list[Projection]:
    """Symmetric structures near `structure`, best first; empty when nothing speaks for any group.

    Candidate operations, groups among them and projections need no tolerance but the caps of `options`; whether a
    group is believed is decided by `min_evidence` (see `credible`). Nothing here is random.

    Raises:
        InputError: when the structure is disordered or has no atoms, its cell is flat, or values are not finite.
    """
    options = options or ProjectionOptions()
    return Survey(structure, max_strain=options.max_strain, max_rms_A=options.max_rms_displacement_A).best(options)


class Survey:
    """All groups that a structure nearly has, from which options choose.

    Args:
        structure: any.
        max_strain: largest logarithmic principal strain.
        max_rms_A: largest displacement in Å, root mean square.

    Raises:
        InputError: when the structure is disordered or has no atoms, its cell is flat, or values are not finite.
    """

    def __init__(self, structure: Structure, *, max_strain: float, max_rms_A: float) -> None:
        _check(structure)
        lattice, frac, numbers = to_cell(structure)
        crystal, transform = reduce_crystal(lattice, frac, np.asarray(numbers, dtype=np.int64))
        self.structure = structure
        self.found = hypotheses(crystal, max_strain=max_strain, max_rms_A=max_rms_A)
        self._numbers, self._transform = numbers, transform
        self._made: dict[Hashable, Projection | str] = {}

    def best(self, options: ProjectionOptions) -> list[Projection]:
        """Projections on the groups that `options` choose, whose caps count where they are below the survey's."""
        chosen = _sorted(credible(self.found, options, len(self.structure)), options.order_by)
        if options.pareto:
            chosen = _front(chosen)
        projections: list[Projection] = []
        for one in chosen:
            projection = self._projected(one, options)
            if isinstance(projection, str):
                _LOG.debug("%s, %d operations: %s", self.structure.composition.formula, one.n_ops, projection)
                continue
            if projection.spacegroup_number not in {other.spacegroup_number for other in projections}:
                projections.append(projection)
            if len(projections) == options.max_hosts:
                break
        return projections

    def _projected(self, one: Hypothesis, options: ProjectionOptions) -> Projection | str:
        """The projection on one group, made once however many options are tried."""
        key = (id(one), options.min_distance_A, options.excluded_groups, options.library)
        if key not in self._made:
            self._made[key] = _project(self.structure, self._numbers, one, self._transform, options)
        return self._made[key]


def credible(found: Sequence[Hypothesis], options: ProjectionOptions, n_atoms: int) -> list[Hypothesis]:
    """Those of the hypotheses within the caps that are more than chance.

    Two conditions, unless `min_evidence` is None. Against chance positions in the same cell, log R of the positions
    must reach `min_evidence` plus the logarithm of the number of kinds of rotations that nearly fit the cell, since
    each was an occasion for a chance hit. Two atoms can give no such evidence, and one gives none: below four atoms
    the threshold falls in proportion to the atoms besides the first. Of 1,476 known crystals with up to three atoms in
    the primitive cell one is triclinic.

    Against the best hypothesis with no more than inversion and translations, log R of positions and cell together must
    be higher by 3: a triclinic crystal is not called more for the evidence that its inversion alone has.

    A cell alone is no evidence: random atoms in a cubic cell are not symmetric.
    """
    within = [
        one
        for one in found
        if one.max_displacement_A <= options.max_displacement_A
        and math.sqrt(one.square_A2 / n_atoms) <= options.max_rms_displacement_A
        and one.strain <= options.max_strain
        and one.n_ops > 1
    ]
    if options.min_evidence is None:
        return within
    triclinic = max(one.evidence + one.strain_evidence for one in found if one.triclinic)
    share = min(1.0, (n_atoms - 1) / (_ENOUGH_ATOMS - 1))
    return [
        one
        for one in within
        if one.evidence >= share * (options.min_evidence + math.log(max(1, one.n_kinds))) - _TIE
        and (one.triclinic or one.evidence + one.strain_evidence >= triclinic + _MARGIN)
    ]


def likelihood(one: Hypothesis) -> float:
    """Which group is likeliest: log R of positions and cell, and prior odds by the square of the number of operations.

    Two groups often explain a crystal of few atoms equally well. Nature has the larger one then: on known crystals
    with noise (0.1 Å, 1 %) the right group came first for 95 % with these odds, and for 88 % with even ones.
    """
    return one.evidence + one.strain_evidence + 2 * math.log(one.n_ops)


def _check(structure: Structure) -> None:
    name = structure.composition.formula if len(structure) else "The structure"
    if len(structure) == 0:
        raise InputError("The structure has no atoms, so that there is nothing to symmetrise.")
    if not structure.is_ordered:
        raise InputError(
            f"{name} has partial occupancies, which cannot be symmetrised. Choose an ordered arrangement first."
        )
    if not (np.isfinite(structure.frac_coords).all() and np.isfinite(structure.lattice.matrix).all()):
        raise InputError(
            f"{name} holds coordinates that are not finite, as a relaxation that went wrong leaves them. "
            "Symmetrise the structure from before."
        )


def _sorted(found: Sequence[Hypothesis], order_by: str) -> list[Hypothesis]:
    """Best first. Of equal ones the larger group is better, as where it moves nothing more."""

    def rank(one: Hypothesis) -> tuple[float, ...]:
        evidence, square = round(likelihood(one) / _TIE), round(one.square_A2 / _TIE)
        if order_by == "operations":
            return (-one.n_ops, -evidence, square)
        if order_by == "displacement":
            return (square, -one.n_ops, -evidence)
        return (-evidence, -one.n_ops, square)

    return sorted(found, key=rank)


def _front(chosen: Sequence[Hypothesis]) -> list[Hypothesis]:
    """Those that no other one beats in displacement or number of operations without losing in the other."""

    def beats(other: Hypothesis, one: Hypothesis) -> bool:
        no_worse = other.n_ops >= one.n_ops and other.square_A2 <= one.square_A2 + _TIE
        return no_worse and (other.n_ops > one.n_ops or other.square_A2 < one.square_A2 - _TIE)

    return [one for one in chosen if not any(beats(other, one) for other in chosen)]


def _project(
    structure: Structure, numbers: Sequence[int], one: Hypothesis, transform: Integers, options: ProjectionOptions
) -> Projection | str:
    """The structure with the group of `one`, or why not."""
    back = np.round(np.linalg.inv(transform))
    cell, strain = cell_with_metric(structure.lattice.matrix, back @ one.metric @ back.T)
    frac = one.frac @ transform
    moved = displacements(frac - structure.frac_coords, mean_cell(structure.lattice.matrix, cell))
    lengths = np.linalg.norm(moved, axis=1)
    symmetric = with_coordinates(structure, fold(frac), cell)
    if minimum_distance(symmetric) < options.min_distance_A:
        return "atoms came too close"
    rotations, translations = own_operations(one, transform)
    group = name_group(symmetric, TIGHT_SYMPREC_A, TIGHT_ANGLE_DEG, options.library, options.time_limit_s)
    if isinstance(group, SymmetryFailure):
        return group.detail
    if not is_symmetric(group.number, options.excluded_groups):
        return f"space group {group.symbol} is excluded"
    permutations = match_images(symmetric.frac_coords, cell, numbers, rotations, translations)
    return Projection(
        structure=symmetric,
        operations=SymmetryOperations(rotations, translations, permutations),
        max_displacement_A=float(lengths.max()),
        rms_displacement_A=float(np.sqrt(np.square(lengths).mean())),
        strain=strain,
        spacegroup_number=group.number,
        spacegroup_symbol=group.symbol,
        n_ops=len(one.operations),
        evidence=one.evidence,
        library=group.library,
    )


def own_operations(one: Hypothesis, transform: Integers) -> tuple[Integers, Array]:
    """Operations of the group of `one` that fit the cell of the input, whose reduced cell is `transform` times it.

    Returns:
        Rotations `[n, 3, 3]` and translations `[n, 3]`, the identity first.
    """
    sublattice = one.sublattice
    into = (sublattice.basis @ transform).T
    inside: Array = one.frac[sublattice.first] @ np.linalg.inv(sublattice.basis)
    turned = into @ one.operations.rotations @ np.linalg.inv(into)
    rotations = np.round(turned).astype(np.int64)
    fits = np.abs(turned - rotations).max(axis=(1, 2)) < _TIE
    shifts = one.operations.translations(inside - sublattice.cells[sublattice.first]) @ into.T
    repeated = sublattice.cells[sublattice.image_of == 0]
    pure = (repeated - repeated[0]) @ into.T
    pure = pure[np.argsort(np.abs(pure - np.round(pure)).max(axis=1) > _TIE, kind="stable")]
    n_ops, n_pure = int(fits.sum()), len(pure)
    translations = (shifts[fits][:, None] + pure[None]).reshape(n_ops * n_pure, 3)
    return np.repeat(rotations[fits], n_pure, axis=0), fold(translations)
