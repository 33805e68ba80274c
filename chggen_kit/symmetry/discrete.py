"""Operations of a crystal whose atoms are only nearly where they should be, as exact integer objects.

An operation takes atom i to atom pi(i), N_i cells away: x_pi(i) + N_i = W x_i + w for a symmetric crystal. W, pi and N
are integers and know no tolerance: products are exact, and a set of operations is a group or it is not. Even the
translation follows. The mean over the atoms of the equation gives w = (I - W) c + mean(N) with the centroid c: the
second term, rational with the number of atoms as denominator, is the intrinsic part of screws and glides together
with the position of the element, and every product of operations has the w that it must have. N is defined up to one
lattice translation for all atoms; here N_0 = 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

_WEIGHTS_SEED = 20250


@dataclass(frozen=True)
class Discrete:
    """Some operations of one crystal.

    Attributes:
        rotations: W `[n_ops, 3, 3]`.
        permutations: pi `[n_ops, n_atoms]`.
        cells: N `[n_ops, n_atoms, 3]`, with N_0 = 0.
    """

    rotations: Integers
    permutations: Integers
    cells: Integers

    @classmethod
    def identity(cls, n_atoms: int) -> Discrete:
        """The identity alone."""
        return cls(
            np.eye(3, dtype=np.int64)[None],
            np.arange(n_atoms, dtype=np.int64)[None],
            np.zeros((1, n_atoms, 3), dtype=np.int64),
        )

    @classmethod
    def stack(cls, parts: list[Discrete]) -> Discrete:
        """All operations of `parts`, in order."""
        return cls(
            np.concatenate([part.rotations for part in parts]),
            np.concatenate([part.permutations for part in parts]),
            np.concatenate([part.cells for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.rotations)

    def __getitem__(self, chosen: Integers | NDArray[np.bool_]) -> Discrete:
        return Discrete(self.rotations[chosen], self.permutations[chosen], self.cells[chosen])

    def after(self, other: Discrete) -> Discrete:
        """All products, first an operation of `other`, then one of these: `len(self) * len(other)`, `other` fastest."""
        n_ops, n_atoms = len(self) * len(other), self.permutations.shape[1]
        rotations = np.einsum("gij,hjk->ghik", self.rotations, other.rotations)
        permutations = self.permutations[:, other.permutations]
        carried = np.einsum("gij,haj->ghai", self.rotations, other.cells)
        moved = self.cells[:, other.permutations]
        cells = (moved + carried).reshape(n_ops, n_atoms, 3)
        return Discrete(rotations.reshape(n_ops, 3, 3), permutations.reshape(n_ops, n_atoms), cells - cells[:, :1])

    def keys(self) -> Integers:
        """A number for each operation, equal for equal ones and (but for one chance in 2^64) different otherwise."""
        table = np.concatenate(
            [part.reshape(len(self), -1) for part in (self.rotations, self.permutations, self.cells)], axis=1
        )
        weights = np.random.default_rng(_WEIGHTS_SEED).integers(1, 2**62, size=table.shape[1]) * 2 + 1
        return np.asarray(table @ weights)

    def product_table(self) -> Integers:
        """Number of the product (first column, then row) among these operations, -1 where it is not `[n, n]`."""
        keys = self.keys()
        order = np.argsort(keys)
        table = np.empty((len(self), len(self)), dtype=np.int64)
        for row in range(len(self)):
            products = self[np.array([row])].after(self).keys()
            places = order[np.minimum(np.searchsorted(keys, products, sorter=order), len(self) - 1)]
            table[row] = np.where(keys[places] == products, places, -1)
        return table

    def translations(self, frac: Array) -> Array:
        """Translation w of each operation for a crystal at `frac` `[n_ops, 3]`."""
        centroid = frac.mean(axis=0)
        return np.asarray(centroid - self.rotations @ centroid + self.cells.mean(axis=1))

    def average(self, frac: Array) -> Array:
        """Mean over a group of the positions that its operations give each atom `[n_atoms, 3]`.

        Each atom goes to the mean of W^-1 (x_pi(i) + N_i - w): the crystal with this symmetry that is nearest in the
        mean metric. The centroid stays.
        """
        inverses = np.round(np.linalg.inv(self.rotations.astype(np.float64)))
        moved = frac[self.permutations] + self.cells - self.translations(frac)[:, None]
        return np.asarray(np.einsum("gij,gaj->ai", inverses, moved) / len(self))

    def metric(self, lattice: Array) -> Array:
        """Mean over a group of the metric L L^T of `lattice`, of any volume `[3, 3]`."""
        return np.asarray(np.einsum("gji,jk,gkl->il", self.rotations, lattice @ lattice.T, self.rotations) / len(self))
