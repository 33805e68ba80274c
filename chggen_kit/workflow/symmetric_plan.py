"""Plans of draws that keep a symmetry, or start from a structure that is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Composition, Lattice, Structure

from chggen_kit.errors import InputError
from chggen_kit.symmetry import SymmetryOperations, find_operations
from chggen_kit.symmetry.guests import guest_orbits
from chggen_kit.symmetry.naming import name_operations
from chggen_kit.symmetry.prior import SymmetryPrior
from chggen_kit.symmetry.random_crystals import ABOVE_TRICLINIC, Effort, random_symmetric_crystal
from chggen_kit.workflow.config import GenerateConfig, InpaintConfig
from chggen_kit.workflow.formula import atom_counts, formula_units
from chggen_kit.workflow.plan import Draw, plan_inpaintings, plan_starts
from chggen_kit.workflow.records import HostRecord, LatticeSource, Record, StructureData

_STARTS, _FILLS = 0x5E77, 0x0CC5
"""Keep these draws apart from other uses of the same seed."""
_EFFORT = Effort(min_distance_A=1.0)
"""Templates whose free coordinates the score model draws anew: the distances matter only on special positions."""
NO_ROOM = "no-room"
NO_ORBITS = "no-orbits"
"""Outcomes of draws for which there is no symmetric template."""
_HOST_SYMPREC_A = 0.01
"""A refined host, or one that the user gives, has its symmetry to this accuracy."""


@dataclass
class Plan:
    """Draws, and records of those that cannot be drawn, with the reason of each as far as there is a text."""

    draws: list[Draw] = field(default_factory=list)
    failed: list[Record] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


def wyckoff_starts(
    composition: Composition,
    units: Sequence[int],
    n: int,
    volume_per_atom: float,
    seed: int,
    lattice: LatticeSource,
    *,
    groups: Sequence[int] = (),
    prior: Literal["chemistry", "uniform"] = "chemistry",
) -> Plan:
    """Starts within random space groups and Wyckoff assignments, in random cells of their crystal systems.

    Args:
        composition: of one formula unit.
        units: numbers of formula units in the cell.
        n: starts for each of them.
        volume_per_atom: in Å^3.
        seed: of the draws; those of a start depend on it and on the start's number alone.
        lattice: with `generate` the cells are placeholders, of which the symmetry counts.
        groups: to choose from; empty for all above P-1.
        prior: see `chggen_kit.symmetry.prior`; or `uniform`.

    Raises:
        InputError: when no group can hold the composition.
    """
    plan = Plan()
    weigh = SymmetryPrior.load(tuple(atom_counts(composition))) if prior == "chemistry" else None
    for count in units:
        atoms = atom_counts(formula_units(composition, count))
        total = sum(atoms.values())
        for _ in range(n):
            start = len(plan.draws) + len(plan.failed)
            rng = np.random.default_rng(np.random.SeedSequence([_STARTS, seed, start]))
            found = random_symmetric_crystal(
                atoms,
                rng,
                volume_A3=volume_per_atom * total,
                groups=groups or ABOVE_TRICLINIC,
                effort=_EFFORT,
                prior=weigh,
            )
            record = Record(
                id=f"u{start:04d}",
                stage="unconditional",
                start=start,
                formula_units=count,
                lattice_source=lattice,
            )
            if found is None:
                cube = Lattice.cubic((volume_per_atom * total) ** (1 / 3))
                symbols = [symbol for symbol, number in atoms.items() for _ in range(number)]
                empty = StructureData.of(Structure(cube, symbols, np.zeros((total, 3))))
                plan.failed.append(record.updated(outcome=NO_ROOM, generated=empty))
                continue
            plan.draws.append(_held(record, found.structure, found.operations, lattice_known=lattice != "generate"))
    if not plan.draws:
        raise InputError(
            f"No space group{' of those named' if groups else ' above P-1'} was found that can hold "
            f"{composition.formula} at {', '.join(map(str, units))} formula units. Change the number of formula units, "
            "or draw without symmetry."
        )
    return plan


def starts_from(
    structure: Structure,
    n: int,
    lattice: LatticeSource,
    *,
    symmetric: bool,
    tolerances: tuple[float, float],
) -> list[Draw]:
    """`n` starts from one structure, within its symmetry where `symmetric`.

    Args:
        structure: the template of all.
        n: how many.
        lattice: with `generate` the cell is drawn too.
        symmetric: whether its symmetry is kept; the template is then the exactly symmetric structure next to it.
        tolerances: in Å and degrees, of that symmetry.

    Raises:
        InputError: when it has no symmetry within the tolerances.
    """
    template, operations = structure, None
    if symmetric:
        template, operations = find_operations(structure, *tolerances)
        if operations.n_ops == 1:
            raise InputError(
                f"{structure.composition.formula} has no symmetry within {tolerances[0]} Å. Use a larger tolerance "
                "(--symprec), or symmetrise it first (chggen refine)."
            )
    draws = []
    for start in range(n):
        record = Record(id=f"u{start:04d}", stage="unconditional", start=start, lattice_source=lattice)
        known = lattice != "generate"
        if operations is None:
            draws.append(Draw(record, template, lattice_known=known))
        else:
            draws.append(_held(record, template, operations, lattice_known=known))
    return draws


def symmetric_fills(hosts: Sequence[HostRecord], copies: int, units: Mapping[int, int | None], seed: int) -> Plan:
    """`copies` draws for each host, each with its guests on random orbits of the host's group or of a subgroup of it.

    Arguments as `plan_inpaintings`. A host whose group and subgroups hold no such guests gives records with the
    outcome `no-orbits`.
    """
    plan = Plan()
    by_id = {host.id: host for host in hosts}
    for draw in plan_inpaintings(hosts, copies, units):
        record = draw.record
        host = by_id[str(record.host_id)]
        structure = Structure.from_sites(draw.template.sites[: record.host_atoms])
        rng = np.random.default_rng(np.random.SeedSequence([_FILLS, seed, record.start, record.copy_index]))
        try:
            exact, operations = _host_symmetry(structure)
            found = guest_orbits(exact, operations, host.guest_counts, rng)
        except InputError as error:
            plan.failed.append(record.updated(outcome=NO_ORBITS, generated=StructureData.of(draw.template)))
            plan.reasons.append(str(error))
            continue
        plan.draws.append(_held(record, found.structure, found.operations))
    return plan


def _host_symmetry(host: Structure) -> tuple[Structure, SymmetryOperations]:
    exact, operations = find_operations(host, _HOST_SYMPREC_A, 1.0)
    if operations.n_ops == 1:
        raise InputError(
            f"The host {host.composition.formula} has no symmetry within {_HOST_SYMPREC_A} Å: there is none to keep. "
            "Symmetrise it first (chggen refine), or draw without --symmetry."
        )
    return exact, operations


def fills_from(draws: Sequence[Draw], filled: Structure) -> list[Draw]:
    """`draws` into one host, with the guests where `filled` has them.

    Raises:
        InputError: when `filled` is not the host with these guests.
    """
    result = []
    for draw in draws:
        host_atoms = draw.record.host_atoms
        coords = draw.template.frac_coords.copy()
        coords[host_atoms:] = _guest_coords(draw.template, host_atoms, filled)
        template = Structure(draw.template.lattice, draw.template.species, coords)
        result.append(replace(draw, template=template))
    return result


def _guest_coords(template: Structure, host_atoms: int, filled: Structure) -> NDArray[np.float64]:
    """Coordinates of the guests of `filled`, in the order of the template's `[n_guests, 3]`."""
    from scipy.optimize import linear_sum_assignment

    if filled.composition != template.composition:
        raise InputError(
            f"The structure to start from is {filled.composition.formula}; the host with its guests is "
            f"{template.composition.formula}."
        )
    if not np.allclose(filled.lattice.parameters, template.lattice.parameters, rtol=0.02, atol=0.0):
        raise InputError("The structure to start from has another cell than the host.")
    # Host atoms take the nearest atoms of their own element; the guests are those that are left.
    own = [site.specie for site in template]
    far = template.lattice.get_all_distances(template.frac_coords[:host_atoms], filled.frac_coords)
    others = np.array([[site.specie != mine for site in filled] for mine in own[:host_atoms]])
    _, taken = linear_sum_assignment(far + 1e6 * others.reshape(far.shape))
    left = [index for index in range(len(filled)) if index not in set(taken.tolist())]
    rows = []
    for symbol in own[host_atoms:]:
        index = next(index for index in left if filled[index].specie == symbol)
        left.remove(index)
        rows.append(filled.frac_coords[index])
    return np.array(rows).reshape(-1, 3)


def _held(record: Record, template: Structure, operations: SymmetryOperations, *, lattice_known: bool = True) -> Draw:
    """A draw within the symmetry of its template, which the record names."""
    group = name_operations(operations, template.lattice.matrix)
    if group is not None:
        record = record.updated(imposed_number=group[0], imposed_symbol=group[1])
    return Draw(record, template, lattice_known=lattice_known, operations=operations)


def plan_whole(
    config: GenerateConfig, composition: Composition, volume_per_atom: float, lattice: LatticeSource
) -> Plan:
    """Starts of a run: free ones, within random space groups, or from the structure that was given.

    Args:
        config: of the run.
        composition: of one formula unit.
        volume_per_atom: in Å^3.
        lattice: where cells come from.

    Raises:
        InputError: when there is no symmetry that could be imposed, or the given structure has another composition.
    """
    if config.start_from is not None:
        structure = config.start_from.structure()
        wanted = [formula_units(composition, count) for count in config.formula_units]
        if wanted != [structure.composition]:
            raise InputError(
                f"The structure to start from is {structure.composition.formula}; the run is for "
                f"{' and '.join(one.formula for one in wanted)}. Give the formula of its whole cell, or its formula "
                "units, or leave the formula out."
            )
        tolerances = (config.symprec_A, config.angle_tolerance_deg)
        draws = starts_from(structure, config.n, lattice, symmetric=config.symmetry == "given", tolerances=tolerances)
        units = config.formula_units[0]
        return Plan([replace(one, record=one.record.updated(formula_units=units)) for one in draws])
    if config.symmetry == "wyckoff":
        return wyckoff_starts(
            composition,
            config.formula_units,
            config.n,
            volume_per_atom,
            config.seed,
            lattice,
            groups=config.symmetry_groups,
            prior=config.symmetry_prior,
        )
    return Plan(plan_starts(composition, config.formula_units, config.n, volume_per_atom, config.seed, lattice))


def plan_fills(
    config: GenerateConfig | InpaintConfig, hosts: Sequence[HostRecord], units: Mapping[int, int | None]
) -> Plan:
    """Inpaintings of a run: as `plan_inpaintings` has them, or with the guests on orbits of the host's symmetry."""
    copies = config.inpaintings if isinstance(config, GenerateConfig) else config.n
    if config.symmetry in {"host", "wyckoff", "given"}:
        return symmetric_fills(hosts, copies, units, config.seed)
    return Plan(plan_inpaintings(hosts, copies, units))
