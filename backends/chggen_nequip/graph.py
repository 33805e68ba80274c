"""Neighbours laid out in rows: atom by neighbour, padded, so that sums over neighbours are matrix products."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from chggen_kit.torus import Neighbours, neighbours

_BUCKETS = 4
"""Atoms are sorted by their number of neighbours and cut into this many equal parts, each padded on its own."""


class Bucket(NamedTuple):
    """Neighbours of some atoms with similarly many of them.

    Attributes:
        atoms: the atoms `[n_rows]`.
        source: neighbour in slot j of row i `[n_rows, width]`; 0 where the slot is empty.
        vector: from atom to neighbour in Å `[n_rows, width, 3]`; zero where the slot is empty.
        filled: whether the slot holds a neighbour `[n_rows, width]`.
    """

    atoms: Tensor
    source: Tensor
    vector: Tensor
    filled: Tensor


class Graph(NamedTuple):
    """All neighbours within the cutoff of every atom.

    Attributes:
        buckets: every atom is in one of them.
        order: place of each atom in the concatenated buckets `[n_atoms]`.
    """

    buckets: tuple[Bucket, ...]
    order: Tensor

    def to(self, device: torch.device | str) -> Graph:
        """Copy on `device`."""
        buckets = (
            Bucket(b.atoms.to(device), b.source.to(device), b.vector.to(device), b.filled.to(device))
            for b in self.buckets
        )
        return Graph(tuple(buckets), self.order.to(device))


def build_graph(frac: Tensor, lattice: Tensor, num_atoms: Tensor, cutoff: float) -> Graph:
    """Graph of crystals laid end to end (arguments as in `chggen_kit.torus.neighbours`)."""
    return pad_neighbours(neighbours(frac, lattice, num_atoms, cutoff), n_atoms=frac.shape[0])


def pad_neighbours(edges: Neighbours, *, n_atoms: int) -> Graph:
    """Lay `edges`, sorted by target, out in rows."""
    counts = torch.bincount(edges.target, minlength=n_atoms)
    by_count = torch.argsort(counts, stable=True)
    starts = counts.cumsum(0) - counts
    # One row more, of zeros, is what empty slots refer to.
    source = torch.cat([edges.source, edges.source.new_zeros(1)])
    vector = torch.cat([edges.vector, edges.vector.new_zeros(1, 3)])
    buckets = []
    for atoms in by_count.tensor_split(min(_BUCKETS, n_atoms)):
        width = max(int(counts[atoms[-1]]), 1)
        slots = torch.arange(width, device=counts.device)
        filled = slots < counts[atoms, None]
        edge = torch.where(filled, starts[atoms, None] + slots, edges.source.shape[0])
        buckets.append(Bucket(atoms, source[edge], vector[edge], filled))
    return Graph(tuple(buckets), torch.argsort(by_count))
