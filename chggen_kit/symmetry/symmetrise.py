"""Projection of a crystal onto the structures that given symmetry operations leave unchanged, in its own cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from chggen_kit.metrics.geometry import displacements, mean_cell, nearest_images

Array = NDArray[np.float64]
Rotations = NDArray[np.int32] | NDArray[np.int64]

_ROUNDS = 4
_EXACT_A = 1e-6
_OTHER_SPECIES_A2 = 1e6
"""Cost of an atom at the place of another species: more than any distance squared within a cell."""


@dataclass(frozen=True)
class Symmetrised:
    """A projected crystal.

    Attributes:
        lattice: rows in Å `[3, 3]`: the orientation and volume of the input.
        frac_coords: `[n_atoms, 3]`, in the order of the input.
        displacements: in Å `[n_atoms, 3]`, in the mean cell, the common drift removed.
        strain: largest logarithmic principal strain of the cell.
    """

    lattice: Array
    frac_coords: Array
    displacements: Array
    strain: float


def symmetrise_lattice(lattice: Array, rotations: Rotations) -> tuple[Array, float]:
    """Cell whose metric is the mean of G = L L^T over the rotations, with the volume and orientation of `lattice`.

    Fractional coordinates x (columns) map to W x, so that the metric of the turned cell is W^T G W.

    Args:
        lattice: rows in Å `[3, 3]`.
        rotations: W in fractional coordinates `[n_operations, 3, 3]`, a group.

    Returns:
        The cell `[3, 3]`, and the largest logarithmic principal strain between the two.
    """
    metric = lattice @ lattice.T
    return cell_with_metric(lattice, np.einsum("gji,jk,gkl->il", rotations, metric, rotations) / len(rotations))


def cell_with_metric(lattice: Array, metric: Array) -> tuple[Array, float]:
    """Cell with a given metric up to its scale, with the volume and orientation of `lattice`, and the strain between.

    Of the cells with that metric, L F with F symmetric is the one that is not turned against L.

    Args:
        lattice: rows in Å `[3, 3]`.
        metric: `[3, 3]`, scaled to the volume of `lattice`.

    Returns:
        The cell `[3, 3]`, and the largest logarithmic principal strain.
    """
    scaled = metric * (np.linalg.det(lattice) ** 2 / np.linalg.det(metric)) ** (1 / 3)
    inverse = np.linalg.inv(lattice)
    squares, axes = np.linalg.eigh(inverse @ scaled @ inverse.T)
    stretch = axes @ np.diag(np.sqrt(squares)) @ axes.T
    return lattice @ stretch, float(np.abs(np.log(squares)).max() / 2)


def _match(images: Array, frac: Array, lattice: Array, different: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Atom that each image belongs to `[n_atoms]`: the assignment with the least sum of squared distances.

    An offset folded into [-1/2, 1/2]^3 is the nearest image if it is shorter than half the least height of the
    cell. An assignment of less cost than that squared is therefore the best; only others need the search for images.
    """
    n_atoms = len(frac)
    offsets = frac[None, :, :] - images[:, None, :]
    folded = (offsets - np.round(offsets)) @ lattice
    cost = np.where(different, _OTHER_SPECIES_A2, np.square(folded).sum(axis=2))
    rows, order = linear_sum_assignment(cost)
    safe_A = 0.5 / float(np.linalg.norm(np.linalg.inv(lattice), axis=0).max())
    if cost[rows, order].sum() >= safe_A**2:
        nearest = nearest_images(offsets.reshape(-1, 3), lattice) @ lattice
        cost = np.where(different, _OTHER_SPECIES_A2, np.square(nearest).sum(axis=1).reshape(n_atoms, n_atoms))
        rows, order = linear_sum_assignment(cost)
    return np.asarray(order)


def match_images(
    frac_coords: Array,
    lattice: Array,
    numbers: Sequence[int],
    rotations: Rotations,
    translations: Array,
) -> NDArray[np.int64]:
    """Atom of the same species that the image of each atom belongs to, for each operation `[n_operations, n_atoms]`.

    Arguments as `symmetrise`; of all assignments the one with the least sum of squared distances.
    """
    different = np.not_equal.outer(np.asarray(numbers), np.asarray(numbers))
    orders = [
        _match(frac_coords @ rotation.T + shift, frac_coords, lattice, different)
        for rotation, shift in zip(rotations, translations, strict=True)
    ]
    return np.asarray(orders, dtype=np.int64).reshape(len(rotations), len(frac_coords))


def symmetrise(
    lattice: Array,
    frac_coords: Array,
    numbers: Sequence[int],
    rotations: Rotations,
    translations: Array,
) -> Symmetrised | None:
    """Nearest crystal that the operations leave unchanged; None when they do not permute the atoms consistently.

    With the permutation pi_g of each operation g = (W, w), each atom i moves by the mean over the group of
    W^-1 (x_pi(i) - W x_i - w): the orthogonal projection in Å, since W is a rotation in the symmetrised cell.

    Args:
        lattice: rows in Å `[3, 3]`.
        frac_coords: `[n_atoms, 3]`.
        numbers: one for each species `[n_atoms]`.
        rotations: `[n_operations, 3, 3]`, a group together with
        translations: `[n_operations, 3]`.
    """
    cell, strain = symmetrise_lattice(lattice, rotations)
    inverses = np.linalg.inv(rotations.astype(np.float64))
    frac = frac_coords.copy()
    orders = match_images(frac, cell, numbers, rotations, translations)
    for _ in range(_ROUNDS):
        step, worst = np.zeros_like(frac), 0.0
        for rotation, shift, inverse, order in zip(rotations, translations, inverses, orders, strict=True):
            residual = nearest_images(frac[order] - frac @ rotation.T - shift, cell)
            worst = max(worst, float(np.linalg.norm(residual @ cell, axis=1).max()))
            step += residual @ inverse.T
        if worst < _EXACT_A:
            moved = displacements(frac - frac_coords, mean_cell(lattice, cell))
            return Symmetrised(cell, frac, moved, strain)
        frac += step / len(rotations)
    return None
