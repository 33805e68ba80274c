"""Random crystals of a space group: the null of symmetrised sampling, and templates for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pymatgen.core import Lattice, Structure

from chggen_kit.errors import InputError
from chggen_kit.metrics.geometry import fold
from chggen_kit.symmetry.cells import random_cell, settings, system_of
from chggen_kit.symmetry.operations import SymmetryOperations
from chggen_kit.symmetry.prior import SymmetryPrior
from chggen_kit.symmetry.spacing import is_clear, lattice_is_open, near_images
from chggen_kit.symmetry.symmetrise import match_images
from chggen_kit.symmetry.wyckoff import Assignment, PrimitiveGroup, assignments, can_host, primitive_group
from chggen_kit.torus import reduced_cell

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

ABOVE_TRICLINIC = tuple(range(3, 231))
"""Space groups above P-1."""
_SEVERAL = 12
"""Assignments that a prior chooses from."""


@dataclass(frozen=True)
class Effort:
    """How hard a crystal is tried.

    Attributes:
        min_distance_A: between any two atoms, images included, in Å.
        groups: space groups drawn before giving up.
        arrangements: for each group, draws of cell and Wyckoff assignment.
        positions: for each orbit, draws of its free coordinates.
    """

    min_distance_A: float = 1.5
    groups: int = 10
    arrangements: int = 20
    positions: int = 20


@dataclass(frozen=True)
class SymmetricCrystal:
    """A random crystal of a space group.

    Attributes:
        structure: atoms element by element, in the order of the counts.
        operations: the group, in the cell of `structure`.
        number: of the space group that was drawn; the crystal may have more symmetry by chance.
        assignment: occupied orbits.
    """

    structure: Structure
    operations: SymmetryOperations
    number: int
    assignment: Assignment


def hosting_groups(
    counts: Mapping[str, int], groups: Sequence[int] = ABOVE_TRICLINIC, lattice: Array | None = None
) -> tuple[int, ...]:
    """Space groups among `groups` whose Wyckoff multiplicities in a primitive cell can add up to `counts`.

    Args:
        counts: atoms of each element in the cell.
        groups: numbers to choose from.
        lattice: a given cell, rows in Å `[3, 3]`: only groups that are compatible with it as their primitive cell.
    """
    sizes = tuple(counts.values())
    return tuple(
        number
        for number in groups
        if can_host(sizes, number)
        and (lattice is None or settings(lattice, system_of(number), primitive_group(number).basis))
    )


def random_symmetric_crystal(
    counts: Mapping[str, int],
    rng: np.random.Generator,
    *,
    volume_A3: float | None = None,
    lattice: Array | None = None,
    groups: Sequence[int] = ABOVE_TRICLINIC,
    effort: Effort | None = None,
    prior: SymmetryPrior | None = None,
) -> SymmetricCrystal | None:
    """A crystal of a random space group with random atoms on its Wyckoff positions; None when none was found.

    The group is drawn uniformly among those that can host the counts (one that finds no room is given up for another
    draw, so that what comes out favours groups with room), the Wyckoff assignment as `assignments` does with a random
    order, free coordinates uniformly.

    Args:
        counts: atoms of each element in the cell, which is a primitive one.
        rng: all randomness.
        volume_A3: of the cell in Å^3; the cell is then drawn within the crystal system of the group.
        lattice: the cell itself, rows in Å `[3, 3]`; one of `volume_A3` and `lattice` must be given.
        groups: space groups to choose from.
        effort: how hard to try, and the shortest distance.
        prior: chooses groups and assignments by what is usual; None for the uniform choice described above.

    Raises:
        InputError: when neither or both of `volume_A3` and `lattice` are given, or a count is not positive.
    """
    if (volume_A3 is None) == (lattice is None):
        raise InputError("A random symmetric crystal needs either a volume or a cell.")
    if not counts or min(counts.values()) < 1:
        raise InputError(f"Counts of atoms must be at least 1, not {dict(counts)}.")
    effort = effort or Effort()
    able = hosting_groups(counts, groups, lattice)
    if not able:
        return None
    for _ in range(effort.groups):
        number = able[int(rng.integers(len(able)))] if prior is None else prior.choose_group(able, rng)
        group = primitive_group(number)
        for _ in range(effort.arrangements):
            found = _arrange(counts, group, rng, volume_A3, lattice, effort, prior)
            if found is not None:
                return found
    return None


def _arrange(
    counts: Mapping[str, int],
    group: PrimitiveGroup,
    rng: np.random.Generator,
    volume_A3: float | None,
    lattice: Array | None,
    effort: Effort,
    prior: SymmetryPrior | None,
) -> SymmetricCrystal | None:
    """One draw of a cell, an assignment and coordinates."""
    if prior is None:
        assignment = next(assignments(counts, group.positions, rng))
    else:
        several = [next(assignments(counts, group.positions, rng)) for _ in range(_SEVERAL)]
        assignment = prior.choose_assignment(several, group.positions, rng)
    if lattice is not None:
        choices = settings(lattice, system_of(group.number), group.basis)
        change = choices[int(rng.integers(len(choices)))]
        cell = lattice
    else:
        # One of the two is given; see `random_symmetric_crystal`.
        volume = float(volume_A3 or 0.0)
        conventional = random_cell(system_of(group.number), volume * group.centring, rng)
        primitive = group.basis @ conventional
        cell = reduced_cell(torch.from_numpy(primitive)[None])[0].numpy()
        change = np.rint(primitive @ np.linalg.inv(cell)).astype(np.int64)
    coords = _place(assignment, group, change, cell, rng, effort, given_cell=lattice is not None)
    if coords is None:
        return None
    symbols = [symbol for symbol, index in assignment for _ in range(group.positions[index].multiplicity)]
    kinds = list(counts)
    own = SymmetryOperations(
        group.rotations, group.translations, np.zeros((len(group.rotations), 0), dtype=np.int64)
    ).in_basis(change.astype(np.float64))
    permutations = match_images(
        coords, cell, [kinds.index(symbol) for symbol in symbols], own.rotations, own.translations
    )
    operations = SymmetryOperations(own.rotations, own.translations, permutations)
    structure = Structure(Lattice(cell.copy()), symbols, fold(coords))
    return SymmetricCrystal(structure, operations, group.number, assignment)


def _place(
    assignment: Assignment,
    group: PrimitiveGroup,
    change: Integers,
    cell: Array,
    rng: np.random.Generator,
    effort: Effort,
    *,
    given_cell: bool,
) -> Array | None:
    """Coordinates in `cell` of all orbits `[n_atoms, 3]`; those without free coordinates are placed first."""
    images = near_images(cell, effort.min_distance_A)
    if not given_cell and not lattice_is_open(images, cell, effort.min_distance_A):
        return None
    placed: dict[int, Array] = {}
    for number in sorted(range(len(assignment)), key=lambda one: group.positions[assignment[one][1]].dof):
        position = group.positions[assignment[number][1]]
        present = np.concatenate([np.zeros((0, 3)), *placed.values()])
        for _ in range(effort.positions if position.dof else 1):
            orbit = _orbit(position.point(rng.random(position.dof)), group)
            if len(orbit) != position.multiplicity:
                continue  # the point has more symmetry than the position: a draw of probability zero
            own = orbit @ change
            if is_clear(own, present, cell, images, effort.min_distance_A):
                placed[number] = own
                break
        else:
            return None
    return np.concatenate([placed[number] for number in range(len(assignment))])


def _orbit(point: Array, group: PrimitiveGroup) -> Array:
    """All images of a point in the primitive cell, each once `[multiplicity, 3]`."""
    images = fold(group.rotations @ point + group.translations)
    kept: list[Array] = []
    for image in images:
        if not any(np.abs(image - other - np.round(image - other)).max() < 1e-6 for other in kept):
            kept.append(image)
    return np.array(kept)
