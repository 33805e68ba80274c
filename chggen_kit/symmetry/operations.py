"""`SymmetryOperations`: a group of operations as rotations, translations and permutations of the atoms of one crystal.

Columns of fractional coordinates map as x -> W x + w; in row form, frac @ W.T + w. The image of atom i under operation
g is atom `permutations[g, i]`. Operations are those of the cell at hand: centred cells have pure translations too.

A displacement field v (fractional components, contravariant) keeps the symmetry where v[pi_g(i)] = W_g v[i] for all g.
The mean over the group is a projector on those fields. It is orthogonal in every metric that the group leaves
unchanged (Å in a symmetric cell), and in no other: noise that is isotropic in fractional coordinates of a hexagonal
cell needs `displacement_projector` with its own metric.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Structure

from chggen_kit.errors import InputError
from chggen_kit.io.convert import with_coordinates
from chggen_kit.metrics.geometry import nearest_images
from chggen_kit.metrics.symmetry import SymmetryFailure, dataset, to_cell
from chggen_kit.symmetry.symmetrise import match_images, symmetrise

Array = NDArray[np.float64]

_RANK_TOLERANCE = 1e-8


@dataclass(frozen=True)
class SymmetryOperations:
    """Operations of one crystal; a group up to lattice translations, the identity among them.

    Attributes:
        rotations: W, integers `[n_ops, 3, 3]`.
        translations: w, `[n_ops, 3]`.
        permutations: atom at the image of each atom `[n_ops, n_atoms]`.
    """

    rotations: NDArray[np.int64]
    translations: Array
    permutations: NDArray[np.int64]

    def __post_init__(self) -> None:
        n_ops, n_atoms = self.permutations.shape
        if self.rotations.shape != (n_ops, 3, 3) or self.translations.shape != (n_ops, 3):
            raise InputError(
                f"Symmetry operations do not belong together: {self.rotations.shape} rotations, "
                f"{self.translations.shape} translations and {self.permutations.shape} permutations."
            )
        if not (np.sort(self.permutations, axis=1) == np.arange(n_atoms)).all():
            raise InputError("A symmetry operation maps two atoms onto one.")

    @classmethod
    def identity(cls, n_atoms: int) -> SymmetryOperations:
        """No symmetry but the identity."""
        return cls(np.eye(3, dtype=np.int64)[None], np.zeros((1, 3)), np.arange(n_atoms, dtype=np.int64)[None])

    @property
    def n_ops(self) -> int:
        """Number of operations, pure translations of a centred cell included."""
        return int(self.rotations.shape[0])

    @property
    def n_atoms(self) -> int:
        """Number of atoms that are permuted."""
        return int(self.permutations.shape[1])

    def cartesian_rotations(self, lattice: Array) -> Array:
        """Rotations in Å, columns to columns `[n_ops, 3, 3]`; orthogonal where `lattice` (rows) is symmetric."""
        return np.asarray(lattice.T @ self.rotations @ np.linalg.inv(lattice.T))

    def average_displacements(self, frac: Array) -> Array:
        """Mean over the group of fractional displacements `[n_atoms, 3]`."""
        return self._average(frac, self.rotations.astype(np.float64))

    def average_vectors(self, vectors: Array, lattice: Array) -> Array:
        """Mean over the group of Cartesian vectors, one an atom (forces, displacements) `[n_atoms, 3]`.

        The orthogonal projection on the symmetric fields, if `lattice` (rows in Å) is symmetric itself.
        """
        return self._average(vectors, self.cartesian_rotations(lattice))

    def average_tensor(self, tensor: Array, lattice: Array) -> Array:
        """Mean over the group of a Cartesian tensor of second rank (stress, strain) `[3, 3]`."""
        turned = self.cartesian_rotations(lattice)
        return np.asarray(np.einsum("gij,jk,glk->il", turned, tensor, turned) / self.n_ops)

    def _average(self, vectors: Array, rotations: Array) -> Array:
        turned = np.einsum("gij,aj->gai", rotations, vectors)
        total = np.zeros_like(vectors, dtype=np.float64)
        np.add.at(total, self.permutations.ravel(), turned.reshape(-1, 3))
        return np.asarray(total / self.n_ops)

    def orbits(self) -> NDArray[np.int64]:
        """Orbit of each atom: the lowest number of an atom in it `[n_atoms]`."""
        return np.asarray(self.permutations.min(axis=0))

    def displacement_projector(self, metric: Array | None = None) -> Array:
        """Orthogonal projector on the symmetric displacement fields, `[3 n_atoms, 3 n_atoms]` (fractional components).

        Args:
            metric: G of the scalar product v^T G w of one atom's fractional vectors `[3, 3]`: L L^T for noise that is
                isotropic in Å, the default (the identity) for noise that is isotropic in fractional coordinates.
        """
        n = self.n_atoms
        average = np.zeros((n, 3, n, 3))
        atoms = np.arange(n)
        for rotation, order in zip(self.rotations, self.permutations, strict=True):
            average[order, :, atoms, :] += rotation / self.n_ops
        weight: Array = np.kron(np.eye(n), np.eye(3) if metric is None else metric).astype(np.float64)
        return _orthogonal(average.reshape(3 * n, 3 * n), weight)

    def lattice_projector(self, lattice: Array) -> Array:
        """Orthogonal projector, entry by entry, on the cells that share the rotations of `lattice` `[9, 9]`.

        Cells L (rows) with W^T L = L R^T for all operations, R being the rotations in Å of `lattice`, are a linear
        space; `lattice`, which must be symmetric, lies in it.
        """
        inverse = np.linalg.inv(self.rotations.astype(np.float64))
        turned = self.cartesian_rotations(lattice)
        average = np.einsum("gji,glk->iljk", inverse, turned) / self.n_ops
        return _orthogonal(average.reshape(9, 9), np.eye(9))

    def in_basis(self, change: Array) -> SymmetryOperations:
        """The same operations for fractional coordinates frac @ `change` (whole numbers, determinant 1 or -1)."""
        turned = np.linalg.inv(change) @ self.rotations.transpose(0, 2, 1) @ change
        rotations = np.rint(turned.transpose(0, 2, 1)).astype(np.int64)
        return SymmetryOperations(rotations, np.asarray(self.translations @ change), self.permutations)

    def correction(self, frac: Array) -> Array:
        """Fractional displacements `[n_atoms, 3]` that make positions which are nearly symmetric exactly so."""
        turned = np.einsum("gij,aj->gai", self.rotations, frac) + self.translations[:, None, :]
        offsets = frac[self.permutations] - turned
        offsets -= np.round(offsets)
        back = np.linalg.inv(self.rotations.astype(np.float64))
        return np.asarray(np.einsum("gij,gaj->ai", back, offsets) / self.n_ops)

    def residual_A(self, structure: Structure) -> float:  # noqa: N802 - units are part of the name
        """Largest distance in Å between the image of an atom and the atom that it should be."""
        return self.offset_A(structure.frac_coords, structure.lattice.matrix)

    def offset_A(self, frac: Array, lattice: Array) -> float:  # noqa: N802 - units are part of the name
        """The same for fractional coordinates `[n_atoms, 3]` in a cell (rows in Å)."""
        worst = 0.0
        for rotation, shift, order in zip(self.rotations, self.translations, self.permutations, strict=True):
            offsets = nearest_images(frac[order] - frac @ rotation.T - shift, lattice)
            worst = max(worst, float(np.linalg.norm(offsets @ lattice, axis=1).max()))
        return worst


def _orthogonal(average: Array, weight: Array) -> Array:
    """Orthogonal projector, in the scalar product x^T `weight` y, on the range of the idempotent `average`."""
    left, sizes, _ = np.linalg.svd(average)
    basis = left[:, sizes > _RANK_TOLERANCE]
    return np.asarray(basis @ np.linalg.solve(basis.T @ weight @ basis, basis.T @ weight))


def find_operations(
    structure: Structure, symprec_A: float = 0.01, angle_tolerance_deg: float = 1.0
) -> tuple[Structure, SymmetryOperations]:
    """The operations that spglib finds in the cell of `structure`, and `structure` with exactly that symmetry.

    Atom order, species, site properties and labels are kept; the cell keeps its volume and orientation.

    Raises:
        InputError: when no group is found at these tolerances, or its operations do not permute the atoms.
    """
    found = dataset(structure, symprec_A, angle_tolerance_deg)
    if isinstance(found, SymmetryFailure):
        raise InputError(f"No symmetry can be found in {structure.composition.formula}: {found.detail}")
    lattice, frac, numbers = to_cell(structure)
    projected = symmetrise(lattice, frac, numbers, found.rotations, found.translations)
    if projected is None:
        raise InputError(
            f"The operations of {found.international}, found in {structure.composition.formula} within {symprec_A} Å, "
            "do not permute its atoms. Use a smaller tolerance."
        )
    exact = with_coordinates(structure, projected.frac_coords, projected.lattice)
    permutations = match_images(projected.frac_coords, projected.lattice, numbers, found.rotations, found.translations)
    return exact, SymmetryOperations(
        np.asarray(found.rotations, dtype=np.int64), np.asarray(found.translations, dtype=np.float64), permutations
    )
