"""Null rates: how often random frameworks of the same size are called symmetric.

A tolerance that is wide against the distances of a small framework finds symmetry in anything. A success rate says
something only beside the rate that the same search has where there is nothing to find.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pymatgen.core import Lattice, Structure

from chggen_kit.draws import Draws
from chggen_kit.errors import InputError
from chggen_kit.interfaces import HostRefiner, SamplingTask
from chggen_kit.interfaces.sampler import CrystalId
from chggen_kit.io.convert import to_batch, to_structures
from chggen_kit.metrics.intervals import Share, wilson
from chggen_kit.samplers.random_placement import RandomOptions, RandomPlacement
from chggen_kit.state import Known

MIN_DISTANCE_A = 1.6
"""Shortest distance in a random framework: about that of the shortest bonds of a relaxed one."""
RATIO_RANGE = (0.75, 1.25)
ANGLES_DEG = (75.0, 105.0)
"""Shapes of random cells: triclinic, as those of relaxed structures are."""


@dataclass(frozen=True)
class NullRate:
    """How often a refiner finds symmetry in random frameworks.

    Attributes:
        share: symmetric ones of those tried.
        no_room: frameworks that could not be made, because their atoms did not fit; not counted in `share`.
        n_atoms: of a framework.
        volume_per_atom_A3: in Å^3.
        seconds: that it took.
    """

    share: Share
    no_room: int
    n_atoms: int
    volume_per_atom_A3: float
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**vars(self), "share": self.share.as_json()}


def random_framework(
    species: Sequence[str], volume_A3: float, *, seed: int, number: int = 0, min_distance_A: float = MIN_DISTANCE_A
) -> Structure | None:
    """A random arrangement of atoms in a random triclinic cell; None when they have no room.

    Args:
        species: symbols of the elements, one an atom.
        volume_A3: of the cell in Å^3.
        seed: of the run.
        number: of the framework: those of one seed are independent draws.
        min_distance_A: between two different atoms, images included.

    Raises:
        InputError: without atoms, or when the volume is not positive.
    """
    if not species or not (math.isfinite(volume_A3) and volume_A3 > 0):
        raise InputError(f"A random framework of {len(species)} atoms in {volume_A3} Å^3 cannot be made.")
    identity = CrystalId(f"null:{','.join(species)}", number)
    generator = Draws(seed, [identity], [len(species)]).generator(0, 0, 0, "lattice", "null")
    cell = Lattice.from_parameters(*generator.uniform(*RATIO_RANGE, 3), *generator.uniform(*ANGLES_DEG, 3))
    template = Structure(cell.scale(volume_A3), list(species), np.zeros((len(species), 3)))
    batch = to_batch([template])
    nothing = torch.zeros(len(species), dtype=torch.bool)
    task = SamplingTask(batch, Known.coordinates_only(batch, nothing), (identity,))
    drawn = RandomPlacement(RandomOptions.model_validate({"min_distance_A": min_distance_A})).sample(
        None, task, seed=seed
    )
    return None if drawn.reasons[0] is not None else to_structures(drawn.crystals)[0]


def null_rate(
    refiner: HostRefiner,
    species: Sequence[str],
    volume_per_atom_A3: float,
    *,
    n: int = 100,
    seed: int = 0,
    min_distance_A: float = MIN_DISTANCE_A,
    seconds: float | None = None,
) -> NullRate:
    """Share of random frameworks in which `refiner` finds symmetry, with Wilson's interval.

    Args:
        refiner: any host refiner.
        species: symbols of the host's elements, one an atom.
        volume_per_atom_A3: volume of the cell per host atom in Å^3 (guests leave their room to the host).
        n: frameworks.
        seed: of their draws.
        min_distance_A: shortest distance in a framework.
        seconds: time after which no further framework is begun: the share is then over fewer.

    Raises:
        InputError: as `random_framework`.
    """
    began = time.perf_counter()
    found = tried = no_room = 0
    for number in range(n):
        if seconds is not None and time.perf_counter() - began > seconds:
            break
        structure = random_framework(
            species, volume_per_atom_A3 * len(species), seed=seed, number=number, min_distance_A=min_distance_A
        )
        if structure is None:
            no_room += 1
            continue
        tried += 1
        found += bool(refiner.refine(structure, ()))
    spent = time.perf_counter() - began
    return NullRate(wilson(found, tried), no_room, len(species), volume_per_atom_A3, spent)
