"""Neighbours laid out in rows: atom by neighbour, padded, so that sums over neighbours are matrix products."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch_geometric.utils import to_dense_batch

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
    # At least one slot, so that shapes stay plain where no atom has a neighbour.
    widest = max(int(counts.max()), 1)
    source, filled = to_dense_batch(edges.source, edges.target, batch_size=n_atoms, max_num_nodes=widest)
    vector, _ = to_dense_batch(edges.vector, edges.target, batch_size=n_atoms, max_num_nodes=widest)
    by_count = torch.argsort(counts, stable=True)
    buckets = []
    for atoms in by_count.tensor_split(min(_BUCKETS, n_atoms)):
        width = max(int(counts[atoms[-1]]), 1)
        buckets.append(Bucket(atoms, source[atoms, :width], vector[atoms, :width], filled[atoms, :width]))
    return Graph(tuple(buckets), torch.argsort(by_count))
