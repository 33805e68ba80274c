"""From a specification to lanes (target, method, seed) and shards, which are runs named by all that determines them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from chggen_kit.campaign.spec import CampaignSpec, TargetSpec, Workflow
from chggen_kit.campaign.targets import Target, expand
from chggen_kit.errors import CheckpointError, InputError, PluginError
from chggen_kit.execution.identity import KnownParts, content_hash
from chggen_kit.plugins import Registry
from chggen_kit.workflow.config import GenerateConfig, InpaintConfig, PluginChoice, build_config, config_hash

AnyRun = GenerateConfig | InpaintConfig
_THREADS = 1
"""Of a run that names no number: the last bits depend on it, and workers have one core each."""


def shard_seed(seed: int, part: int) -> int:
    """Seed of a shard, from the campaign's and the number of the shard in its lane: 48 bits, which a float64 holds.

    Nothing else goes in: a shard's result does not depend on what else the campaign holds, nor on the order of work,
    and methods are compared from the same random cells.
    """
    return int.from_bytes(hashlib.blake2b(f"shard {seed} {part}".encode(), digest_size=6).digest(), "big")


@dataclass(frozen=True)
class Shard:
    """One run.

    Attributes:
        name: hash of everything that determines its result; its run directory has this name.
        part: number in its lane.
        seed: of its draws.
        starts: of it, for each number of formula units.
    """

    name: str
    part: int
    seed: int
    starts: int


@dataclass(frozen=True)
class Lane:
    """One target, method and seed.

    Attributes:
        target, workflow, backend, potential: what it is, for tables.
        seed: of the campaign.
        config: of its runs, but for seed and number of starts.
        identity: what the parts of its runs resolved to, content of files, and versions.
        starts: in all shards.
        start_atoms: atoms of one start (of all numbers of formula units together).
        shard_starts: starts of a shard, the last one's excepted.
    """

    target: str
    workflow: Workflow
    backend: str
    potential: str
    seed: int
    config: AnyRun
    identity: Mapping[str, Any]
    starts: int
    start_atoms: int
    shard_starts: int

    @cached_property
    def key(self) -> str:
        """Hash of what it is, whatever the versions of the software."""
        rest = {name: value for name, value in self.identity.items() if name != "versions"}
        config = {name: value for name, value in self.config.identity().items() if name not in {"seed", "n"}}
        return config_hash({"config": config, "seed": self.seed, **rest})

    def shards(self, identity: Mapping[str, Any] | None = None) -> Iterator[Shard]:
        """Its shards, in order; `identity` with the versions that they were planned with, when these are others."""
        known = config_hash({"lane": self.key, "versions": (identity or self.identity)["versions"]})
        for part, first in enumerate(range(0, self.starts, self.shard_starts)):
            starts = min(self.shard_starts, self.starts - first)
            seed = shard_seed(self.seed, part)
            # A letter first: databases take text that reads as a number for one.
            name = "s" + config_hash({"lane": known, "seed": seed, "starts": starts})[:19]
            yield Shard(name, part, seed, starts)


@dataclass(frozen=True)
class CampaignPlan:
    """What a campaign runs.

    Attributes:
        spec: the specification.
        lanes: in the order of targets, workflows, backends, potentials, seeds.
        versions: of libraries and plug-ins, over all lanes.
    """

    spec: CampaignSpec
    lanes: tuple[Lane, ...]
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def n_shards(self) -> int:
        """Shards of all lanes."""
        return sum(-(-lane.starts // lane.shard_starts) for lane in self.lanes)


def make_plan(spec: CampaignSpec, registry: Registry) -> CampaignPlan:
    """Resolve all targets and methods: parts are made once, so what cannot be used is told before any work.

    Raises:
        InputError: when a target or a setting cannot be used.
        PluginError: for unknown or broken plug-ins.
        CheckpointError: when weights cannot be read.
    """
    known = KnownParts(registry)
    references: dict[str, str] = {}
    lanes: dict[str, Lane] = {}
    versions: dict[str, str] = {}
    for target_spec in spec.targets:
        for target in expand(target_spec):
            for workflow in _workflows(spec, target_spec):
                for backend in _choices(spec.backends, "score-model", registry):
                    for potential in _choices(spec.potentials, "potential", registry):
                        values = {**spec.settings, **target.values, "backend": backend[1], "potential": potential[1]}
                        try:
                            config = _config(values, target, workflow, registry)
                            identity = {**known.identity(config), "ranking": _ranking(config, references)}
                        except (InputError, PluginError, CheckpointError) as error:
                            raise type(error)(f"{target.name}, {workflow}, {backend[0]}: {error}") from error
                        versions |= identity["versions"]
                        for seed in spec.seeds:
                            lane = _lane(spec, target, workflow, backend[0], potential[0], seed, config, identity)
                            lanes.setdefault(lane.key, lane)
    return CampaignPlan(spec, tuple(lanes.values()), dict(sorted(versions.items())))


def _lane(
    spec: CampaignSpec,
    target: Target,
    workflow: Workflow,
    backend: str,
    potential: str,
    seed: int,
    config: AnyRun,
    identity: Mapping[str, Any],
) -> Lane:
    units = sum(config.formula_units) if isinstance(config, GenerateConfig) else 1
    atoms = target.n_atoms * units
    per_shard = min(max(spec.shard_atoms // atoms, 1), spec.starts)
    return Lane(target.name, workflow, backend, potential, seed, config, identity, spec.starts, atoms, per_shard)


def _workflows(spec: CampaignSpec, target: TargetSpec) -> tuple[Workflow, ...]:
    if target.hosts is not None:
        return ("inpaint",)
    return tuple(one for one in spec.workflows if one != "inpaint")


def _choices(given: tuple[PluginChoice, ...] | None, kind: str, registry: Registry) -> list[tuple[str, PluginChoice]]:
    """Plug-ins with labels: their names, numbered where one occurs with several options."""
    choices = given or (PluginChoice(name=registry.default_name(kind)),)
    labels: list[tuple[str, PluginChoice]] = []
    for choice in choices:
        same = sum(one.name == choice.name for _, one in labels)
        labels.append((choice.name if not same else f"{choice.name}#{same + 1}", choice))
    return labels


def _config(values: Mapping[str, Any], target: Target, workflow: Workflow, registry: Registry) -> AnyRun:
    kind: type[AnyRun] = InpaintConfig if target.has_host else GenerateConfig
    chosen = {name: value for name, value in values.items() if value is not None and name in kind.model_fields}
    chosen.setdefault("threads", _THREADS)
    if kind is GenerateConfig:
        chosen["workflow"] = workflow
        return build_config(GenerateConfig, chosen, registry)
    return build_config(InpaintConfig, chosen, registry)


def _ranking(config: AnyRun, known: dict[str, str]) -> dict[str, Any]:
    """What E_d rests on; it is part of the results that are collected."""
    name = config.references
    if name not in known:
        known[name] = content_hash(Path(name)) if Path(name).exists() else name
    return {
        "references": known[name],
        "references_frame": config.references_frame,
        "exclude_composition": config.exclude_composition,
    }


def request_of(spec: CampaignSpec) -> dict[str, Any]:
    """The specification as plain JSON, without what may differ when a campaign goes on."""
    plain: dict[str, Any] = json.loads(spec.model_dump_json(exclude={"about", "executor", "worker_deaths", "matching"}))
    return plain
