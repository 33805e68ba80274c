"""Guests on orbits of their host's symmetry, or of a subgroup of it: templates for sampling within a symmetry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Structure

from chggen_kit.errors import InputError
from chggen_kit.metrics.geometry import fold
from chggen_kit.metrics.symmetry import SymmetryFailure, dataset, to_cell
from chggen_kit.symmetry.operations import SymmetryOperations
from chggen_kit.symmetry.positions import Position, positions
from chggen_kit.symmetry.spacing import is_clear, near_images
from chggen_kit.symmetry.subgroups import subgroups
from chggen_kit.symmetry.symmetrise import match_images
from chggen_kit.symmetry.wyckoff import Assignment, assignments

Array = NDArray[np.float64]

_GRIDS = (24, 48, 72)
"""Translations are multiples of 1/24 in a primitive cell on a standard origin; in doubled or tripled cells of less."""
_SAME_POINT_A = 0.05
"""Images closer than this in Å are one point: orbits with more symmetry than asked for would be closer still."""
_NAMING = (0.01, 1.0)
"""Tolerances (Å, degrees) at which the standard origin of the host is looked up."""


@dataclass(frozen=True)
class GuestTemplate:
    """A host with guests on orbits of a group of operations.

    Attributes:
        structure: the host's atoms, unmoved, in their order, then the guests, element by element.
        operations: the group, for all atoms of `structure`.
        host_operations: how many operations the host has; more than `operations.n_ops` where a subgroup was needed.
        assignment: orbits of the guests: element, number of the Wyckoff position.
    """

    structure: Structure
    operations: SymmetryOperations
    host_operations: int
    assignment: Assignment


def guest_orbits(
    host: Structure,
    operations: SymmetryOperations,
    guest_counts: Mapping[str, int],
    rng: np.random.Generator,
    *,
    min_distance_A: float = 1.5,
    attempts: int = 50,
    least_operations: int = 2,
) -> GuestTemplate:
    """Guests on Wyckoff orbits of the host's group that add up to `guest_counts`, free coordinates at random.

    The whole group is tried first, then subgroups, larger ones first, in random order among those of one size.

    Args:
        host: exactly symmetric (see `find_operations`), without guests.
        operations: its operations, in its own cell.
        guest_counts: guests in that cell, by element symbol.
        rng: all randomness.
        min_distance_A: between a guest and any other atom, images included; an atom and its own images are not judged.
        attempts: assignments tried for each group, each with one draw of the free coordinates of every orbit.
        least_operations: subgroups with fewer are not tried: 2 leaves the guests at least one symmetry.

    Raises:
        InputError: when no group can hold the guests, with the reason; or when the operations are not the host's.
    """
    if operations.n_atoms != len(host):
        raise InputError(f"The operations permute {operations.n_atoms} atoms; the host has {len(host)}.")
    origin, grid = _origin(host, operations)
    full_orbits: list[int] = []
    could_add_up = False
    for indices in subgroups(operations, rng):
        if len(indices) < least_operations:
            continue
        group = _chosen(operations, indices)
        places = _open_places(group, host, origin, grid, min_distance_A)
        if len(indices) == operations.n_ops:
            full_orbits = sorted({place.multiplicity for place in places})
        for number, assignment in enumerate(_random_assignments(guest_counts, places, rng, attempts)):
            could_add_up = True
            coords = _draw(assignment, places, group, host, origin, rng, min_distance_A)
            if coords is not None:
                return _template(host, group, operations.n_ops, guest_counts, assignment, coords)
            if number + 1 == attempts:
                break
    raise InputError(_why(host, operations, guest_counts, full_orbits, min_distance_A, could_add_up=could_add_up))


def _random_assignments(
    counts: Mapping[str, int], places: Sequence[Position], rng: np.random.Generator, attempts: int
) -> Iterator[Assignment]:
    """Random assignments, each from a fresh shuffle: the first ones of a single shuffle are all alike."""
    for _ in range(attempts):
        found = next(assignments(counts, places, rng), None)
        if found is None:
            return
        yield found


def _why(
    host: Structure,
    operations: SymmetryOperations,
    counts: Mapping[str, int],
    full_orbits: Sequence[int],
    distance_A: float,
    *,
    could_add_up: bool,
) -> str:
    wanted = ", ".join(f"{symbol}={count}" for symbol, count in counts.items())
    where = f"The guests {wanted} cannot be placed within the symmetry of the host {host.composition.formula}"
    sizes = ", ".join(str(size) for size in full_orbits) or "none"
    if could_add_up:
        return (
            f"{where}: there are orbits of the right sizes, but on none of them do the guests keep {distance_A} Å from "
            "each other and from the host. Use a smaller min_distance_A or more attempts, or fewer guests."
        )
    return (
        f"{where}: its {operations.n_ops} operations have open orbits of {sizes} points in this cell, and neither "
        "these nor those of any subgroup with at least two operations add up to the counts. Change the number of "
        "guests (or of formula units in the cell), or place them without symmetry."
    )


def _origin(host: Structure, operations: SymmetryOperations) -> tuple[Array, int]:
    """An origin on which all translations are multiples of 1/grid, in the host's own cell, and that grid."""
    candidates = [np.zeros(3)]
    found = dataset(host, *_NAMING)
    if not isinstance(found, SymmetryFailure):
        # Standard coordinates are P x + p: the standard origin lies at -P^-1 p.
        candidates.insert(0, -np.linalg.solve(found.transformation_matrix, found.origin_shift))
    for origin in candidates:
        shifts = _shifted(operations, origin)
        for grid in _GRIDS:
            if np.abs(shifts - np.rint(shifts * grid) / grid).max() < 2e-3:
                return origin, grid
    raise InputError(
        f"The symmetry operations of the host {host.composition.formula} fit no standard origin. Take them from "
        "chggen_kit.symmetry.find_operations, together with the structure that it returns."
    )


def _shifted(operations: SymmetryOperations, origin: Array) -> Array:
    return np.asarray(operations.translations + operations.rotations @ origin - origin)


def _chosen(operations: SymmetryOperations, indices: Sequence[int]) -> SymmetryOperations:
    rows = list(indices)
    return SymmetryOperations(operations.rotations[rows], operations.translations[rows], operations.permutations[rows])


def _open_places(
    group: SymmetryOperations, host: Structure, origin: Array, grid: int, distance_A: float
) -> tuple[Position, ...]:
    """Wyckoff positions of the group, without the points that the host's atoms leave no room for."""
    cell = host.lattice.matrix
    images = near_images(cell, distance_A)
    found = []
    for place in positions(group.rotations, _shifted(group, origin), grid):
        if place.dof == 0:
            orbit = _orbit(place, np.zeros(0), group, origin, cell)
            if orbit is None or not is_clear(orbit, host.frac_coords, cell, images, distance_A):
                continue
        found.append(place)
    return tuple(found)


def _orbit(place: Position, parameters: Array, group: SymmetryOperations, origin: Array, cell: Array) -> Array | None:
    """Images of a point of a position `[multiplicity, 3]`; None when they are more or fewer."""
    images = group.rotations @ (place.point(parameters) + origin) + group.translations
    kept: list[Array] = []
    for image in images:
        offsets = np.array([image - other - np.round(image - other) for other in kept]).reshape(-1, 3)
        if not (np.linalg.norm(offsets @ cell, axis=1) < _SAME_POINT_A).any():
            kept.append(image)
    return np.array(kept) if len(kept) == place.multiplicity else None


def _draw(
    assignment: Assignment,
    places: Sequence[Position],
    group: SymmetryOperations,
    host: Structure,
    origin: Array,
    rng: np.random.Generator,
    distance_A: float,
) -> Array | None:
    """Coordinates of the guests, orbit by orbit `[n_guests, 3]`."""
    cell = host.lattice.matrix
    images = near_images(cell, distance_A)
    present = host.frac_coords
    for _, index in assignment:
        orbit = _orbit(places[index], rng.random(places[index].dof), group, origin, cell)
        if orbit is None or not is_clear(orbit, present, cell, images, distance_A):
            return None
        present = np.concatenate([present, orbit])
    return np.asarray(present[len(host) :])


def _template(
    host: Structure,
    group: SymmetryOperations,
    host_operations: int,
    counts: Mapping[str, int],
    assignment: Assignment,
    coords: Array,
) -> GuestTemplate:
    # The orbits come element by element, as the counts do.
    symbols = [symbol for symbol, count in counts.items() for _ in range(count)]
    structure = Structure(host.lattice, [*host.species, *symbols], np.concatenate([host.frac_coords, fold(coords)]))
    lattice, frac, numbers = to_cell(structure)
    permutations = match_images(frac, lattice, numbers, group.rotations, group.translations)
    operations = SymmetryOperations(group.rotations, group.translations, permutations)
    exact = frac + operations.correction(frac)
    exact[: len(host)] = host.frac_coords
    placed = Structure(host.lattice, structure.species, np.concatenate([host.frac_coords, fold(exact[len(host) :])]))
    return GuestTemplate(placed, operations, host_operations, assignment)
