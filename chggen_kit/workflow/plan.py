"""The plan of a run: what is drawn, in which cells, and cut into which pieces. Nothing here depends on timing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from pymatgen.core import Composition, Lattice, Structure

from chggen_kit.interfaces import SamplingTask
from chggen_kit.io.convert import to_batch
from chggen_kit.state import Known
from chggen_kit.symmetry import SymmetryOperations
from chggen_kit.workflow.formula import atom_counts, formula_units
from chggen_kit.workflow.lattices import lattice_for_start
from chggen_kit.workflow.records import HostRecord, LatticeSource, Record, StructureData
from chggen_kit.workflow.start_level import StartLevel


@dataclass(frozen=True)
class Draw:
    """One structure to be drawn.

    Attributes:
        record: who it is; everything else about it is still unknown.
        template: cell and species, the given atoms first; coordinates of the others are placeholders, unless the draw
            starts from them or is held within a symmetry that they have.
        lattice_known: whether the cell is given; else it is a placeholder.
        species_known: whether the species of the atoms that are not given are; else they are placeholders.
        operations: symmetry of the template that is kept; None for none.
    """

    record: Record
    template: Structure
    lattice_known: bool = True
    species_known: bool = True
    operations: SymmetryOperations | None = None


@dataclass(frozen=True)
class Shard:
    """Draws that are worked on together, from first to last, in one piece.

    Attributes:
        name: of the piece, e.g. `0003`.
        draws: in order.
        task: what the sampler is given; identities of equal templates are counted over the whole plan, so that they
            don't depend on where it was cut.
    """

    name: str
    draws: tuple[Draw, ...]
    task: SamplingTask


def plan_starts(
    composition: Composition,
    units: Sequence[int],
    n: int,
    volume_per_atom: float,
    seed: int,
    lattice: LatticeSource = "search",
) -> list[Draw]:
    """Starts of an unconditional run: `n` for each number of formula units, in random cells of N V0 each.

    With `lattice="generate"` the cells are left to the score model: cubes of that volume are their placeholders.
    """
    draws: list[Draw] = []
    for count in units:
        atoms = atom_counts(formula_units(composition, count))
        species = [symbol for symbol, amount in atoms.items() for _ in range(amount)]
        volume = volume_per_atom * len(species)
        for index in range(n):
            start = len(draws)
            if lattice == "generate":
                record = Record(
                    id=f"u{start:04d}",
                    stage="unconditional",
                    start=start,
                    formula_units=count,
                    lattice_source=lattice,
                )
                cube = Structure(Lattice.cubic(volume ** (1 / 3)), species, np.zeros((len(species), 3)))
                draws.append(Draw(record, cube, lattice_known=False))
                continue
            cell = lattice_for_start(volume, seed, index)
            record = Record(
                id=f"u{start:04d}",
                stage="unconditional",
                start=start,
                formula_units=count,
                lattice_source=lattice,
                lattice_family=cell.family,
                lattice_centring=cell.centring,
            )
            draws.append(Draw(record, Structure(Lattice(cell.matrix), species, np.zeros((len(species), 3)))))
    return draws


def fill_template(host: Structure, guest_counts: Mapping[str, int]) -> Structure:
    """`host` with placeholders for the guests behind its own atoms."""
    guests = [symbol for symbol, count in guest_counts.items() for _ in range(count)]
    return Structure(
        host.lattice,
        [*host.species, *guests],
        np.concatenate([host.frac_coords, np.zeros((len(guests), 3))]),
    )


def plan_inpaintings(hosts: Sequence[HostRecord], copies: int, units: Mapping[int, int | None]) -> list[Draw]:
    """`copies` structures for each host that was found.

    Args:
        hosts: hosts of a run; those without a structure are passed over.
        copies: structures drawn into each.
        units: formula units by start (None when the user gave the host).
    """
    draws: list[Draw] = []
    for host in hosts:
        if host.host is None:
            continue
        structure = host.host.structure()
        template = fill_template(structure, host.guest_counts)
        for copy in range(copies):
            record = Record(
                id=f"i{host.start:04d}-{copy}",
                stage="inpainted",
                start=host.start,
                copy_index=copy,
                host_id=host.id,
                host_atoms=len(structure),
                formula_units=units.get(host.start),
            )
            draws.append(Draw(record, template))
    return draws


def cut(sizes: Sequence[int], most: int) -> list[tuple[int, int]]:
    """Consecutive ranges whose sizes add up to at most `most`, and at least one entry each."""
    ranges: list[tuple[int, int]] = []
    low, total = 0, 0
    for index, size in enumerate(sizes):
        if index > low and total + size > most:
            ranges.append((low, index))
            low, total = index, 0
        total += size
    return [*ranges, (low, len(sizes))] if sizes else []


def make_shards(draws: Sequence[Draw], micro_batch_atoms: int, start: StartLevel | None = None) -> list[Shard]:
    """Cut a plan into pieces of at most `micro_batch_atoms` atoms (a larger crystal is a piece of its own).

    With `start` every draw starts from its template, noised to that level.
    """
    if not draws:
        return []
    templates = to_batch([draw.template for draw in draws])
    given = torch.zeros(templates.n_atoms, dtype=torch.bool)
    species_known = torch.ones(templates.n_atoms, dtype=torch.bool)
    for draw, offset in zip(draws, templates.offsets.tolist(), strict=False):
        given[offset : offset + draw.record.host_atoms] = True
        species_known[offset + draw.record.host_atoms : offset + len(draw.template)] = draw.species_known
    lattice_known = torch.tensor([draw.lattice_known for draw in draws])
    symmetry = None
    if any(draw.operations is not None for draw in draws):
        symmetry = tuple(draw.operations or SymmetryOperations.identity(len(draw.template)) for draw in draws)
    task = SamplingTask(
        templates,
        Known(given, species_known, lattice_known),
        start_sigma_A=None if start is None else start.sigma_A,
        start_fraction=None if start is None else start.fraction,
        symmetry=symmetry,
    )
    return [
        Shard(f"{number:04d}", tuple(draws[low:high]), task.select(range(low, high)))
        for number, (low, high) in enumerate(cut(templates.num_atoms.tolist(), micro_batch_atoms))
    ]


def restore_given(
    drawn: Structure,
    template: Structure,
    host_atoms: int,
    *,
    lattice_known: bool = True,
    species_known: bool = True,
) -> StructureData:
    """The drawn structure in the template's own cell (if that was given), its given atoms with the template's numbers.

    Samplers work with coordinates folded into [0, 1); the user's may lie outside. An atom that was drawn without
    finite coordinates stays where the template has it.
    """
    finite = np.isfinite(drawn.frac_coords).all(axis=1)
    finite[:host_atoms] = False
    coords = np.where(finite[:, None], drawn.frac_coords, template.frac_coords)
    lattice = template.lattice if lattice_known or not np.isfinite(drawn.lattice.matrix).all() else drawn.lattice
    species = template.species if species_known else [*template.species[:host_atoms], *drawn.species[host_atoms:]]
    return StructureData.of(Structure(lattice, species, coords))
