"""The groups that a structure nearly has, each with what it costs and what speaks for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chggen_kit.symmetry.candidates import Candidates, find_candidates
from chggen_kit.symmetry.discrete import Discrete
from chggen_kit.symmetry.evidence import Freedom, freedom, log_evidence, log_strain_evidence
from chggen_kit.symmetry.groups import find_groups
from chggen_kit.symmetry.hidden import Sublattice
from chggen_kit.symmetry.reduction import minkowski_reduce, strains

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

_MAX_OPERATIONS = 400
_MAX_GROUPS = 400
_MAX_SUBLATTICES = 3
"""Bounds on the work for structures with many near symmetries; the best operations and sublattices are kept."""


@dataclass(frozen=True)
class Crystal:
    """A cell and what is in it.

    Attributes:
        lattice: rows in Å `[3, 3]`, Minkowski-reduced.
        frac: `[n_atoms, 3]`.
        numbers: one for each species `[n_atoms]`.
    """

    lattice: Array
    frac: Array
    numbers: Integers


@dataclass(frozen=True)
class Hypothesis:
    """One group for one crystal.

    Attributes:
        sublattice: primitive cell that the group belongs to.
        operations: of the primitive cell.
        frac: symmetric positions in the cell of the crystal `[n_atoms, 3]`, each near the one that it replaces.
        metric: symmetric metric of the crystal's cell, of any volume `[3, 3]`.
        lost: degrees of freedom that symmetry takes.
        square_A2: sum of the squared displacements.
        max_displacement_A: the largest of them.
        strain: largest logarithmic principal strain.
        evidence: log R of the positions.
        strain_evidence: log R of the cell.
        n_kinds: see `Candidates`.
    """

    sublattice: Sublattice
    operations: Discrete
    frac: Array
    metric: Array
    lost: Freedom
    square_A2: float
    max_displacement_A: float
    strain: float
    evidence: float
    strain_evidence: float
    n_kinds: int

    @property
    def n_ops(self) -> int:
        """Operations of the primitive cell times primitive cells in the crystal's cell."""
        return len(self.operations) * self.sublattice.size

    @property
    def triclinic(self) -> bool:
        """Whether there is nothing beyond inversion and translations."""
        return bool((np.abs(np.trace(self.operations.rotations, axis1=1, axis2=2)) == 3).all())


def hypotheses(crystal: Crystal, *, max_strain: float, max_rms_A: float) -> list[Hypothesis]:
    """All groups found for `crystal`, the trivial one first.

    Groups with pure translations are looked for in the primitive cells of those, groups without them in the
    crystal's own cell.

    Args:
        crystal: any.
        max_strain: see `lattice_rotations`.
        max_rms_A: see `find_candidates`.
    """
    own = _candidates(crystal, max_strain, max_rms_A)
    pure = (own.operations.rotations == np.eye(3, dtype=np.int64)).all(axis=(1, 2))
    trivial = Sublattice.trivial(len(crystal.frac))
    moving = np.flatnonzero(~pure | (np.arange(len(pure)) == 0))
    nothing = Freedom(0, 0, 0.0)
    found = list(_in_cell(crystal, crystal, trivial, nothing, own.operations[moving], own.n_kinds))
    for translations in _sublattices(crystal, own.operations[np.flatnonzero(pure)]):
        lost = freedom(translations, crystal.numbers)
        sublattice = Sublattice.of(translations, crystal.lattice)
        cell, frac = sublattice.cut(crystal.lattice, crystal.frac)
        primitive = Crystal(cell, frac, crystal.numbers[sublattice.first])
        inner = _candidates(primitive, max_strain, max_rms_A)
        pure = (inner.operations.rotations == np.eye(3, dtype=np.int64)).all(axis=(1, 2))
        moving = np.flatnonzero(~pure | (np.arange(len(pure)) == 0))
        found += _in_cell(crystal, primitive, sublattice, lost, inner.operations[moving], inner.n_kinds)
    return found


def _candidates(crystal: Crystal, max_strain: float, max_rms_A: float) -> Candidates:
    return find_candidates(
        crystal.lattice,
        crystal.frac,
        crystal.numbers,
        max_strain=max_strain,
        max_rms_A=max_rms_A,
        max_operations=_MAX_OPERATIONS,
    )


def _sublattices(crystal: Crystal, translations: Discrete) -> list[Discrete]:
    """Groups of pure translations that something speaks for, best first."""
    groups = [translations[group] for group in find_groups(translations.product_table(), _MAX_GROUPS)[1:]]
    scored = []
    for number, group in enumerate(groups):
        moved = (group.average(crystal.frac) - crystal.frac) @ crystal.lattice
        volume = abs(float(np.linalg.det(crystal.lattice)))
        evidence = log_evidence(freedom(group, crystal.numbers), float(np.square(moved).sum()), volume)
        if evidence > 0:
            scored.append((-evidence, number))
    return [groups[number] for _, number in sorted(scored)[:_MAX_SUBLATTICES]]


def _in_cell(
    crystal: Crystal, primitive: Crystal, sublattice: Sublattice, lost: Freedom, operations: Discrete, n_kinds: int
) -> Iterator[Hypothesis]:
    """Hypotheses from the groups among `operations` of `primitive`, which fills `crystal` by `sublattice`."""
    volume = abs(float(np.linalg.det(crystal.lattice)))
    for members in find_groups(operations.product_table(), _MAX_GROUPS):
        group = operations[members]
        metric = sublattice.metric(group.metric(primitive.lattice))
        frac = sublattice.fill(group.average(primitive.frac))
        principal = strains(crystal.lattice, metric[None])[0]
        scale = (np.linalg.det(crystal.lattice) ** 2 / np.linalg.det(metric)) ** (1 / 3)
        moved = frac - crystal.frac
        squares = np.einsum("ai,ij,aj->a", moved, metric * scale, moved)
        total = lost + freedom(group, primitive.numbers)
        yield Hypothesis(
            sublattice=sublattice,
            operations=group,
            frac=frac,
            metric=metric,
            lost=total,
            square_A2=float(squares.sum()),
            max_displacement_A=float(np.sqrt(squares.max())),
            strain=float(np.abs(principal).max()),
            evidence=log_evidence(total, float(squares.sum()), volume),
            strain_evidence=log_strain_evidence(total, float(np.square(principal).sum())),
            n_kinds=n_kinds,
        )


def reduce_crystal(lattice: Array, frac: Array, numbers: Integers) -> tuple[Crystal, Integers]:
    """Crystal in its Minkowski-reduced cell, and the integers T of `reduced = T @ lattice`."""
    reduced, transform = minkowski_reduce(lattice)
    return Crystal(reduced, frac @ np.round(np.linalg.inv(transform)), numbers), transform
