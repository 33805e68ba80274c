"""Distances within a structure and displacements between two states of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from pymatgen.core import Structure
from scipy.linalg import polar

from chggen_kit.errors import InputError
from chggen_kit.io.convert import to_batch
from chggen_kit.torus import circular_mean, neighbours, wrap

Array = NDArray[np.float64]

_DENSEST = 2 ** (1 / 6) * 1.01
"""Atoms of a volume v each cannot all be further apart than 2^(1/6) v^(1/3): that is the densest packing of spheres."""


def minimum_distance(structure: Structure) -> float:
    """Shortest distance between two atoms in Å, periodic images of the same atom included.

    Raises:
        InputError: when the structure has no sites, is disordered, not finite or flat.
    """
    batch = to_batch([structure])
    cutoff = _DENSEST * (float(batch.volumes[0]) / batch.n_atoms) ** (1 / 3)
    vectors = neighbours(batch.frac_coords, batch.lattice, batch.num_atoms, cutoff).vector
    return float(vectors.norm(dim=1).min())


def fold(frac: Array) -> Array:
    """Fractional coordinates folded into [0, 1); never exactly 1, as `x % 1` is for tiny negative x."""
    return wrap(torch.from_numpy(np.ascontiguousarray(frac, dtype=np.float64))).numpy()


def nearest_images(offsets: Array, cell: Array) -> Array:
    """Shortest periodic images of `offsets` `[n, 3]` (fractional units of `cell` `[3, 3]`), as fractional vectors.

    With a folded offset d, an image S that could be shorter obeys |d_k + S_k| h_k <= |d|, h_k being the heights of
    the cell: this bounds the images to be tried for any shape of cell.
    """
    folded = offsets - np.round(offsets)
    reach = np.linalg.norm(folded @ cell, axis=1).max(initial=0.0)
    bounds = np.floor(reach * np.linalg.norm(np.linalg.inv(cell), axis=0) + 0.5).astype(int)
    axes = [np.arange(-bound, bound + 1) for bound in bounds]
    images = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    candidates = folded[:, None, :] + images[None]
    best = np.linalg.norm(candidates @ cell, axis=-1).argmin(axis=1)
    return np.asarray(candidates[np.arange(len(folded)), best])


def displacements(offsets: Array, cell: Array) -> Array:
    """Vectors in Å `[n, 3]` of fractional `offsets` `[n, 3]`: nearest images, their common drift removed.

    The drift is estimated first by the circular mean, so that a structure that has slid across its cell does not end
    up with some atoms at one image and some at another.
    """
    frac = torch.from_numpy(np.ascontiguousarray(offsets, dtype=np.float64))
    index = torch.zeros(len(frac), dtype=torch.int64)
    mean, _ = circular_mean(frac, torch.ones(len(frac), dtype=torch.float64), index, 1)
    vectors = nearest_images(offsets - mean.numpy(), cell)
    vectors = nearest_images(vectors - vectors.mean(axis=0), cell)
    return np.asarray((vectors - vectors.mean(axis=0)) @ cell)


def mean_cell(before: Array, after: Array) -> Array:
    """Mean of two cells (rows in Å) after taking out the rotation between them, in the orientation of `before`.

    The rotation is that of the polar decomposition of the deformation gradient (row vectors: after = before F, and
    F = U R with U symmetric).
    """
    _, stretch = polar(np.linalg.inv(before) @ after, side="left")
    return np.asarray((before + before @ stretch) / 2)


def displacements_between(before: Structure, after: Structure, indices: Sequence[int] | None = None) -> Array:
    """Displacement vectors in Å of atoms `indices` (default all) from `before` to `after`: those atoms' drift removed.

    Fractional displacements, as nearest images, times the mean cell.

    Raises:
        InputError: when the two do not hold the same species in the same order, or no atom is chosen.
    """
    if [site.species for site in before] != [site.species for site in after]:
        raise InputError(
            f"Displacements need the same atoms in the same order; got {before.composition.formula} and "
            f"{after.composition.formula}."
        )
    chosen = list(range(len(before)) if indices is None else indices)
    if not chosen:
        raise InputError("Displacements need at least one atom.")
    cell = mean_cell(before.lattice.matrix, after.lattice.matrix)
    return displacements((after.frac_coords - before.frac_coords)[chosen], cell)


def max_displacement_A(before: Structure, after: Structure) -> float:  # noqa: N802 - units are part of the name
    """Displacement on relaxation in Å: minimum image in the mean cell, drift removed, maximum over atoms.

    Raises:
        InputError: as `displacements_between`.
    """
    return float(np.linalg.norm(displacements_between(before, after), axis=1).max())


def host_drift_A(  # noqa: N802 - units are part of the name
    before: Structure, after: Structure, host_indices: Sequence[int]
) -> float:
    """Largest displacement in Å of a host atom, relative to the mean displacement of the host.

    It says how far the host was deformed; a slide of the whole host does not count, whatever the guests do.

    Raises:
        InputError: as `displacements_between`.
    """
    return float(np.linalg.norm(displacements_between(before, after, host_indices), axis=1).max())
