"""The phase diagram of a chemical system as `chggen hull` shows it: reference phases, and candidates."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pymatgen.core import Composition
from rich.table import Table

from chggen_kit.errors import InputError
from chggen_kit.interfaces import Progress
from chggen_kit.plugins import Registry
from chggen_kit.thermo import ActivePotential, Hull, Phase, Placement, References, amounts_of
from chggen_kit.thermo.relaxed import ReferenceSettings, relaxed_references
from chggen_kit.thermo.sources import find_references, read_phases
from chggen_kit.workflow.config import PluginChoice
from chggen_kit.workflow.export import find_database, select_rows
from chggen_kit.workflow.formula import check_symbol
from chggen_kit.workflow.rundir import read_json

STABLE_WITHIN = 1e-6
"""eV/atom; phases closer to the hull than rounding are on it."""
Kind = Literal["reference", "candidate"]


@dataclass(frozen=True)
class DiagramPhase:
    """One phase of the diagram; energies in eV/atom.

    Attributes:
        phase: what it is.
        kind: whether the hull is made of it.
        formation_energy: from the elements.
        above_hull: E_hull: of a reference against the references, of a candidate against candidates too.
        decomposition_energy: E_d. Of a reference on the hull against phases of other compositions, minus its depth;
            None for an element on the hull. Of all else against the references.
        decomposition: what E_d is measured from, in one line.
    """

    phase: Phase
    kind: Kind
    formation_energy: float
    above_hull: float
    decomposition_energy: float | None
    decomposition: str

    @property
    def is_stable(self) -> bool:
        """Whether it lies on the hull."""
        return self.above_hull <= STABLE_WITHIN

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "id": self.phase.id,
            "kind": self.kind,
            "formula": self.phase.formula,
            "energy_per_atom": self.phase.energy_per_atom,
            "formation_energy": self.formation_energy,
            "E_hull": self.above_hull,
            "E_d": self.decomposition_energy,
            "decomposition": self.decomposition,
            "stable": self.is_stable,
        }


@dataclass(frozen=True)
class Diagram:
    """Phases of a chemical system.

    Attributes:
        symbols: its elements, in alphabetical order.
        references: what the hull is made of.
        phases: references, then candidates, each by formula and energy.
        exclude_composition: whether references of a candidate's own composition were left out of its hull.
    """

    symbols: tuple[str, ...]
    references: References
    phases: tuple[DiagramPhase, ...]
    exclude_composition: bool

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "chemical_system": "-".join(self.symbols),
            "references": self.references.label,
            "potential": self.references.potential,
            "energy_frame": self.references.energy_frame,
            "exclude_composition": self.exclude_composition,
            "phases": [one.as_json() for one in self.phases],
        }


def make_diagram(
    references: References,
    symbols: Collection[str],
    candidates: Sequence[Phase] = (),
    *,
    exclude_composition: bool = False,
) -> Diagram:
    """The diagram of the elements `symbols`.

    Raises:
        InputError: as `Hull.place_all`.
    """
    chosen = references.of(symbols)
    hull = Hull(chosen)
    ground = {symbol: _lowest(chosen, symbol) for symbol in symbols}
    phases = []
    for phase in sorted(chosen.phases, key=_order):
        placement = hull.place(phase)
        depth: Placement | None = placement
        if placement.above_hull <= STABLE_WITHIN:
            depth = hull.place(phase, exclude_composition=True) if len(phase.amounts) > 1 else None
        phases.append(_diagram_phase(phase, "reference", ground, placement, depth))
    ordered = sorted(candidates, key=_order)
    # An element cannot be placed without references of its own composition; others can be, beside it.
    compounds = [one for one in ordered if len(one.amounts) > 1 or not exclude_composition]
    elements = [one for one in ordered if len(one.amounts) == 1 and exclude_composition]
    placed = {
        **dict(zip(compounds, hull.place_all(compounds, exclude_composition=exclude_composition), strict=True)),
        **dict(zip(elements, hull.place_all(elements), strict=True)),
    }
    phases += [_diagram_phase(one, "candidate", ground, placed[one], placed[one]) for one in ordered]
    return Diagram(tuple(sorted(symbols)), chosen, tuple(phases), exclude_composition)


def _order(phase: Phase) -> tuple[int, str, float, str]:
    return len(phase.amounts), phase.formula, phase.energy_per_atom, phase.id


def _lowest(references: References, symbol: str) -> float:
    return min(one.energy_per_atom for one in references.phases if one.symbols == {symbol})


def _diagram_phase(
    phase: Phase, kind: Kind, ground: Mapping[str, float], placement: Placement, depth: Placement | None
) -> DiagramPhase:
    from_elements = sum(amount * ground[symbol] for symbol, amount in phase.amounts)
    return DiagramPhase(
        phase=phase,
        kind=kind,
        formation_energy=(phase.energy - from_elements) / phase.n_atoms,
        above_hull=placement.above_hull,
        decomposition_energy=None if depth is None else depth.decomposition_energy,
        decomposition="" if depth is None else depth.decomposition,
    )


@dataclass(frozen=True)
class HullRequest:
    """What `chggen hull` is asked for.

    Attributes:
        targets: chemical systems (`Zn-P-S`), and files or folders of structures, which are relaxed and placed.
        run: a run directory, or its `results.db`, whose structures are placed; None for none.
        potential: the potential; None for that of the run, else the default one.
        references, references_frame: as in a run.
        exclude_composition: leave references of a candidate's own composition out of its hull.
    """

    targets: tuple[str, ...]
    run: Path | None = None
    potential: PluginChoice | None = None
    references: str = "auto"
    references_frame: str | None = None
    exclude_composition: bool = False


def diagram_of(request: HullRequest, registry: Registry, progress: Progress | None = None) -> Diagram:
    """The diagram that `request` asks for.

    Raises:
        InputError: when there is nothing to show, a target cannot be read, or no references cover it.
    """
    potential = request.potential or _potential_of(request.run) or PluginChoice(name=registry.default_name("potential"))
    symbols: set[str] = set()
    files = []
    for target in request.targets:
        if Path(target).exists():
            files += read_phases(Path(target))
        else:
            symbols |= {check_symbol(one.strip(), "the chemical system") for one in target.replace(",", "-").split("-")}
    candidates = [] if request.run is None else _run_phases(request.run)
    symbols |= {symbol for phase in candidates for symbol in phase.symbols}
    symbols |= {symbol for start in files for symbol in start.structure.symbol_set}
    if not symbols:
        raise InputError("Name a chemical system (as Zn-P-S), structure files, or a run with --candidates.")
    active = ActivePotential(registry.create_potential(potential.name, potential.options), potential.options, registry)
    found = find_references(
        request.references, symbols, active, energy_frame=request.references_frame, progress=progress
    )
    if found.references is None:
        raise InputError(f"There is no hull: {found.reason}.")
    if files:
        candidates += relaxed_references(files, active, ReferenceSettings(), "files", progress=progress).phases
    return make_diagram(found.references, symbols, candidates, exclude_composition=request.exclude_composition)


def _potential_of(run: Path | None) -> PluginChoice | None:
    """The potential that a run was made with, where its directory tells."""
    if run is None or not (run / "run.json").is_file():
        return None
    potential = read_json(run / "run.json").get("identity", {}).get("config", {}).get("potential")
    return None if potential is None else PluginChoice.model_validate(potential)


def _run_phases(run: Path) -> list[Phase]:
    """The relaxed structures of a run."""
    rows = [row for row in select_rows(find_database(run), None, None) if "energy_per_atom" in row]
    if not rows:
        raise InputError(f"The structures of {run} were not relaxed, so they have no energies to be placed by.")
    return [
        Phase(
            row.structure_id,
            amounts_of(Composition(row.formula)),
            row.energy_per_atom * row.natoms,
            row.energy_frame,
            row.potential,
        )
        for row in rows
    ]


def diagram_table(diagram: Diagram, most: int | None = None) -> Table:
    """All references and the `most` best candidates (None for all)."""
    about = f"{diagram.references.label}: {diagram.references.potential}, {diagram.references.energy_frame}"
    if diagram.exclude_composition:
        about += "; candidates without references of their own composition"
    table = Table(
        title=f"{'-'.join(diagram.symbols)} ({about}; * = on the hull)",
        title_justify="left",
        box=None,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for heading in ("kind", "formula", "id", "E_f/atom\n(eV)", "E_hull\n(eV)", "E_d/atom\n(eV)", "decomposes into"):
        table.add_column(heading, justify="right" if "\n" in heading else "left", no_wrap="\n" in heading)
    candidates = sorted((one for one in diagram.phases if one.kind == "candidate"), key=_candidate_order)
    shown = {id(one) for one in candidates[:most]}
    for one in diagram.phases:
        if one.kind == "candidate" and id(one) not in shown:
            continue
        table.add_row(
            one.kind,
            one.phase.formula + (" *" if one.is_stable else ""),
            one.phase.id,
            f"{one.formation_energy:.3f}",
            f"{one.above_hull:.3f}",
            "-" if one.decomposition_energy is None else f"{one.decomposition_energy:.3f}",
            one.decomposition,
        )
    return table


def _candidate_order(one: DiagramPhase) -> float:
    return float("inf") if one.decomposition_energy is None else one.decomposition_energy
