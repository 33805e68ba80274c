"""`voronoi`: the geometric baseline. Unknown atoms go into the voids between the atoms that are there already."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field
from scipy.spatial import KDTree, Voronoi

from chggen_kit.samplers.placement import NO_ROOM, Array, SequentialPlacement
from chggen_kit.torus import heights, reduced_cell

_ROUNDING = 1e-6
"""Vertices this far outside of the cell (fractional) or beyond the largest possible void (relative) still count."""


class VoronoiOptions(BaseModel):
    """Options of the `voronoi` baseline."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_distance_A: float = Field(1.5, gt=0, description="no placed atom comes closer than this to any other, in Å")
    merge_A: float = Field(0.3, ge=0, description="vertices closer than this are one void (its largest sphere), in Å")
    power: float = Field(3.0, ge=0, description="a void of radius r is chosen with a weight r^power; 0: all alike")
    restarts: int = Field(20, ge=0, description="fresh arrangements tried before the crystal is given up (no-room)")


class VoronoiPlacement(SequentialPlacement):
    """Places atoms one after another on vertices of the Voronoi tessellation of what is present.

    A vertex is the centre of a sphere that touches at least four atoms (periodic images included) and holds none: a
    void, of which the sphere's radius is the distance to the nearest atoms. One of the distinct voids of at least
    `min_distance_A` is drawn, with a weight that grows with its radius, and its atom counts as present for the next.
    The first atom of a crystal of which nothing is known goes anywhere.
    """

    title = "voronoi"

    def __init__(self, options: VoronoiOptions) -> None:
        self.options = options

    def _place(
        self, frac: Array, lattice: Array, given: npt.NDArray[np.bool_], generator: np.random.Generator
    ) -> tuple[Array, str | None]:
        coords = frac.copy()
        for _ in range(self.options.restarts + 1):
            present = list(np.flatnonzero(given))
            for atom in np.flatnonzero(~given):
                place = self._draw(coords[present], lattice, generator)
                if place is None:
                    break
                coords[atom] = place
                present.append(atom)
            else:
                return coords, None
            if len(present) == int(given.sum()):
                break  # not even the first atom found a place, and the next arrangement would begin with the same voids
        return coords, NO_ROOM

    def _draw(self, present: Array, lattice: Array, generator: np.random.Generator) -> Array | None:
        if len(present) == 0:
            return generator.random(3)
        centres, radii = voids(present, lattice, self.options.merge_A)
        roomy = radii >= self.options.min_distance_A
        if not roomy.any():
            return None
        weights = radii[roomy] ** self.options.power
        place: Array = centres[roomy][generator.choice(len(weights), p=weights / weights.sum())]
        return place


def voids(frac: Array, lattice: Array, merge_A: float = 0.0) -> tuple[Array, Array]:
    """Voids between atoms: vertices of the periodic Voronoi tessellation, largest first.

    The tessellation is that of a finite cluster, exact inside the cell: the largest empty sphere has a radius of at
    most R = sqrt(a^2 + b^2 + c^2) / 2 (Babai's nearest-plane bound on the covering radius of the lattice of any one
    atom, here for a reduced basis), so all atoms within R of the cell decide every sphere whose centre is in it.

    Args:
        frac: atoms, fractional `[n_atoms, 3]`, at least one.
        lattice: rows in Å `[3, 3]`.
        merge_A: vertices closer than this to a larger one are left out, in Å.

    Returns:
        Centres, fractional in [0, 1) `[n_voids, 3]`, and radii in Å `[n_voids]`.
    """
    cell: Array = reduced_cell(torch.from_numpy(lattice)[None])[0].numpy()
    atoms = frac @ lattice @ np.linalg.inv(cell)
    atoms -= np.floor(atoms)
    largest = np.linalg.norm(cell) / 2 * (1 + _ROUNDING)
    margin = largest / heights(torch.from_numpy(cell)[None])[0].numpy()
    axes = [np.arange(-np.ceil(m), np.ceil(m) + 1) for m in margin]
    images = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    cluster = (atoms[None] + images[:, None]).reshape(-1, 3)
    cluster = cluster[((cluster >= -margin) & (cluster <= 1 + margin)).all(axis=1)] @ cell
    vertices = Voronoi(cluster).vertices
    inside = vertices @ np.linalg.inv(cell)
    kept = ((inside > -_ROUNDING) & (inside < 1 + _ROUNDING)).all(axis=1)
    radii = KDTree(cluster).query(vertices[kept])[0]
    real = radii <= largest
    centres, radii = _distinct(inside[kept][real], radii[real], cell, max(merge_A, _ROUNDING))
    folded = centres @ cell @ np.linalg.inv(lattice)
    folded -= np.floor(folded)
    return np.where(folded >= 1, 0.0, folded), radii


def _distinct(centres: Array, radii: Array, cell: Array, closer_A: float) -> tuple[Array, Array]:
    """Centres (fractional in the reduced `cell`) that have no larger one within `closer_A`, largest first."""
    # Equal voids differ by rounding: their order must not follow from it, or it would be another on each machine.
    order = np.lexsort((*np.round(centres, 6).T, -np.round(radii, 6)))
    chosen: list[int] = []
    for index in order:
        offset = centres[chosen] - centres[index]
        offset -= np.round(offset)
        if not chosen or np.linalg.norm(offset @ cell, axis=1).min() > closer_A:
            chosen.append(int(index))
    return centres[chosen], radii[chosen]


def build(options: VoronoiOptions) -> VoronoiPlacement:
    """Factory for the plug-in manager."""
    return VoronoiPlacement(options)
