"""Projection of forces, stresses and steps on the subspace that symmetry operations leave unchanged.

In a cell L0 that has the symmetry, the operations are rotations R_g in Å with a permutation pi_g of the atoms. Vectors
v with v[pi_g(i)] = R_g v[i], and tensors T with T = R_g T R_g^T, keep the symmetry; the mean over the group is the
orthogonal projector on them. A logarithmic strain U of this kind commutes with every R_g, and so does F = exp(U): the
rotations of the deformed cell L0 F^T are the same R_g. The projectors of the first cell therefore serve all along.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from pymatgen.core import Structure
from torch import Tensor

from chggen_kit.errors import InputError

if TYPE_CHECKING:
    from chggen_kit.symmetry import SymmetryOperations

MAX_RESIDUAL_A = 1e-4
"""Å; a structure that misses its symmetry by more has not been symmetrised."""
_ADVICE = "Take both, the structure and its operations, from chggen_kit.symmetry.find_operations."


@dataclass(frozen=True)
class SymmetryProjector:
    """Orthogonal projectors of one structure.

    Attributes:
        atoms: on vectors in Å, atom after atom `[3 n_atoms, 3 n_atoms]`.
        cell: on tensors in Å, row after row `[9, 9]`.
    """

    atoms: Tensor
    cell: Tensor

    @classmethod
    def of(cls, structure: Structure, operations: SymmetryOperations, where: str) -> SymmetryProjector:
        """Projectors for `structure`, which is called `where` in errors.

        Raises:
            InputError: when the structure does not have the symmetry, or the operations are no group.
        """
        _check(structure, operations, where)
        turned = operations.cartesian_rotations(structure.lattice.matrix)
        n, atoms = operations.n_atoms, np.arange(operations.n_atoms)
        average = np.zeros((n, 3, n, 3))
        for rotation, order in zip(turned, operations.permutations, strict=True):
            average[order, :, atoms, :] += rotation
        matrix = average.reshape(3 * n, 3 * n) / operations.n_ops
        tensors = np.einsum("gij,glk->iljk", turned, turned).reshape(9, 9) / operations.n_ops
        if not (np.abs(matrix @ matrix - matrix) < 1e-6).all():
            raise InputError(f"The symmetry operations of {where} are no group: products are missing. {_ADVICE}")
        return cls(torch.from_numpy(matrix), torch.from_numpy(tensors))


def _check(structure: Structure, operations: SymmetryOperations, where: str) -> None:
    if operations.n_atoms != len(structure):
        raise InputError(
            f"The symmetry operations of {where} permute {operations.n_atoms} atoms, not {len(structure)}."
        )
    numbers = np.array([site.specie.Z for site in structure])
    if (numbers[operations.permutations] != numbers).any():
        raise InputError(f"A symmetry operation of {where} maps an atom onto one of another element. {_ADVICE}")
    turned = operations.cartesian_rotations(structure.lattice.matrix)
    skew = np.abs(turned @ turned.transpose(0, 2, 1) - np.eye(3)).max()
    residual_A = operations.residual_A(structure)
    if residual_A > MAX_RESIDUAL_A or skew > MAX_RESIDUAL_A:
        raise InputError(
            f"The cell or the atoms of {where} do not have the symmetry that was given: atoms miss their images by up "
            f"to {residual_A:.2g} Å, rotations of the cell are off by {skew:.2g}. {_ADVICE}"
        )


def checked_projectors(
    structures: Sequence[Structure],
    symmetry: Sequence[SymmetryOperations | None] | None,
    masks: Sequence[Tensor],
) -> list[SymmetryProjector | None]:
    """Projectors of all structures; None for those without operations but the identity.

    Args:
        structures: with the symmetry given, to `MAX_RESIDUAL_A`.
        symmetry: as in `Relaxer.relax`.
        masks: fixed atoms of each structure.

    Raises:
        InputError: when something does not fit together (see `Relaxer.relax`).
    """
    if symmetry is None:
        return [None] * len(structures)
    if len(symmetry) != len(structures):
        raise InputError(f"{len(symmetry)} sets of symmetry operations were given for {len(structures)} structures.")
    projectors: list[SymmetryProjector | None] = []
    for index, (structure, operations, mask) in enumerate(zip(structures, symmetry, masks, strict=True)):
        if operations is None or operations.n_ops == 1:
            projectors.append(None)
            continue
        where = f"structure {index} ({structure.composition.formula})"
        projectors.append(SymmetryProjector.of(structure, operations, where))
        fixed = mask.numpy()
        torn = (fixed[operations.permutations] != fixed).any(axis=0).nonzero()[0]
        if torn.size:
            raise InputError(
                f"Of {where}, atom {torn[0]} is {'fixed' if fixed[torn[0]] else 'free'} and an atom that the symmetry "
                "maps it onto is not. Fix all atoms of an orbit, or none."
            )
    return projectors


def project(
    projectors: Sequence[SymmetryProjector | None], atoms: Tensor, cells: Tensor, offsets: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Projected copies of vectors `atoms` `[n_atoms, 3]` and tensors `cells` `[n_crystals, 3, 3]` of a batch.

    Args:
        projectors: one a crystal; None leaves it as it is.
        atoms: Cartesian.
        cells: Cartesian.
        offsets: first atom of each crystal, and one past the last.
    """
    if all(one is None for one in projectors):
        return atoms, cells
    atoms, cells = atoms.clone(), cells.clone()
    for crystal, one in enumerate(projectors):
        if one is not None:
            rows = slice(offsets[crystal], offsets[crystal + 1])
            atoms[rows] = (one.atoms @ atoms[rows].flatten()).view(-1, 3)
            cells[crystal] = (one.cell @ cells[crystal].flatten()).view(3, 3)
    return atoms, cells
