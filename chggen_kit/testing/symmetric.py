"""Crystals of many space groups, built from the groups' own operations; and a check that a relaxer keeps symmetry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import product

import numpy as np
import spglib
from numpy.typing import NDArray
from pymatgen.core import Element, Lattice, Structure

from chggen_kit.errors import InputError
from chggen_kit.interfaces import Relaxation, Relaxer
from chggen_kit.metrics.geometry import fold
from chggen_kit.metrics.symmetry import SymmetryFailure, dataset
from chggen_kit.symmetry import SymmetryOperations, find_operations
from chggen_kit.testing.report import ConformanceReport, LawResult

Array = NDArray[np.float64]

TIGHT_SYMPREC_A = 0.01
"""Å; the tolerance of the groups that are compared."""
_N_HALL = 530
_GRID = 1_000_000
"""Points of an axis that count as different."""
_SPECIAL = (0.0, 1 / 4, 1 / 3, 1 / 2, 2 / 3, 3 / 4)
_FAMILIES = ((2, "triclinic"), (15, "monoclinic"), (74, "orthorhombic"), (142, "tetragonal"), (194, "hexagonal"))
"""Last space group of each family, below the cubic ones."""


def symmetric_crystals(
    count: int = 50,
    *,
    elements: Sequence[int] = (12, 8),
    volume_per_atom_A3: float = 12.0,
    min_distance_A: float = 1.7,
    max_atoms: int = 16,
    seed: int = 0,
) -> list[Structure]:
    """Crystals of `count` different space groups from P-1 on, spread evenly over their numbers.

    Each holds an orbit or two of random points, special ones (with coordinates such as 0, 1/4, x, -x) among them, in a
    random cell of the group's family. Every second one is cut down to its primitive cell; the others keep the
    conventional one, with the pure translations of a centred lattice. They are no minima of any potential.

    Args:
        count: number of crystals.
        elements: atomic numbers, two of them, of the first and second orbit.
        volume_per_atom_A3: in Å^3.
        min_distance_A: no two atoms are closer, in Å.
        max_atoms: atoms of a conventional cell at most.
        seed: of all draws.

    Raises:
        InputError: when there are not so many groups, or they have no crystals of that size.
    """
    if not 0 < count < 230:
        raise InputError(
            f"There are 229 space groups from P-1 on: {count} crystals of different groups cannot be made."
        )
    generator = np.random.default_rng(seed)
    numbers = generator.permutation(np.arange(2, 231))
    found: dict[int, Structure] = {}
    for number in numbers.tolist():
        crystal = _crystal(number, elements, volume_per_atom_A3, min_distance_A, max_atoms, generator)
        if crystal is not None:
            found[number] = crystal if len(found) % 2 else _primitive(crystal)
        if len(found) == count:
            return [found[number] for number in sorted(found)]
    raise InputError(
        f"Only {len(found)} of {count} space groups have a crystal of at most {max_atoms} atoms with distances above "
        f"{min_distance_A} Å. Ask for fewer, or allow more atoms."
    )


def _crystal(
    number: int,
    elements: Sequence[int],
    volume_per_atom_A3: float,
    min_distance_A: float,
    max_atoms: int,
    generator: np.random.Generator,
) -> Structure | None:
    """A crystal of one space group in its standard setting; None where no draw fits."""
    operations = spglib.get_symmetry_from_database(_standard_halls()[number])
    shape = _cell_shape(number, generator)
    points = list(_points(generator))
    first: Array | None = None
    for point in (points[index] for index in generator.permutation(len(points))):
        orbit = _orbit(point, operations["rotations"], operations["translations"])
        trial = orbit if first is None else np.vstack([first, orbit])
        if len(trial) > max_atoms:
            continue
        cell = shape * (volume_per_atom_A3 * len(trial) / np.linalg.det(shape)) ** (1 / 3)
        # An orbit that comes too close is left out, and the next one tried.
        if _shortest_distance(trial, cell) < min_distance_A:
            continue
        if first is not None:
            species = [elements[0]] * len(first) + [elements[1]] * len(orbit)
            return Structure(Lattice(cell), [Element.from_Z(number) for number in species], trial)
        first = orbit
    return None


def _shortest_distance(frac: Array, cell: Array) -> float:
    """Shortest distance in Å, images included, in a cell that is not far from a cube or a hexagonal prism."""
    offsets = frac[:, None] - frac[None]
    offsets -= np.round(offsets)
    images = np.array(list(product((-1, 0, 1), repeat=3)))
    lengths = np.linalg.norm((offsets[:, :, None] + images) @ cell, axis=-1)
    lengths[range(len(frac)), range(len(frac)), len(images) // 2] = np.inf  # an atom to itself
    return float(lengths.min())


@cache
def _standard_halls() -> dict[int, int]:
    """Hall number of the standard setting of each space group: the first of its settings."""
    halls: dict[int, int] = {}
    for hall in range(1, _N_HALL + 1):
        halls.setdefault(int(spglib.get_spacegroup_type(hall).number), hall)
    return halls


def _points(generator: np.random.Generator) -> Iterator[Array]:
    """Candidates for sites: all combinations of special values and free ones, and points on mirrors and diagonals."""
    x, y, z = generator.uniform(0.05, 0.45, 3)
    for values in product((*_SPECIAL, x), (*_SPECIAL, y), (*_SPECIAL, z)):
        yield np.array(values)
    for point in ((x, x, x), (x, x, z), (x, -x, z), (x, 2 * x, z), (x, x, 0), (x, 0, 0), (x, 2 * x, 1 / 4)):
        yield np.array(point)


def _orbit(point: Array, rotations: NDArray[np.int32], translations: Array) -> Array:
    grid = np.round(fold(rotations @ point + translations) * _GRID).astype(np.int64) % _GRID
    _, kept = np.unique(grid, axis=0, return_index=True)
    return np.asarray(fold(rotations[kept] @ point + translations[kept]))


def _cell_shape(number: int, generator: np.random.Generator) -> Array:
    """Random cell of the family of space group `number`, in its standard setting (rows)."""
    a, b, c = generator.uniform(0.85, 1.2, 3)
    alpha, beta, gamma = generator.uniform(75, 105, 3)
    family = next((name for last, name in _FAMILIES if number <= last), "cubic")
    shapes: dict[str, tuple[float, ...]] = {
        "triclinic": (a, b, c, alpha, beta, gamma),
        "monoclinic": (a, b, c, 90, beta, 90),
        "orthorhombic": (a, b, c, 90, 90, 90),
        "tetragonal": (a, a, c, 90, 90, 90),
        "hexagonal": (a, a, c, 90, 90, 120),
        "cubic": (a, a, a, 90, 90, 90),
    }
    return np.asarray(Lattice.from_parameters(*shapes[family]).matrix)


def _primitive(structure: Structure) -> Structure:
    lattice, frac, numbers = spglib.find_primitive(
        (structure.lattice.matrix, structure.frac_coords, [site.specie.Z for site in structure]), symprec=1e-4
    )
    return Structure(Lattice(lattice), [Element.from_Z(int(z)) for z in numbers], frac)


def check_symmetry_kept(
    relaxer: Relaxer, structures: Sequence[Structure] | None = None, *, fmax: float = 0.1, max_steps: int = 100
) -> ConformanceReport:
    """Whether `relaxer` keeps the symmetry of `structures`, by default those of `symmetric_crystals`.

    The groups that spglib finds at 0.01 Å are kept, and looked for again at 0.01 Å in what comes out, converged or not.

    Laws: `operations-kept` (Å): how far an atom at the end misses the image that a starting operation makes of another;
    `group-not-lowered`: structures in which spglib finds fewer operations, or none, at the end; `energy-not-raised`:
    eV/atom from start to end; `moved`: share of structures with not a single step, which says nothing about symmetry.
    """
    starts = [find_operations(one, TIGHT_SYMPREC_A) for one in (structures or symmetric_crystals())]
    exact, operations = [one for one, _ in starts], [group for _, group in starts]
    ended = relaxer.relax(exact, symmetry=operations, fmax=fmax, max_steps=max_steps)
    residuals = [group.residual_A(one.structure) for group, one in zip(operations, ended, strict=True)]
    lowered = [
        one.structure.composition.formula
        for group, one in zip(operations, ended, strict=True)
        if _is_lowered(group, one)
    ]
    gains = [one.energy_change_per_atom for one in ended if np.isfinite(one.energy)]
    still = sum(one.steps == 0 for one in ended)
    reasons = ", ".join(f"{sum(one.reason == r for one in ended)} {r}" for r in sorted({one.reason for one in ended}))
    worst = int(np.argmax(residuals))
    return ConformanceReport(
        f"relaxer {type(relaxer).__name__}",
        (
            LawResult.at_most(
                "operations-kept", max(residuals), TIGHT_SYMPREC_A, f"worst: {exact[worst].composition.formula}"
            ),
            LawResult.at_most("group-not-lowered", len(lowered), 0, f"of {len(ended)}: {', '.join(lowered) or 'none'}"),
            LawResult.at_most("energy-not-raised", max(gains, default=float("nan")), 1e-4, reasons),
            LawResult.at_most("moved", still / len(ended), 0.5, f"{still} of {len(ended)} took no step"),
        ),
    )


def _is_lowered(before: SymmetryOperations, after: Relaxation) -> bool:
    found = dataset(after.structure, TIGHT_SYMPREC_A, 1.0)
    if isinstance(found, SymmetryFailure):
        return True
    now = {rotation.tobytes() for rotation in np.asarray(found.rotations, dtype=np.int64)}
    kept = {rotation.tobytes() for rotation in before.rotations} <= now
    return not kept or len(found.rotations) < before.n_ops
