"""Configurations: everything that defines the result of a run, and nothing that does not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from chggen_kit.errors import InputError, unknown_name
from chggen_kit.plugins import Registry
from chggen_kit.relaxers.policies import RelaxPolicy
from chggen_kit.workflow.records import LatticeSource, StructureData
from chggen_kit.workflow.start_level import StartLevel

AnyConfig = TypeVar("AnyConfig", bound="RelaxationSettings")
_KINDS = {"backend": "score-model", "potential": "potential"}
"""Settings whose default plug-in is the registry's: the core names no backend and no potential."""
SymmetryMode = Literal["none", "host", "wyckoff", "given"]
_OF_THE_RANKING = ("references", "references_frame", "exclude_composition")
"""Settings on which no structure and no energy depends."""


class PluginChoice(BaseModel):
    """A plug-in by name, with the options that the user gave (the others keep their defaults).

    A bare name can stand for a choice without options.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    options: Mapping[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _bare_name(cls, value: Any) -> Any:  # noqa: ANN401  whatever the user gave
        return {"name": value} if isinstance(value, str) else value


class RelaxationSettings(BaseModel):
    """How structures are relaxed, and how the space groups of the results are found.

    Attributes:
        potential: the interatomic potential.
        relaxer: the optimiser.
        fmax: limit on forces in eV/Å.
        max_steps: steps after which a relaxation ends unconverged.
        symprec_A: tolerance in Å of the space groups that are reported and counted.
        angle_tolerance_deg: angle tolerance in degrees of the same.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    potential: PluginChoice
    relaxer: PluginChoice = PluginChoice(name="fire")
    fmax: float = Field(default=0.1, gt=0, allow_inf_nan=False)
    max_steps: int = Field(default=500, ge=1)
    symprec_A: float = Field(default=0.1, gt=0, allow_inf_nan=False)
    angle_tolerance_deg: float = Field(default=10.0, gt=0, allow_inf_nan=False)


class PolicySettings(RelaxationSettings):
    """Relaxations of which the user says what may move.

    Attributes:
        relax_policy: what may move.
    """

    relax_policy: RelaxPolicy = RelaxPolicy()


class RelaxConfig(PolicySettings):
    """Relaxation of the user's structures.

    Attributes:
        guests: elements that are not the host's, for the policy `fixed-host`.
    """

    guests: tuple[str, ...] = ()

    @field_validator("guests", mode="before")
    @classmethod
    def _split_guests(cls, guests: Any) -> Any:  # noqa: ANN401  whatever the user gave
        return tuple(symbol.strip() for symbol in guests.split(",")) if isinstance(guests, str) else guests

    @model_validator(mode="after")
    def _guests_with_a_host(self) -> RelaxConfig:
        if (self.relax_policy.name == "fixed-host") != bool(self.guests):
            raise ValueError("the relaxation policy fixed-host needs the guests, and no other policy takes any")
        return self


class RunConfig(PolicySettings):
    """What all runs share.

    Attributes:
        seed: of all draws; the draws of one structure depend on it and on the structure's identity alone.
        backend: the score model.
        checkpoint: weights of the score model; None for its own.
        sampler: draws the guests.
        symmetry: what symmetry is imposed while atoms are drawn. `none`: none. `host`: guests are drawn within the
            symmetry of their host, or of a subgroup of it. `wyckoff`: so are guests, and whole structures within random
            space groups that can hold the composition. `given`: whole structures within that of `start_from`.
        start_from: a structure of the same composition: draws start from it at `start_level`, or keep its symmetry.
        start_level: noise at which draws start from `start_from`; None to start from nothing.
        excluded_groups: space groups that do not count as symmetric.
        rattle: whether symmetric structures are displaced at random and relaxed once more, without constraint, so that
            saddles held by symmetry do not count (the workflow `anneal` does so in any case).
        rattle_A: standard deviation in Å of these displacements.
        min_distance_A: a generated structure with a shorter distance (periodic images of an atom included) is not
            relaxed: its outcome is `overlap`.
        micro_batch_atoms: atoms drawn and relaxed together; part of the result, because sums of floating point
            numbers depend on it in the last bits.
        references: what E_d is measured from: `auto` for the packaged phases where they cover the chemical system,
            `none`, `mp` for the Materials Project, or the path of a phase diagram or of structures. It and the next two
            concern the ranking alone, so a run may be gone on with under others, and nothing is relaxed again.
        references_frame: frame of the energies of a phase diagram that does not tell.
        exclude_composition: leave references with the reduced formula of a structure out of its hull.
        threads: of torch; None for its own choice, which is recorded and kept when the run goes on. Name it to have a
            run repeated on another machine: sums depend on it in the last bits, and hundreds of steps amplify those.
        null_rates: random structures from which the null of every success rate is measured; 0 for none.
    """

    seed: int = Field(default=0, ge=0)
    backend: PluginChoice
    checkpoint: Path | None = None
    sampler: PluginChoice = PluginChoice(name="repaint")
    symmetry: SymmetryMode = "none"
    start_from: StructureData | None = None
    start_level: StartLevel | None = None
    excluded_groups: tuple[int, ...] = (1, 2)
    rattle: bool = False
    rattle_A: float = Field(default=0.03, gt=0, allow_inf_nan=False)
    min_distance_A: float = Field(default=0.7, ge=0, allow_inf_nan=False)
    micro_batch_atoms: int = Field(default=128, ge=1)
    references: str = Field(default="auto", min_length=1)
    references_frame: str | None = None
    exclude_composition: bool = False
    threads: int | None = Field(default=None, ge=1)
    null_rates: int = Field(default=50, ge=0)

    @model_validator(mode="after")
    def _something_to_start_from(self) -> RunConfig:
        if self.start_level is not None and self.start_from is None:
            raise ValueError("a start level needs a structure to start from")
        if self.symmetry == "given" and self.start_from is None:
            raise ValueError("the symmetry `given` is that of the structure to start from, and there is none")
        if self.start_from is not None and self.start_level is None and self.symmetry != "given":
            raise ValueError(
                "a structure to start from was given, but neither a level to start at nor its symmetry is asked for"
            )
        if self.start_from is not None and self.symmetry == "wyckoff":
            raise ValueError("random space groups cannot be had from a structure to start from")
        return self

    @field_validator("excluded_groups")
    @classmethod
    def _sorted_groups(cls, groups: tuple[int, ...]) -> tuple[int, ...]:
        if any(not 1 <= number <= 230 for number in groups):
            raise ValueError("space groups have numbers from 1 to 230")
        return tuple(sorted(set(groups)))

    def identity(self) -> dict[str, Any]:
        """The configuration as plain JSON, without the path of the checkpoint (its content counts) and the ranking."""
        plain: dict[str, Any] = json.loads(self.model_dump_json(exclude={"checkpoint", *_OF_THE_RANKING}))
        return plain


class AnnealSettings(BaseModel):
    """Symmetry annealing: what follows on structures that were drawn and relaxed (workflow `anneal`).

    Attributes:
        neighbours: symmetric structures that each structure is projected onto, of different space groups.
        max_displacement_A: largest displacement of an atom in Å by a projection.
        keep: structures that each round anneals at most, distinct ones: the best of each start first.
        levels_A: noise in Å from which the rounds of one cycle denoise.
        cycles: cycles at most; they end earlier when one does not lower the energy.
        coarse_steps: relaxation steps after which the worse half of each start's structures leaves; 0 lets all go on.
        max_network_calls: no round begins once the structures of the run have taken so many evaluations of the score
            model (each counts those that it took part in); None for no limit.
        max_relax_steps: the same for steps of relaxation.
        sampler: denoises; it needs a score model, whatever drew the structures.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    neighbours: int = Field(default=6, ge=1)
    max_displacement_A: float = Field(default=1.5, gt=0, le=2, allow_inf_nan=False)
    keep: int = Field(default=12, ge=1)
    levels_A: tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...] = (0.3, 0.5, 0.8)
    cycles: int = Field(default=1, ge=0)
    coarse_steps: int = Field(default=20, ge=0)
    max_network_calls: int | None = Field(default=None, ge=1)
    max_relax_steps: int | None = Field(default=None, ge=1)
    sampler: PluginChoice = PluginChoice(name="predictor-corrector")


class GenerateConfig(RunConfig):
    """A composition, or a chemical system, in; candidates out.

    Attributes:
        workflow: `paper` takes guests out, symmetrises hosts and inpaints; `anneal` projects what was drawn onto near
            symmetric structures and anneals those within their symmetry (guests only where they are named).
        anneal: settings of the latter.
        formula: the composition of one formula unit, amounts as written; None with a chemical system.
        chemical_system: elements from which the score model makes whole compositions, under its guidance; empty with a
            formula.
        atoms: numbers of atoms of the starts of a chemical system, in turn; empty to draw them as the score model's
            training set has them.
        formula_units: numbers of formula units in the cell.
        n: starts (lattices) for each number of formula units.
        guests: symbols of the elements that are taken out and drawn again; `auto` lets the kit choose.
        inpaintings: structures drawn into each host.
        volume_per_atom: in Å^3; None for the kit's estimate.
        lattice: `search` draws whole structures in random cells, `generate` lets the score model draw the cells too;
            None for `generate` where it can.
        symmetry_groups: space groups that `symmetry="wyckoff"` chooses from; empty for all above P-1.
        symmetry_prior: how it chooses: `chemistry`, as in known crystals of the same family, or `uniform`.
        unconditional_sampler: draws whole structures.
        refiner: symmetrises the hosts.
    """

    verb: Literal["generate"] = "generate"
    workflow: Literal["paper", "anneal"] = "paper"
    anneal: AnnealSettings = AnnealSettings()
    formula: str | None = None
    chemical_system: tuple[str, ...] = ()
    atoms: tuple[Annotated[int, Field(ge=1)], ...] = ()
    formula_units: tuple[int, ...] = (1,)
    n: int = Field(default=8, ge=1)
    guests: tuple[str, ...] | Literal["auto"] = "auto"
    inpaintings: int = Field(default=3, ge=0)
    volume_per_atom: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    lattice: LatticeSource | None = None
    symmetry_groups: tuple[Annotated[int, Field(ge=1, le=230)], ...] = ()
    symmetry_prior: Literal["chemistry", "uniform"] = "chemistry"
    unconditional_sampler: PluginChoice = PluginChoice(name="predictor-corrector")
    refiner: PluginChoice = PluginChoice(name="ladder")

    @field_validator("guests", mode="before")
    @classmethod
    def _split_guests(cls, guests: Any) -> Any:  # noqa: ANN401  whatever the user gave
        if isinstance(guests, str) and guests != "auto":
            return tuple(symbol.strip() for symbol in guests.split(","))
        return guests

    @field_validator("chemical_system", mode="before")
    @classmethod
    def _split_system(cls, system: Any) -> Any:  # noqa: ANN401  whatever the user gave
        if isinstance(system, str):
            system = [symbol.strip() for symbol in system.replace(",", "-").split("-")]
        return tuple(sorted(set(system)))

    @model_validator(mode="after")
    def _one_target(self) -> GenerateConfig:
        if (self.formula is None) == (not self.chemical_system):
            raise ValueError("give either a formula or a chemical system")
        if self.formula is not None and self.atoms:
            raise ValueError("the numbers of atoms follow from the formula; give numbers of formula units")
        if self.chemical_system and self.formula_units != (1,):
            raise ValueError("a chemical system has no formula units; give numbers of atoms")
        if self.chemical_system and (self.symmetry in {"wyckoff", "given"} or self.start_from is not None):
            raise ValueError("symmetry is imposed on whole structures, and draws start from one, for a formula only")
        if self.symmetry_groups and self.symmetry != "wyckoff":
            raise ValueError("space groups to choose from belong to the symmetry `wyckoff`")
        if self.chemical_system and self.lattice == "search":
            raise ValueError("cells are searched for a formula; a chemical system comes with generated ones")
        return self

    @field_validator("formula_units", mode="before")
    @classmethod
    def _one_unit(cls, units: Any) -> Any:  # noqa: ANN401  whatever the user gave
        return (units,) if isinstance(units, int) else units

    @field_validator("formula_units")
    @classmethod
    def _positive_units(cls, units: tuple[int, ...]) -> tuple[int, ...]:
        if not units or min(units) < 1:
            raise ValueError("numbers of formula units are whole and at least 1")
        if len(set(units)) != len(units):
            raise ValueError("a number of formula units is given twice")
        return units


class InpaintConfig(RunConfig):
    """A host and guest counts in, filled structures out.

    Attributes:
        host: the host, in the user's own cell and atom order.
        guest_counts: atoms to be drawn, by element symbol.
        n: structures drawn.
        relax: whether they are relaxed.
    """

    verb: Literal["inpaint"] = "inpaint"
    host: StructureData
    guest_counts: Mapping[str, int]
    n: int = Field(default=8, ge=1)
    relax: bool = True

    @model_validator(mode="after")
    def _host_symmetry(self) -> InpaintConfig:
        if self.symmetry not in {"none", "host"}:
            raise ValueError("guests are drawn within the symmetry of their host (`host`), or without any (`none`)")
        if self.symmetry == "host" and self.start_from is not None:
            raise ValueError("guests start from given places, or from orbits of the host's symmetry, not from both")
        return self

    @field_validator("guest_counts")
    @classmethod
    def _positive_counts(cls, counts: Mapping[str, int]) -> Mapping[str, int]:
        if not counts or min(counts.values()) < 1:
            raise ValueError("name at least one guest, each with a count of at least 1")
        return counts


def build_config(kind: type[AnyConfig], values: Mapping[str, Any], registry: Registry) -> AnyConfig:
    """Configuration from what the user gave; None keeps a default.

    Raises:
        InputError: for a setting that does not exist, or naming each value that does not fit.
        PluginError: when there is no default backend or potential, and none was named.
    """
    settings = set(kind.model_fields) - {"verb"}
    given = {name: value for name, value in values.items() if value is not None}
    strangers = [name for name in given if name not in settings]
    if strangers:
        raise InputError(unknown_name("setting", strangers[0], settings))
    for name, field in kind.model_fields.items():
        if name not in given and name in _KINDS:
            given[name] = {}
        if name in given and (name in _KINDS or isinstance(field.default, PluginChoice)):
            given[name] = _named(given[name], name, field.default, registry)
    try:
        return kind(**given)
    except ValidationError as error:
        lines = [
            f"{'.'.join(str(part) for part in problem['loc']) or 'configuration'} = {problem.get('input')!r}: "
            f"{problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors(include_url=False)
        ]
        raise InputError("The configuration of the run is not valid: " + "; ".join(lines) + ".") from error


def _named(choice: Any, setting: str, default: Any, registry: Registry) -> Any:  # noqa: ANN401  checked by pydantic after
    """Options without a name belong to the default plug-in."""
    if not isinstance(choice, Mapping) or "name" in choice:
        return choice
    name = default.name if isinstance(default, PluginChoice) else registry.default_name(_KINDS[setting])
    return {"name": name, **choice}


def config_hash(identity: Mapping[str, Any]) -> str:
    """Hash of a plain configuration, independent of the order of its keys."""
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
