"""CHGNet's two graphs for a whole batch, built from tensors: bonds within one cutoff, angles between short bonds.

The conventions are those of Deng et al., Nature Machine Intelligence 5, 1031 (2023), section "Methods": a bond is
undirected and sends one message to each of its ends; every ordered pair of different bond ends at one atom is an angle.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from chggen_kit.state import CrystalBatch
from chggen_kit.torus import neighbours


@dataclass(frozen=True)
class BondGraph:
    """Bonds and angles of a batch.

    Attributes:
        first: atom at the start of each bond `[n_bonds]`; the `n_short` bonds below the angle cutoff come first.
        second: atom at its end `[n_bonds]`.
        vector: from start to end in Å, float64 `[n_bonds, 3]`.
        n_short: number of bonds that take part in angles.
        angle_centre: atom of each angle `[n_angles]`; the second half of all angles mirrors the first.
        angle_first: bond that the angle belongs to `[n_angles]`.
        angle_second: the other bond `[n_angles]`.
        angle_sign: for the first half of the angles, -1 where one of the two bonds starts and the other ends at the
            atom, else +1, float64 `[n_angles / 2]`.
    """

    first: Tensor
    second: Tensor
    vector: Tensor
    n_short: int
    angle_centre: Tensor
    angle_first: Tensor
    angle_second: Tensor
    angle_sign: Tensor

    def to(self, device: torch.device) -> BondGraph:
        """Copy with everything on `device`."""
        moved = {f.name: getattr(self, f.name).to(device) for f in fields(self) if f.name != "n_short"}
        return replace(self, **moved)


def build_graph(batch: CrystalBatch, bond_cutoff: float, angle_cutoff: float) -> BondGraph:
    """Graph of `batch` (finite, with cells that have a volume): bonds below `bond_cutoff` Å, all images included."""
    found = neighbours(batch.frac_coords, batch.lattice, batch.num_atoms, bond_cutoff)
    shift = found.shift
    # Of each edge and its reverse, one is kept: the one to the later atom, or along the positive translation.
    sign = 9 * torch.sign(shift[:, 0]) + 3 * torch.sign(shift[:, 1]) + torch.sign(shift[:, 2])
    half = (found.target < found.source) | ((found.target == found.source) & (sign > 0))
    kept = half.nonzero()[:, 0]
    vector = found.vector[kept]
    short = vector.square().sum(dim=1) < angle_cutoff**2
    order = kept[torch.cat([short.nonzero()[:, 0], (~short).nonzero()[:, 0]])]
    first, second, n_short = found.target[order], found.source[order], int(short.sum())
    centre, bond_a, bond_b, angle_sign = _angles(first[:n_short], second[:n_short], batch.n_atoms)
    return BondGraph(
        first=first,
        second=second,
        vector=found.vector[order],
        n_short=n_short,
        angle_centre=torch.cat([centre, centre]),
        angle_first=torch.cat([bond_a, bond_b]),
        angle_second=torch.cat([bond_b, bond_a]),
        angle_sign=angle_sign,
    )


def _angles(first: Tensor, second: Tensor, n_atoms: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Unordered pairs of different bond ends at one atom: the atom, the two bonds, and their relative sign."""
    n_bonds = first.shape[0]
    centre, end = torch.cat([first, second]).sort(stable=True)
    counts = torch.bincount(centre, minlength=n_atoms)
    last = counts.cumsum(0)[centre]
    place = torch.arange(2 * n_bonds)
    later = last - place - 1  # ends at the same atom that come after this one
    left = torch.repeat_interleave(place, later)
    start = later.cumsum(0) - later
    right = left + 1 + torch.arange(left.shape[0]) - start[left]
    end_a, end_b = end[left], end[right]
    sign = 1.0 - 2.0 * ((end_a < n_bonds) != (end_b < n_bonds)).to(torch.float64)
    return centre[left], end_a % max(n_bonds, 1), end_b % max(n_bonds, 1), sign
