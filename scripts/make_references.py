"""Remake the reference phases that ship with the kit (chggen_kit/thermo/data/references.json.gz).

    python scripts/make_references.py new structures.jsonl.gz --work WORK
    python scripts/make_references.py add --potential chgnet --potential-option weights=r2scan --work WORK
    python scripts/make_references.py add --potential sevennet --potential-option weights=7net-0 --work WORK

`new` takes the known phases of the showcase systems from a file of structures (gzip'd JSON lines with id, source,
lattice, species, frac_coords, e_above_hull and tags), relaxes them with CHGNet, merges those that became the same, and
writes the file; `add` relaxes them on with another potential and adds its energies. What is relaxed is kept in WORK, so
both go on where they were. Afterwards bring the numbers of chggen_kit/thermo/data/README.md up to date.
"""

from __future__ import annotations

import argparse
import gzip
import json
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Structure

from chggen_kit.cli._shared import parse_assignments
from chggen_kit.plugins import get_registry
from chggen_kit.progress import make_progress
from chggen_kit.thermo.cache import CachedRelaxation, RelaxationCache
from chggen_kit.thermo.hull import Hull
from chggen_kit.thermo.packaged import (
    NEAR_HULL,
    PackagedPhase,
    PackagedPotential,
    PackagedSet,
    read_set,
    representatives,
)
from chggen_kit.thermo.phases import ReferencePhase, References, amounts_of
from chggen_kit.thermo.relaxed import ActivePotential, ReferenceSettings, StartingPhase, relax_phases
from chggen_kit.workflow.assembly import library_versions
from chggen_kit.workflow.records import StructureData

SYSTEMS = (("Li", "Si"), ("P", "S", "Zn"), ("Li", "P", "S"))
"""Chemical systems of the file."""
NOT_TAKEN = ("pymatgen_core_tests", "jarvis_supercon")
"""Sources that hold slabs of silicon, and hypothetical compounds that nobody compared with a hull (one, LiS2, would lie
0.07 eV/atom below CHGNet's)."""
ELEMENTS_WITHIN = 0.05
"""eV/atom: allotropes further above their ground state are not taken."""
STRAIN = 0.01
"""Of the copies that are relaxed where a structure meets the limits as it comes."""
COMPOUNDS_WITHIN = 0.1
"""eV/atom: compounds that computations put further above the hull are not taken; where CHGNet errs by more (LiS: 0.22
eV/atom above the hull of the Materials Project, on that of CHGNet), such a phase would hide what is really stable."""
KEEP_WITHIN = 0.3
"""eV/atom above CHGNet's hull: higher phases say nothing about stability."""
SAME_ENERGY = 0.002
"""eV/atom: structures of equal formula that match and are closer than this are one phase."""
TARGET = Path(__file__).parent.parent / "chggen_kit" / "thermo" / "data" / "references.json.gz"


def main() -> None:
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--work", type=Path, required=True, help="folder for relaxations, kept between runs")
    shared.add_argument("--out", type=Path, default=TARGET, help="the file of references [%(default)s]")
    shared.add_argument("--fmax", type=float, default=ReferenceSettings().fmax, help="eV/Å [%(default)s]")
    shared.add_argument("--max-steps", type=int, default=ReferenceSettings().max_steps, help="[%(default)s]")
    shared.add_argument("--potential-option", action="append", default=[], metavar="NAME=VALUE")
    verbs = parser.add_subparsers(dest="verb", required=True)
    new = verbs.add_parser("new", parents=[shared], help="structures from DATA, relaxed with CHGNet")
    new.add_argument("data", type=Path)
    add = verbs.add_parser("add", parents=[shared], help="energies of another potential")
    add.add_argument("--potential", required=True)
    add.add_argument("--within", type=float, default=NEAR_HULL, help="eV/atom above CHGNet's hull [%(default)s]")
    args = parser.parse_args()
    settings = ReferenceSettings(fmax=args.fmax, max_steps=args.max_steps)
    # Relaxations keep a warning for every structure that pymatgen rounds.
    warnings.simplefilter("ignore")
    if args.verb == "new":
        write(args.out, new_set(args.data, activate("chgnet", args.potential_option), settings, args.work))
    else:
        active = activate(args.potential, args.potential_option)
        write(args.out, with_potential(read_set(args.out), active, settings, args.work, args.within))


def activate(name: str, assignments: Sequence[str]) -> ActivePotential:
    """The potential of that name."""
    registry = get_registry()
    options = parse_assignments(assignments, "--potential-option")
    return ActivePotential(registry.create_potential(name, options), options, registry)


def select(data: Path) -> Iterator[StartingPhase]:
    """Known bulk phases of the systems, near the computed hull; compounds of unknown distance are taken too."""
    with gzip.open(data, "rt", encoding="utf-8") as lines:
        for line in lines:
            row: dict[str, Any] = json.loads(line)
            elements = set(row["species"])
            if row["source"] in NOT_TAKEN or not any(elements <= set(system) for system in SYSTEMS):
                continue
            height = row["e_above_hull"]
            if len(elements) == 1 and (height is None or height > ELEMENTS_WITHIN):
                continue
            if height is not None and height > COMPOUNDS_WITHIN:
                continue
            structure = Structure(row["lattice"], row["species"], row["frac_coords"])
            yield StartingPhase(row["id"], row["source"], structure)


def new_set(data: Path, active: ActivePotential, settings: ReferenceSettings, work: Path) -> PackagedSet:
    """The phases of `data`, relaxed, merged and cut at `KEEP_WITHIN`."""
    starts = list(select(data))
    print(f"{len(starts)} structures, {sum(len(one.structure) for one in starts)} atoms", flush=True)
    outcomes = relax_all(starts, active, settings, work)
    phases = []
    for start, outcome in zip(starts, outcomes, strict=True):
        if outcome.energy is None or outcome.reason != "converged":
            print(f"{start.id} ({start.structure.reduced_formula}): {outcome.reason} after {outcome.steps} steps")
        if outcome.energy is not None:
            phases.append(
                ReferencePhase(
                    start.id,
                    amounts_of(start.structure.composition),
                    outcome.energy,
                    active.energy_frame,
                    active.name,
                    start.source,
                    outcome.structure,
                )
            )
    merged = merge(phases)
    print(f"{len(phases)} relaxed, {len(merged)} distinct")
    hull = Hull(References(merged, "new"))
    packaged = []
    for phase in merged:
        height = hull.place(phase).decomposition_energy
        if phase.data is None or height > KEEP_WITHIN:
            print(f"{phase.id} ({phase.formula}) is left out: {height:.3f} eV/atom above the hull")
            continue
        packaged.append(
            PackagedPhase(
                id=phase.id,
                source=phase.source,
                structure=rounded(phase.data),
                energies={active.name: round(phase.energy, 6)},
                above_hull=round(max(height, 0.0), 6),
            )
        )
    about = PackagedPotential(energy_frame=active.energy_frame, settings=settings, versions=library_versions())
    return PackagedSet(systems=SYSTEMS, potentials={active.name: about}, phases=tuple(packaged))


def relax_all(
    starts: Sequence[StartingPhase], active: ActivePotential, settings: ReferenceSettings, work: Path
) -> list[CachedRelaxation]:
    """Relaxations of all; those that would end where they begin, from strained copies: what is shipped moved."""
    cache = RelaxationCache(work)
    with make_progress("plain", "relax") as progress:
        outcomes = relax_phases(starts, active, settings, cache=cache, progress=progress)
    unmoved = [index for index, outcome in enumerate(outcomes) if outcome.steps == 0]
    strained = []
    for index in unmoved:
        structure = starts[index].structure.copy()
        structure.apply_strain(STRAIN)
        strained.append(StartingPhase(starts[index].id, starts[index].source, structure))
    again = relax_phases(strained, active, settings, cache=cache)
    for index, outcome in zip(unmoved, again, strict=True):
        outcomes[index] = outcome
    return outcomes


def merge(phases: Sequence[ReferencePhase]) -> list[ReferencePhase]:
    """One of each group of equal phases: the one of lowest energy, or nearly that with the smallest cell."""
    matcher = StructureMatcher()
    kept: list[ReferencePhase] = []
    for phase in sorted(phases, key=lambda one: (one.formula, round(one.energy_per_atom, 4), one.n_atoms, one.id)):
        alike = (
            one
            for one in kept
            if one.formula == phase.formula and abs(one.energy_per_atom - phase.energy_per_atom) < SAME_ENERGY
        )
        twin = next((one for one in alike if matcher.fit(one.structure, phase.structure)), None)
        if twin is None:
            kept.append(phase)
        else:
            print(f"{phase.id} became the same as {twin.id} ({phase.formula})")
    return sorted(kept, key=lambda one: (len(one.amounts), one.formula, one.energy_per_atom))


def rounded(data: StructureData) -> StructureData:
    """Six decimals: 1e-6 Å at 0.02 eV/Å moves no energy that is kept."""
    return StructureData(
        species=data.species,
        lattice=[[round(value, 6) for value in row] for row in data.lattice],
        frac_coords=[[round(value % 1.0, 6) for value in row] for row in data.frac_coords],
    )


def with_potential(
    known: PackagedSet, active: ActivePotential, settings: ReferenceSettings, work: Path, within: float
) -> PackagedSet:
    """`known` with the energies of another potential, of the phases that `representatives` names."""
    chosen = representatives(known.phases, within)
    starts = [StartingPhase(phase.id, phase.source, phase.structure.structure()) for phase in chosen]
    print(f"{active.name}: {len(starts)} structures, {sum(len(one.structure) for one in starts)} atoms", flush=True)
    with make_progress("plain", active.name) as progress:
        outcomes = relax_phases(starts, active, settings, cache=RelaxationCache(work), progress=progress)
    energies: dict[str, float] = {}
    for start, outcome in zip(starts, outcomes, strict=True):
        if outcome.reason != "converged":
            print(f"{start.id} ({start.structure.reduced_formula}): {outcome.reason} after {outcome.steps} steps")
        if outcome.energy is not None:
            energies[start.id] = round(outcome.energy, 6)
    about = PackagedPotential(
        energy_frame=active.energy_frame, within=within, settings=settings, versions=library_versions()
    )
    phases = []
    for phase in known.phases:
        others = {name: energy for name, energy in phase.energies.items() if name != active.name}
        own = {active.name: energies[phase.id]} if phase.id in energies else {}
        phases.append(phase.model_copy(update={"energies": {**others, **own}}))
    return known.model_copy(update={"potentials": {**known.potentials, active.name: about}, "phases": tuple(phases)})


def write(path: Path, content: PackagedSet) -> None:
    """Write the file; the same content gives the same bytes."""
    text = json.dumps(content.model_dump(mode="json"), separators=(",", ":"))
    path.write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))
    print(f"{path}: {len(content.phases)} phases, {path.stat().st_size / 1024:.0f} kB")


if __name__ == "__main__":
    main()
