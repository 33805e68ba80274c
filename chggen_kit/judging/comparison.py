"""Whether potentials agree on an order.

Energies of different frames are never subtracted. What is compared are differences within one potential: of E_d, and
between structures of one composition of energies per atom, which differ by the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations


@dataclass(frozen=True)
class Level:
    """What one potential says of one candidate.

    Attributes:
        energy_per_atom: in eV/atom, in the potential's own frame.
        decomposition_energy: E_d in eV/atom against references in the same frame; None without such references.
    """

    energy_per_atom: float
    decomposition_energy: float | None = None


@dataclass(frozen=True)
class Compared:
    """One candidate as all potentials see it.

    Attributes:
        id: identity in the run.
        formula: reduced formula.
        levels: by potential; a potential whose relaxation failed has none.
    """

    id: str
    formula: str
    levels: Mapping[str, Level]


@dataclass(frozen=True)
class Agreement:
    """How far two potentials put candidates into the same order.

    Attributes:
        tau: Kendall's tau-a: concordant minus discordant pairs over all pairs that can be compared; None without any.
        pairs: how many pairs can be compared.
    """

    tau: float | None
    pairs: int


def difference(one: Compared, other: Compared, potential: str) -> float | None:
    """How far `one` lies above `other` by `potential`, in eV/atom; None where it cannot tell."""
    first, second = one.levels.get(potential), other.levels.get(potential)
    if first is None or second is None:
        return None
    if one.formula == other.formula:
        return first.energy_per_atom - second.energy_per_atom
    if first.decomposition_energy is None or second.decomposition_energy is None:
        return None
    return first.decomposition_energy - second.decomposition_energy


def swapped_pairs(
    candidates: Sequence[Compared], potentials: Sequence[str], margin: float
) -> list[tuple[Compared, Compared]]:
    """Pairs that one potential puts in one order and another in the other, each by more than `margin` eV/atom."""
    swapped = []
    for one, other in combinations(candidates, 2):
        found = [value for name in potentials if (value := difference(one, other, name)) is not None]
        if found and min(found) < -margin and max(found) > margin:
            swapped.append((one, other))
    return swapped


def agreement(candidates: Sequence[Compared], first: str, second: str) -> Agreement:
    """Kendall's tau of the orders of two potentials, over the pairs that both can tell apart or not."""
    score = pairs = 0
    for one, other in combinations(candidates, 2):
        a, b = difference(one, other, first), difference(one, other, second)
        if a is None or b is None:
            continue
        pairs += 1
        score += (a * b > 0) - (a * b < 0)
    return Agreement(score / pairs if pairs else None, pairs)


def spread(candidate: Compared) -> float | None:
    """Largest minus smallest E_d of a candidate in eV/atom; None where fewer than two potentials have one."""
    known = [
        level.decomposition_energy for level in candidate.levels.values() if level.decomposition_energy is not None
    ]
    return max(known) - min(known) if len(known) > 1 else None
