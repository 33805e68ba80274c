"""Which space groups and Wyckoff positions crystals like this one have: a prior from known crystals."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np

from chggen_kit.metrics.families import family
from chggen_kit.symmetry.positions import Position
from chggen_kit.symmetry.wyckoff import Assignment

_PSEUDO = 0.5
"""Count that a space group which the family never shows is taken to have, and one a kind of site of an element."""
FREEDOMS = 4
"""Sites have 0, 1, 2 or 3 free coordinates."""


@lru_cache(maxsize=1)
def _table() -> Mapping[str, Any]:
    table: Mapping[str, Any] = json.loads(files("chggen_kit").joinpath("data/symmetry_prior.json").read_text("utf-8"))
    return table


@dataclass(frozen=True)
class SymmetryPrior:
    """Statistics of known crystals of one chemical family and of the sites of some elements.

    Attributes:
        groups: crystals of the family by number of the space group.
        sites: for each element the shares of its orbits on positions with 0, 1, 2 and 3 free coordinates.
    """

    groups: Mapping[int, float]
    sites: Mapping[str, tuple[float, ...]]

    @classmethod
    def load(cls, symbols: Sequence[str]) -> SymmetryPrior:
        """The shipped statistics (`scripts/symmetry_statistics.py`) for a compound of the elements `symbols`."""
        table = _table()
        sites = {}
        for symbol in symbols:
            counts = [count + 1.0 for count in table["sites"].get(symbol, [0] * FREEDOMS)]
            sites[symbol] = tuple(count / sum(counts) for count in counts)
        groups = {int(number): float(count) for number, count in table["groups"][family(symbols)].items()}
        return cls(groups, sites)

    def choose_group(self, able: Sequence[int], rng: np.random.Generator) -> int:
        """One of the space groups `able`, as often as the family has it."""
        weights = np.array([self.groups.get(number, 0.0) + _PSEUDO for number in able])
        return int(rng.choice(np.asarray(able), p=weights / weights.sum()))

    def choose_assignment(
        self, candidates: Sequence[Assignment], positions: Sequence[Position], rng: np.random.Generator
    ) -> Assignment:
        """One of the assignments, by how usual its sites are for the elements on them (each orbit counts once)."""
        logs = np.array(
            [sum(math.log(self.sites[symbol][positions[index].dof]) for symbol, index in one) for one in candidates]
        )
        weights = np.exp(logs - logs.max())
        return candidates[int(rng.choice(len(candidates), p=weights / weights.sum()))]
