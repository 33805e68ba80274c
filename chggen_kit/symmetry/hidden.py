"""Hidden sublattices: a crystal with pure translations, cut down to its primitive cell and put together again."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from chggen_kit.symmetry.discrete import Discrete

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

_INDEPENDENT = 1e-6


@dataclass(frozen=True)
class Sublattice:
    """A primitive cell within a larger one.

    Attributes:
        basis: rows, the vectors of the primitive cell in fractional units of the large one `[3, 3]`.
        first: one atom of the large cell for each atom of the primitive one `[n_primitive]`.
        image_of: atom of the primitive cell that each atom of the large one repeats `[n_atoms]`.
        cells: in which primitive cell `[n_atoms, 3]`.
    """

    basis: Array
    first: Integers
    image_of: Integers
    cells: Integers

    @classmethod
    def trivial(cls, n_atoms: int) -> Sublattice:
        """The cell itself."""
        atoms = np.arange(n_atoms, dtype=np.int64)
        return cls(np.eye(3), atoms, atoms, np.zeros((n_atoms, 3), dtype=np.int64))

    @classmethod
    def of(cls, translations: Discrete, lattice: Array) -> Sublattice:
        """The sublattice of a group of pure translations of a crystal with the reduced cell `lattice`."""
        vectors = translations.cells.mean(axis=1)
        basis = _shortest_basis(vectors - np.round(vectors), lattice)
        orbits = translations.permutations.min(axis=0)
        first, image_of = np.unique(orbits, return_inverse=True)
        # Translation t takes atom i of the primitive cell to atom pi_t(i), N_i cells of the large cell away, by w_t.
        cells = np.empty((len(orbits), 3))
        for vector, order, away in zip(vectors, translations.permutations, translations.cells, strict=True):
            cells[order[first]] = (vector - away[first]) @ np.linalg.inv(basis)
        return cls(basis, first, image_of, np.round(cells).astype(np.int64))

    @property
    def size(self) -> int:
        """Number of primitive cells in the large one."""
        return round(1 / abs(float(np.linalg.det(self.basis))))

    def cut(self, lattice: Array, frac: Array) -> tuple[Array, Array]:
        """Primitive cell, rows in Å, and the mean positions in it of the atoms that repeat each other."""
        inside = frac @ np.linalg.inv(self.basis) - self.cells
        total = np.zeros((len(self.first), 3))
        np.add.at(total, self.image_of, inside)
        return self.basis @ lattice, total / self.size

    def fill(self, frac: Array) -> Array:
        """Positions in the large cell of all atoms that repeat those at `frac` in the primitive cell `[n_atoms, 3]`."""
        return np.asarray((frac[self.image_of] + self.cells) @ self.basis)

    def metric(self, metric: Array) -> Array:
        """Metric of the large cell from that of the primitive one `[3, 3]`."""
        large = np.linalg.inv(self.basis)
        return np.asarray(large @ metric @ large.T)


def _shortest_basis(vectors: Array, lattice: Array) -> Array:
    """Shortest three independent of the `vectors` and the vectors of `lattice`: in three dimensions, a basis."""
    shifts = np.array(list(product((-1, 0, 1), repeat=3)), dtype=np.float64)
    everything = (vectors[:, None, :] + shifts).reshape(-1, 3)
    lengths = np.linalg.norm(everything @ lattice, axis=1)
    basis: list[Array] = []
    for index in np.argsort(lengths, kind="stable"):
        trial = [*basis, everything[index]]
        sizes = np.linalg.svd(np.array(trial) @ lattice, compute_uv=False)
        if sizes[-1] > _INDEPENDENT * lengths.max():
            basis = trial
        if len(basis) == 3:
            break
    return np.array(basis)
