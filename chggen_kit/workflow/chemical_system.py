"""Starts of a run whose compositions the score model makes itself, from the elements of a chemical system."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pymatgen.core import Lattice, Structure

from chggen_kit.errors import InputError
from chggen_kit.workflow.assembly import Parts
from chggen_kit.workflow.config import GenerateConfig
from chggen_kit.workflow.formula import check_symbol
from chggen_kit.workflow.plan import Draw
from chggen_kit.workflow.records import Record

_STREAM = 0x5153E3
"""Keeps these draws apart from other uses of the same seed."""
_PLACEHOLDER_EDGE_A = 5.0


def choose_sizes(config: GenerateConfig, parts: Parts) -> list[int]:
    """Number of atoms of each start: those that the user gave, in turn, or drawn as the model's training set has them.

    Raises:
        InputError: when the parts cannot generate compositions, or nobody says how many atoms.
    """
    for symbol in config.chemical_system:
        check_symbol(symbol, "the chemical system")
    model, sampler = parts.model, parts.unconditional_sampler
    able = model is not None and sampler is not None and sampler.needs_model
    if model is None or not able or not (model.processes["species"].moves and model.processes["lattice"].moves):
        raise InputError(
            "A chemical system needs a score model that generates species and cells, which the backend "
            f"{config.backend.name} with the sampler {config.unconditional_sampler.name} does not. Give a formula, or "
            "choose another backend."
        )
    if config.atoms:
        return [config.atoms[index % len(config.atoms)] for index in range(config.n)]
    shares = model.capabilities.atom_counts
    if not shares:
        raise InputError(
            f"The backend {config.backend.name} does not say how many atoms its crystals have. Give numbers of atoms "
            "with --atoms."
        )
    counts = sorted(shares, key=int)
    weights = np.array([shares[count] for count in counts])
    drawn = np.random.default_rng([_STREAM, config.seed]).choice(counts, size=config.n, p=weights / weights.sum())
    return [int(count) for count in drawn]


def plan_system_starts(system: Sequence[str], sizes: Sequence[int]) -> list[Draw]:
    """One start for each number of atoms; cells and species are placeholders."""
    draws = []
    for start, size in enumerate(sizes):
        record = Record(id=f"u{start:04d}", stage="unconditional", start=start, lattice_source="generate")
        cube = Structure(Lattice.cubic(_PLACEHOLDER_EDGE_A), [system[0]] * size, np.zeros((size, 3)))
        draws.append(Draw(record, cube, lattice_known=False, species_known=False))
    return draws
