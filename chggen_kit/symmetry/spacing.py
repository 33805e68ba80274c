"""Distances between atoms that are being placed, images included."""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray

from chggen_kit.torus import heights

Array = NDArray[np.float64]


def near_images(cell: Array, distance_A: float) -> Array:
    """Lattice vectors within which a neighbour closer than `distance_A` of a folded offset must lie `[n, 3]`."""
    reach = distance_A / heights(torch.from_numpy(cell.copy())[None])[0].numpy() + 0.5
    axes = [range(-int(bound), int(bound) + 1) for bound in reach]
    return np.array(list(product(*axes)), dtype=np.float64)


def lattice_is_open(images: Array, cell: Array, distance_A: float) -> bool:
    """Whether no lattice vector among `images` is shorter than `distance_A`."""
    lengths = np.linalg.norm(images @ cell, axis=1)
    return bool((lengths[lengths > 0] >= distance_A).all())


def is_clear(own: Array, present: Array, cell: Array, images: Array, distance_A: float) -> bool:
    """Whether no atom of an orbit is closer than `distance_A` to another one of it, or to one that is present."""
    others = np.concatenate([own, present])
    offsets = own[:, None] - others[None]
    offsets -= np.round(offsets)
    nearest = np.linalg.norm((offsets[:, :, None] + images) @ cell, axis=-1).min(axis=-1)
    nearest[np.arange(len(own)), np.arange(len(own))] = np.inf
    return bool((nearest >= distance_A).all())
