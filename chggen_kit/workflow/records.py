"""What a run knows of every structure: one record each, failures included, in plain JSON with exact numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict
from pymatgen.core import Lattice, Structure

Stage = Literal["unconditional", "inpainted", "projected", "annealed"]
LatticeSource = Literal["search", "generate", "given"]
"""Where the cell of an unconditional structure comes from: a random one was given, the score model drew it, or the user
gave it."""

OK = "ok"
"""Outcome of a structure that came through; every other outcome is a reason code."""
Vector = tuple[float, float, float]


def _finite_or_none(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


Measured = Annotated[float | None, BeforeValidator(_finite_or_none)]
"""A number that may be missing; NaN and infinities, which JSON does not know, count as missing."""


class StructureData(BaseModel):
    """A structure in plain numbers: JSON keeps each float64 exactly (shortest text that reads back the same).

    Attributes:
        species: element symbols `[n_atoms]`.
        lattice: rows a, b, c in Å.
        frac_coords: fractional coordinates `[n_atoms, 3]`, as they were, not folded.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    species: tuple[str, ...]
    lattice: tuple[Vector, Vector, Vector]
    frac_coords: tuple[Vector, ...]

    @classmethod
    def of(cls, structure: Structure) -> StructureData:
        """Plain numbers of an ordered `structure`."""
        return cls(
            species=tuple(site.specie.symbol for site in structure),
            lattice=structure.lattice.matrix.tolist(),
            frac_coords=tuple(tuple(row) for row in structure.frac_coords.tolist()),
        )

    def structure(self) -> Structure:
        """The pymatgen structure, with bit-equal cell and coordinates."""
        return Structure(Lattice(np.array(self.lattice)), list(self.species), np.array(self.frac_coords))


class Record(BaseModel):
    """One structure of a run, from its draw to its space group.

    Attributes:
        id: unique in the run, e.g. `u0003` or `i0003-2` (copy 2 in the host of start 3).
        stage: how it was drawn.
        start: index of the start (lattice) that it descends from; 0 when the user gave the host.
        copy_index: number of the copy in its host; 0 for unconditional structures.
        host_id: the host that it was inpainted into.
        host_atoms: the first `host_atoms` atoms are the host's.
        formula_units: formula units asked for in the cell (None when the user gave the host).
        lattice_source: where the cell of an unconditional structure comes from.
        lattice_family, lattice_centring: of the random cell that it was drawn in.
        outcome: `ok`, or a reason code (`non-finite`, `no-room`, `flat-cell`, `overlap`, `exploded`,
            `unsupported-element`, `out-of-memory`; `outranked` for a structure that left early because others were
            better).
        network_calls: evaluations of the score model that the structure took part in.
        generated: the structure as drawn; for a draw that failed its last finite state.
        relaxed: the structure as relaxed; None when it was not relaxed, or its relaxation failed.
        energy: total energy of `relaxed` in eV; `initial_energy` that of `generated`.
        converged, relax_reason, relax_steps, max_force, max_stress: as in `Relaxation` (eV/Å, eV/Å^3).
        relax_freed: True where a free relaxation after one within a symmetry gained enough to be kept.
        max_displacement_A: largest displacement of an atom on relaxation in Å, drift removed.
        host_drift_A: the same over the host's atoms alone.
        spacegroup_number, spacegroup_symbol: of the relaxed structure (of the generated one without relaxation).
        symmetry_library: library and version that found the group.
        symmetry_failure: reason code when no group could be determined.
        parent: the structure that this one was projected or annealed from.
        imposed_number, imposed_symbol: space group that it was projected on, or annealed in.
        imposed_displacement_A: largest displacement in Å of an atom by the projection.
        start_sigma_A: noise in Å that it was annealed from.
        held_energy: of a projected or annealed structure: total energy in eV at the minimum within its symmetry, before
            it was rattled and relaxed without constraint.
        tight_spacegroup_number: space group at 0.01 Å of a structure that was.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    stage: Stage
    start: int
    copy_index: int = 0
    host_id: str | None = None
    host_atoms: int = 0
    formula_units: int | None = None
    lattice_source: LatticeSource | None = None
    lattice_family: str | None = None
    lattice_centring: str | None = None
    outcome: str = OK
    network_calls: int = 0
    generated: StructureData | None = None
    relaxed: StructureData | None = None
    initial_energy: Measured = None
    energy: Measured = None
    converged: bool | None = None
    relax_reason: str | None = None
    relax_steps: int | None = None
    relax_freed: bool | None = None
    max_force: Measured = None
    max_stress: Measured = None
    max_displacement_A: Measured = None
    host_drift_A: Measured = None
    spacegroup_number: int | None = None
    spacegroup_symbol: str | None = None
    symmetry_library: str | None = None
    symmetry_failure: str | None = None
    parent: str | None = None
    imposed_number: int | None = None
    imposed_symbol: str | None = None
    imposed_displacement_A: Measured = None
    start_sigma_A: Measured = None
    held_energy: Measured = None
    tight_spacegroup_number: int | None = None

    def updated(self, **values: object) -> Record:
        """Copy with some values replaced, checked again."""
        return Record.model_validate({**dict(self), **values})

    @property
    def final(self) -> StructureData | None:
        """The relaxed structure, or the generated one where there is none."""
        return self.relaxed or self.generated

    @property
    def energy_per_atom(self) -> float | None:
        """Energy of the relaxed structure in eV/atom."""
        return None if self.energy is None or self.relaxed is None else self.energy / len(self.relaxed.species)

    @property
    def energy_change(self) -> float | None:
        """Energy change on relaxation in eV/atom (negative: it went down)."""
        if self.energy is None or self.initial_energy is None or self.relaxed is None:
            return None
        return (self.energy - self.initial_energy) / len(self.relaxed.species)

    def is_symmetric(self, excluded_groups: Sequence[int]) -> bool:
        """Whether the structure came through with a space group outside `excluded_groups`."""
        return (
            self.outcome == OK and self.spacegroup_number is not None and self.spacegroup_number not in excluded_groups
        )


class HostRecord(BaseModel):
    """What came of looking for a symmetric host in one relaxed structure, or a host that the user gave.

    Attributes:
        id: e.g. `h0003` for the host of start 3.
        start: index of that start.
        outcome: `ok`, `no-symmetry` (no space group above the excluded ones within the tolerances), `not-relaxed` (the
            start did not come through, so there was nothing to look at), or `no-guests` (the composition was generated,
            without the guests or with nothing else).
        host: the symmetrised host without guests.
        guest_counts: guests to be drawn, by element symbol.
        spacegroup_number, spacegroup_symbol, symprec_A, angle_tolerance_deg: the group and what gave it.
        max_displacement_A, rms_displacement_A: displacement of the host's atoms by symmetrisation.
        cell: `primitive` or `own`.
        symmetry_library: library and version that found the group.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    start: int
    outcome: str = OK
    host: StructureData | None = None
    guest_counts: Mapping[str, int] = {}
    spacegroup_number: int | None = None
    spacegroup_symbol: str | None = None
    symprec_A: float | None = None
    angle_tolerance_deg: float | None = None
    max_displacement_A: Measured = None
    rms_displacement_A: Measured = None
    cell: str | None = None
    symmetry_library: str | None = None
