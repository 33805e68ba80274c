"""All ordered pairs of atoms inside each crystal: the graph depends on the numbers of atoms alone.

The pairs come in three parts: (i, j) with i < j, each atom with itself, and the mirrored (j, i) in the order of the
first part. What is odd or even in a pair's displacement is then computed for the first part only.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_REMEMBERED = 32
"""Graphs kept by a `PairCache`: a sampling run needs one for each group of crystals of its batch."""


@dataclass(frozen=True)
class PairGraph:
    """Pairs of a batch: `n_unordered` with i < j, then `n_atoms` with i = j, then `n_unordered` mirrored ones.

    Attributes:
        num_atoms: `[n_crystals]`, int64.
        crystal_index: crystal of each atom `[n_atoms]`.
        centre: i of each pair `[n_pairs]`, whose mean over j is taken.
        neighbour: j of each pair `[n_pairs]`.
        n_unordered: pairs of the first part.
    """

    num_atoms: Tensor
    crystal_index: Tensor
    centre: Tensor
    neighbour: Tensor
    n_unordered: int

    @property
    def n_atoms(self) -> int:
        """Atoms of all crystals."""
        return int(self.crystal_index.shape[0])

    @classmethod
    def build(cls, num_atoms: Tensor) -> PairGraph:
        """Graph of crystals with `num_atoms` `[n_crystals]` atoms, in time and memory linear in the pairs."""
        device = num_atoms.device
        index = torch.repeat_interleave(torch.arange(num_atoms.shape[0], device=device), num_atoms)
        size = num_atoms[index]
        first = (num_atoms.cumsum(0) - num_atoms)[index]
        last = first + size
        atom = torch.arange(index.shape[0], device=device)
        # Neighbours i + 1, i + 2, ... of atom i, up to the last atom of its crystal.
        counts = last - atom - 1
        i = torch.repeat_interleave(atom, counts)
        j = torch.arange(i.shape[0], device=device) - (counts.cumsum(0) - counts)[i] + i + 1
        return cls(
            num_atoms=num_atoms,
            crystal_index=index,
            centre=torch.cat([i, atom, j]),
            neighbour=torch.cat([j, atom, i]),
            n_unordered=int(i.shape[0]),
        )


class PairCache:
    """Remembers the graphs of the last few batches by their numbers of atoms."""

    def __init__(self) -> None:
        self._graphs: OrderedDict[tuple[str, tuple[int, ...]], PairGraph] = OrderedDict()

    def get(self, num_atoms: Sequence[int], device: torch.device) -> PairGraph:
        """Graph of crystals with these numbers of atoms."""
        key = (str(device), tuple(num_atoms))
        graph = self._graphs.get(key)
        if graph is None:
            graph = PairGraph.build(torch.tensor(key[1], dtype=torch.int64, device=device))
            self._graphs[key] = graph
            if len(self._graphs) > _REMEMBERED:
                self._graphs.popitem(last=False)
        else:
            self._graphs.move_to_end(key)
        return graph
