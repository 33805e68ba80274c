"""How much more likely a symmetric crystal that is a little out of place is than a chance arrangement.

Any atoms can be moved until they are symmetric; what matters is whether that takes less moving than chance would. Two
accounts of the positions of n atoms in a volume V are compared:

- chance: each atom anywhere, probability density V^-n;
- symmetry: the crystal is anywhere on the surface of the symmetric arrangements (free positions of one atom of each
  orbit, free origin), labels of like atoms anyhow, and off that surface by normal noise of sigma a coordinate.

With d the number of displacements (3 n) that are lost by symmetry and |u|^2 the sum of squared displacements in Å^2,

    log R = d log(V^(1/3) / (sigma sqrt(2 pi))) - |u|^2 / (2 sigma^2) - log M - sum over orbits of (q / 2) log k

where M is the number of ways to give the atoms to the orbits (so that finding any of them counts), and the last sum is
the area of the surface: an orbit of k atoms with q degrees of freedom is stretched k^(q/2)-fold against one atom of
it. The noise is not known: R is the mean over widths from 0.03 to 0.25 Å a coordinate, evenly in log sigma. Wider noise
is hard to tell from chance: with widths to 0.5 Å nearly twice as many random frameworks passed for symmetric.
If chance is true, R has mean 1 whatever the group, so that it exceeds exp(t) with a probability of at most exp(-t)
(Markov) for each of the groups that could have been found. Evenly distributed atoms that may overlap are a rough
account of frameworks, which is why the threshold was measured (docs/refiners.md).
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chggen_kit.symmetry.discrete import Discrete

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

WIDTHS_A: Array = np.geomspace(0.03, 0.25, 10)
STRAIN_WIDTHS: Array = np.geomspace(0.002, 0.05, 12)
"""Widths of the noise of positions in Å a coordinate, and of the six logarithmic strains."""
FREE_STRAIN = 0.2
"""Spread of the six logarithmic strains among reduced cells without symmetry."""


@dataclass(frozen=True)
class Freedom:
    """What symmetry takes from a crystal.

    Attributes:
        positions: displacements that are lost, the choice of the origin not counted.
        strains: strains of the cell that are lost.
        log_ways: log M, plus the area of the surface of symmetric arrangements (see the module).
    """

    positions: int
    strains: int
    log_ways: float

    def __add__(self, other: Freedom) -> Freedom:
        return Freedom(self.positions + other.positions, self.strains + other.strains, self.log_ways + other.log_ways)


def freedom(operations: Discrete, numbers: Integers) -> Freedom:
    """Degrees of freedom lost by a group, from its characters.

    Args:
        operations: a group.
        numbers: one for each species `[n_atoms]`.
    """
    n_ops, n_atoms = operations.permutations.shape
    traces = np.trace(operations.rotations, axis1=1, axis2=2)
    squares = np.trace(operations.rotations @ operations.rotations, axis1=1, axis2=2)
    stays = operations.permutations == np.arange(n_atoms)
    kept = round(float((traces * stays.sum(axis=1)).sum() / n_ops))
    polar = round(float(traces.sum() / n_ops))
    metrics = round(float((traces**2 + squares).sum() / 2 / n_ops))
    return Freedom(3 * n_atoms - 3 - kept + polar, 6 - metrics, _log_ways(operations, numbers, stays, traces))


def _log_ways(operations: Discrete, numbers: Integers, stays: NDArray[np.bool_], traces: Integers) -> float:
    total = sum(math.lgamma(count + 1) for count in Counter(numbers.tolist()).values())
    kinds: Counter[tuple[int, bytes]] = Counter()
    stabilisers = [column.tobytes() for column in np.ascontiguousarray(stays.T)]
    for first in np.unique(operations.permutations.min(axis=0)):
        members = np.unique(operations.permutations[:, first])
        site = stays[:, first]
        dimension = float(traces[site].sum() / site.sum())
        # Relabellings of the orbit that the group does not notice: its atoms with the very stabiliser of the first.
        alike = sum(stabilisers[member] == stabilisers[first] for member in members)
        total += -math.log(alike) + dimension / 2 * math.log(len(members))
        kinds[int(numbers[first]), min(stabilisers[member] for member in members)] += 1
    return total - sum(math.lgamma(count + 1) for count in kinds.values())


def log_evidence(lost: Freedom, square_A2: float, volume_A3: float) -> float:
    """Log R of the positions (see the module).

    Args:
        lost: by the group.
        square_A2: sum of the squared displacements of all atoms.
        volume_A3: of the cell.
    """
    length = volume_A3 ** (1 / 3)
    return _mean_over_widths(lost.positions, square_A2, length, WIDTHS_A) - lost.log_ways


def log_strain_evidence(lost: Freedom, square: float) -> float:
    """The same for the cell: strains that are lost, and the sum of the squares of the principal ones."""
    return _mean_over_widths(lost.strains, square, FREE_STRAIN * math.sqrt(2 * math.pi), STRAIN_WIDTHS)


def _mean_over_widths(lost: int, square: float, length: float, widths: Array) -> float:
    terms = lost * np.log(length / (widths * math.sqrt(2 * math.pi))) - square / (2 * widths**2)
    return float(np.logaddexp.reduce(terms) - math.log(len(widths)))
