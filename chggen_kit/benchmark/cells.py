"""From a specification to cells: one run each, named by a hash of everything that determines its result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from chggen_kit.benchmark.hosts import host_of
from chggen_kit.benchmark.spec import FIRST_SEED_OF_PARTS, BenchmarkSpec, MethodSpec, SystemSpec, system_name
from chggen_kit.errors import CheckpointError, InputError, PluginError
from chggen_kit.execution.identity import KnownParts, content_hash
from chggen_kit.plugins import Registry
from chggen_kit.workflow.config import GenerateConfig, InpaintConfig, build_config, config_hash
from chggen_kit.workflow.formula import atom_counts, parse_composition
from chggen_kit.workflow.records import Stage, StructureData

AnyRun = GenerateConfig | InpaintConfig
_THREADS = 1
"""Of a run that names no number: the last bits depend on it, and workers have one core each."""


@dataclass(frozen=True)
class Lane:
    """One system, method and seed: cells that follow each other (one only, with equal counts).

    Attributes:
        system, method: names.
        seed: of the specification.
        config: of the first cell.
        stage: structures by which the method is judged.
        identity: what the parts of the run resolved to, and versions: with the configuration all that determines its
            result.
        n_atoms: in a cell of the system (the largest, where there are several).
    """

    system: str
    method: str
    seed: int
    config: AnyRun
    stage: Stage
    identity: Mapping[str, Any]
    n_atoms: int

    def cell(self, part: int) -> Cell:
        """Part `part` of the lane: the same run with another seed."""
        seed = self.seed + part * FIRST_SEED_OF_PARTS
        return Cell(self, part, self.config.model_copy(update={"seed": seed}))


@dataclass(frozen=True)
class Cell:
    """One run.

    Attributes:
        lane: system, method and seed that it belongs to.
        part: of a budget of time, from 0.
        config: of the run.
    """

    lane: Lane
    part: int
    config: AnyRun

    @cached_property
    def identity(self) -> dict[str, Any]:
        """All that determines the result, as plain JSON."""
        config = self.config
        ranking = {"references_frame": config.references_frame, "exclude_composition": config.exclude_composition}
        references = config.references
        if (path := Path(references)).exists():
            references = content_hash(path)
        return {
            "config": config.identity(),
            "ranking": {"references": references, **ranking},
            **self.lane.identity,
        }

    @cached_property
    def name(self) -> str:
        """Its hash: 20 hexadecimal digits."""
        return config_hash(self.identity)[:20]


@dataclass(frozen=True)
class LeftOut:
    """A system and method that are not run.

    Attributes:
        system, method: names.
        reason: why.
    """

    system: str
    method: str
    reason: str


@dataclass(frozen=True)
class Plan:
    """What a benchmark runs.

    Attributes:
        spec: the specification.
        lanes: in the order of systems, methods, seeds.
        left_out: systems and methods that are not run.
        versions: of the libraries and plug-ins, over all lanes.
    """

    spec: BenchmarkSpec
    lanes: tuple[Lane, ...]
    left_out: tuple[LeftOut, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)

    def first_cells(self) -> Iterator[Cell]:
        """The first cell of each lane."""
        for lane in self.lanes:
            yield lane.cell(0)


def make_plan(spec: BenchmarkSpec, registry: Registry, checkpoints: Mapping[str, Path] | None = None) -> Plan:
    """Resolve all systems and methods of `spec`: parts are made once, so what cannot be used is told before any work.

    Args:
        spec: the specification.
        registry: the plug-ins.
        checkpoints: weights by backend, for methods that name none.

    Raises:
        InputError: when a system, a method or a setting cannot be used, or nothing is left to be run.
        PluginError: for unknown or broken plug-ins of methods that are not optional.
        CheckpointError: when weights cannot be read.
    """
    known = KnownParts(registry)
    lanes: list[Lane] = []
    left_out: list[LeftOut] = []
    found: dict[str, str] = {}
    for system in spec.systems:
        host = None if system.host is None else host_of(system)
        for name, method in spec.methods.items():
            settings = {**spec.defaults, **system.settings, **method.settings}
            _fill_checkpoint(settings, checkpoints or {}, registry)
            reason = _not_for(system, method, settings)
            if reason is None:
                try:
                    config = _config(spec, system, method, settings, host, registry)
                    identity = known.identity(config)
                except (InputError, PluginError, CheckpointError) as error:
                    if not method.optional:
                        raise type(error)(f"{system_name(system)}, {name}: {error}") from error
                    reason = str(error)
            if reason is not None:
                left_out.append(LeftOut(system_name(system), name, reason))
                continue
            found |= identity["versions"]
            stage = method.stage or _last_stage(config)
            for seed in spec.seeds:
                seeded = config.model_copy(update={"seed": seed})
                lanes.append(Lane(system_name(system), name, seed, seeded, stage, identity, _n_atoms(config)))
    if not lanes:
        reasons = "; ".join(f"{one.system}, {one.method}: {one.reason}" for one in left_out)
        raise InputError(f"Nothing is left of the benchmark {spec.name}: {reasons}")
    return Plan(spec, tuple(lanes), tuple(left_out), dict(sorted(found.items())))


def _fill_checkpoint(settings: dict[str, Any], checkpoints: Mapping[str, Path], registry: Registry) -> None:
    backend = settings.get("backend")
    name = backend.get("name") if isinstance(backend, Mapping) else backend
    if settings.get("checkpoint") is None and checkpoints:
        given = checkpoints.get(name or registry.default_name("score-model"))
        if given is not None:
            settings["checkpoint"] = given


def _not_for(system: SystemSpec, method: MethodSpec, settings: Mapping[str, Any]) -> str | None:
    """Why a method has nothing to do with a system; None where it has."""
    if method.checkpoint_needed and settings.get("checkpoint") is None:
        return "it needs released weights, and no checkpoint was given (--checkpoint BACKEND=PATH)"
    if system.host is None:
        return None
    if method.target == "chemical-system":
        return "the host is given, and the method makes whole compositions"
    if method.stage not in {None, "inpainted"} or settings.get("workflow", "paper") != "paper":
        return "the host is given, and the method is judged by whole structures"
    return None


def _config(
    spec: BenchmarkSpec,
    system: SystemSpec,
    method: MethodSpec,
    settings: dict[str, Any],
    host: tuple[Any, dict[str, int]] | None,
    registry: Registry,
) -> AnyRun:
    values = {name: value for name, value in settings.items() if value is not None}
    values.setdefault("threads", _THREADS)
    values["n"] = spec.budget.starts or spec.budget.starts_per_part
    if host is not None:
        structure, counts = host
        # What is of whole structures alone means nothing where the host is given, and the other way round.
        values = {name: value for name, value in values.items() if name in InpaintConfig.model_fields}
        values |= {"host": StructureData.of(structure), "guest_counts": counts}
        return build_config(InpaintConfig, values, registry)
    values = {name: value for name, value in values.items() if name in GenerateConfig.model_fields}
    guests = method.guests if method.guests is not None else system.guests
    if guests is not None:
        values["guests"] = guests
    if method.target == "chemical-system":
        counts = atom_counts(parse_composition(str(system.formula)))
        units = values.pop("formula_units", (1,))
        numbers = [units] if isinstance(units, int) else list(units)
        for name in ("volume_per_atom", "lattice", "guests"):
            values.pop(name, None)
        values |= {
            "chemical_system": sorted(counts),
            "atoms": [sum(counts.values()) * number for number in numbers],
            "guests": [],
        }
    else:
        values["formula"] = system.formula
    return build_config(GenerateConfig, values, registry)


def _last_stage(config: AnyRun) -> Stage:
    if isinstance(config, InpaintConfig):
        return "inpainted"
    if config.workflow == "anneal":
        return "annealed" if config.anneal.cycles else "projected"
    return "inpainted" if config.guests and config.inpaintings else "unconditional"


def _n_atoms(config: AnyRun) -> int:
    if isinstance(config, InpaintConfig):
        return len(config.host.species) + sum(config.guest_counts.values())
    if config.formula is None:
        return max(config.atoms)
    return sum(atom_counts(parse_composition(config.formula)).values()) * max(config.formula_units)
