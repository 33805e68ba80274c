"""The specification of a benchmark: systems, methods, seeds and a budget, in YAML.

What a run takes (`chggen_kit.workflow.config`) is not listed again here: every setting of a run may stand among the
defaults, in a system or in a method, and the method's value wins over the system's, that over the defaults'.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from chggen_kit.errors import InputError, unknown_name
from chggen_kit.workflow.config import GenerateConfig, InpaintConfig
from chggen_kit.workflow.records import Stage

OF_THE_SYSTEM = frozenset({"formula", "chemical_system", "atoms", "host", "guest_counts"})
OF_THE_GRID = frozenset({"verb", "seed", "n"})
SETTINGS = (
    (frozenset(GenerateConfig.model_fields) | frozenset(InpaintConfig.model_fields)) - OF_THE_SYSTEM - OF_THE_GRID
)
"""Settings of runs that the defaults, systems and methods may give."""
FIRST_SEED_OF_PARTS = 1_000_000
"""Seeds are below it: part k of an equal-compute budget runs with seed + k times this."""

Name = Annotated[str, Field(min_length=1, max_length=80)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, value: Any) -> Any:  # noqa: ANN401  whatever the file holds
        if isinstance(value, Mapping):
            _refuse_unknown(value, cls.model_fields, "key")
        return value


class _WithSettings(BaseModel):
    """Keys beyond the model's own are settings of runs."""

    model_config = ConfigDict(frozen=True, extra="allow")

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, value: Any) -> Any:  # noqa: ANN401  whatever the file holds
        if isinstance(value, Mapping):
            _refuse_unknown(value, {*cls.model_fields, *SETTINGS}, "key or setting")
        return value

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of runs that it gives."""
        return dict(self.model_extra or {})


def _refuse_unknown(value: Mapping[Any, Any], known: Iterable[str], what: str) -> None:
    choices = set(known)
    for key in value:
        if key not in choices:
            raise ValueError(unknown_name(what, str(key), choices))


class CrystalSpec(_Strict):
    """A crystal by its space group: what stands in a textbook.

    Attributes:
        space_group: number or Hermann-Mauguin symbol.
        cell: a, b, c in Å, alpha, beta, gamma in degrees.
        sites: pairs of an element (or `{element: occupancy}`) and the fractional coordinates of one of its positions.
    """

    space_group: int | str
    cell: tuple[float, float, float, float, float, float]
    sites: tuple[tuple[str | dict[str, float], tuple[float, float, float]], ...] = Field(min_length=1)


class InterfaceSpec(_Strict):
    """Two slabs with a gap between them, periodic: what is drawn goes into the gap.

    Attributes:
        substrate, film: the crystals.
        substrate_plane, film_plane: Miller indices of the faces.
        substrate_layers, film_layers: thickness in layers of the bulk cell.
        gap_A: between the slabs, in Å, on both sides.
        max_area_A2: largest area of the common cell in Å^2.
    """

    substrate: CrystalSpec
    film: CrystalSpec
    substrate_plane: tuple[int, int, int] = (0, 0, 1)
    film_plane: tuple[int, int, int] = (0, 0, 1)
    substrate_layers: int = Field(default=1, ge=1)
    film_layers: int = Field(default=1, ge=1)
    gap_A: float = Field(default=3.0, gt=0, le=20)
    max_area_A2: float = Field(default=100.0, gt=0)


class SystemSpec(_WithSettings):
    """What is to be predicted: a composition, or guests in a host.

    Attributes:
        name: in the tables; by default the formula with the number of formula units, or the name of the host's file.
        formula: one formula unit of a composition.
        host: file of a host, or a crystal or an interface described here.
        guests: of a formula the elements that are taken out and drawn again (or `auto`); of a host the number of
            atoms by element, which may be left out for a disordered one: its partially occupied species.
        supercell: repetitions of the host along a, b, c.
        known: files or folders of known structures; those of the composition are what results are compared with.
    """

    name: Name | None = None
    formula: str | None = None
    host: Path | CrystalSpec | InterfaceSpec | None = None
    guests: dict[str, int] | tuple[str, ...] | str | None = None
    supercell: tuple[int, int, int] = (1, 1, 1)
    known: tuple[Path, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _host_by_its_keys(cls, value: Any) -> Any:  # noqa: ANN401  whatever the file holds
        # Told apart here, so that a wrong key is reported for the kind that is meant, and not for all three.
        if isinstance(value, Mapping) and isinstance(value.get("host"), Mapping):
            kind = InterfaceSpec if {"substrate", "film"} & set(value["host"]) else CrystalSpec
            return {**value, "host": kind.model_validate(value["host"])}
        return value

    @model_validator(mode="after")
    def _one_target(self) -> SystemSpec:
        if (self.formula is None) == (self.host is None):
            raise ValueError("give a system either a formula or a host")
        if self.formula is not None and isinstance(self.guests, dict):
            raise ValueError("guests of a formula are elements, as in [Zn]: their numbers follow from the formula")
        if self.host is not None and isinstance(self.guests, (tuple, str)):
            raise ValueError("guests of a host come with their numbers, as in {Li: 4}")
        if min(self.supercell) < 1 or (self.formula is not None and self.supercell != (1, 1, 1)):
            raise ValueError("a supercell is of a host: three whole numbers of at least 1")
        return self


class MethodSpec(_WithSettings):
    """How structures are made.

    Attributes:
        about: a sentence for readers.
        stage: structures by which the method is judged; by default the last stage that its runs have.
        target: `formula`, or `chemical-system`: the score model makes compositions of the system's elements.
        baseline: method of the same specification whose rates stand beside this one's as their null; by default random
            structures in the same steps, where a run measures them.
        optional: left out, with the reason, where its plug-ins or weights are not there.
        checkpoint_needed: left out, with the reason, where no checkpoint is given.
        guests: in place of the system's (of a formula).
    """

    about: str = ""
    stage: Stage | None = None
    target: Literal["formula", "chemical-system"] = "formula"
    baseline: str | None = None
    optional: bool = False
    checkpoint_needed: bool = False
    guests: tuple[str, ...] | str | None = None


class Budget(_Strict):
    """What each method may spend on a system and seed: a number of starts, or CPU time.

    Attributes:
        starts: of every method (structures, where the host is given); None for a budget of time.
        cpu_seconds: a method gets parts until it has spent as much; the last part is finished.
        starts_per_part: starts of each part.
    """

    starts: int | None = Field(default=None, ge=1)
    cpu_seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    starts_per_part: int = Field(default=2, ge=1)

    @model_validator(mode="after")
    def _one_kind(self) -> Budget:
        if (self.starts is None) == (self.cpu_seconds is None):
            raise ValueError("a budget is either a number of starts or of cpu_seconds")
        return self


class Matching(_Strict):
    """When two structures are the same: tolerances of pymatgen's StructureMatcher.

    Attributes:
        stol: of sites, over (V/N)^(1/3).
        ltol: of cell lengths, fractional.
        angle_tolerance_deg: of cell angles in degrees.
    """

    stol: float = Field(default=0.3, gt=0)
    ltol: float = Field(default=0.2, gt=0)
    angle_tolerance_deg: float = Field(default=5.0, gt=0)


class Quick(_Strict):
    """What `--quick` puts in place of the specification's own.

    Attributes:
        seeds, budget: as there.
        systems, methods: names of those that are kept.
        defaults: settings laid over the defaults.
    """

    seeds: tuple[int, ...] | None = None
    budget: Budget | None = None
    systems: tuple[str, ...] | None = None
    methods: tuple[str, ...] | None = None
    defaults: dict[str, Any] = {}


class BenchmarkSpec(_Strict):
    """A grid of systems, methods and seeds.

    Attributes:
        name: of the benchmark.
        about: what it is for.
        systems: at least one.
        methods: by name.
        seeds: each system and method is run with each of them.
        budget: what each run may spend.
        defaults: settings of all runs.
        matching: when structures count as the same.
        systems_by_default: names of the systems that are taken where none are named; empty for all.
        quick: a small size of it.
    """

    name: Name
    about: str = ""
    systems: tuple[SystemSpec, ...] = Field(min_length=1)
    methods: dict[Name, MethodSpec] = Field(min_length=1)
    seeds: tuple[Annotated[int, Field(ge=0, lt=FIRST_SEED_OF_PARTS)], ...] = Field(default=(0,), min_length=1)
    budget: Budget = Budget(starts=8)
    defaults: dict[str, Any] = {}
    matching: Matching = Matching()
    systems_by_default: tuple[str, ...] = ()
    quick: Quick | None = None

    @field_validator("defaults")
    @classmethod
    def _known_settings(cls, defaults: dict[str, Any]) -> dict[str, Any]:
        _refuse_unknown(defaults, SETTINGS, "setting")
        return defaults

    @field_validator("seeds")
    @classmethod
    def _different_seeds(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) != len(seeds):
            raise ValueError("a seed is given twice")
        return seeds

    @model_validator(mode="after")
    def _names_fit(self) -> BenchmarkSpec:
        names = self.system_names
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two systems are called {name!r}: give them a name each")
        for name in self.systems_by_default:
            if name not in names:
                raise ValueError("systems_by_default: " + unknown_name("system", name, names))
        for name, method in self.methods.items():
            if method.baseline is not None and (method.baseline == name or method.baseline not in self.methods):
                raise ValueError(
                    f"the baseline of {name}: " + unknown_name("method", method.baseline, set(self.methods) - {name})
                )
        return self

    @property
    def system_names(self) -> tuple[str, ...]:
        """Names of the systems, in their order."""
        return tuple(system_name(system) for system in self.systems)

    def quickened(self, systems: Iterable[str] | None = None) -> BenchmarkSpec:
        """The small size, of these systems in place of its own choice where some are named.

        Raises:
            InputError: when there is none, or it names what does not exist.
        """
        if self.quick is None:
            raise InputError(f"The benchmark {self.name} has no quick size: its specification lacks the key `quick`.")
        quick = self.quick
        return self.changed(
            seeds=quick.seeds,
            budget=quick.budget,
            systems=quick.systems if systems is None else systems,
            methods=quick.methods,
            defaults={**self.defaults, **quick.defaults},
        )

    def changed(
        self,
        *,
        seeds: Iterable[int] | None = None,
        budget: Budget | None = None,
        systems: Iterable[str] | None = None,
        methods: Iterable[str] | None = None,
        defaults: Mapping[str, Any] | None = None,
    ) -> BenchmarkSpec:
        """A copy with other seeds, budget or defaults, and only the named systems and methods.

        Raises:
            InputError: for names that do not exist, and what does not fit together.
        """
        plain = self.model_dump(mode="python")
        plain["systems"] = list(self.systems)
        plain["methods"] = dict(self.methods)
        plain["quick"] = None
        plain["systems_by_default"] = ()
        if seeds is not None:
            plain["seeds"] = tuple(seeds)
        if budget is not None:
            plain["budget"] = budget
        if defaults is not None:
            plain["defaults"] = dict(defaults)
        if systems is not None:
            kept = _kept("system", systems, self.system_names)
            plain["systems"] = [one for one in self.systems if system_name(one) in kept]
        if methods is not None:
            kept = _kept("method", methods, self.methods)
            plain["methods"] = {name: one for name, one in self.methods.items() if name in kept}
            # A null that was left out cannot stand beside anything.
            plain["methods"] = {
                name: one if one.baseline is None or one.baseline in kept else one.model_copy(update={"baseline": None})
                for name, one in plain["methods"].items()
            }
        from chggen_kit.execution.yaml_files import validated

        return validated(BenchmarkSpec, plain, f"the benchmark {self.name}")


def _kept(kind: str, wanted: Iterable[str], known: Iterable[str]) -> set[str]:
    names, choices = set(wanted), set(known)
    for name in sorted(names):
        if name not in choices:
            raise InputError(unknown_name(kind, name, choices))
    return names


def system_name(system: SystemSpec) -> str:
    """Name of a system in the tables."""
    if system.name is not None:
        return system.name
    if system.formula is not None:
        units = system.settings.get("formula_units")
        if units in (None, 1, [1], (1,)):
            return system.formula
        return f"{system.formula} x {'+'.join(map(str, units)) if isinstance(units, (list, tuple)) else units}"
    if isinstance(system.host, Path):
        return system.host.stem
    return "interface" if isinstance(system.host, InterfaceSpec) else "host"
