"""The pipeline: starts, draws, relaxations, hosts, inpainting, results; each piece stored as soon as it is done."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pymatgen.core import Composition

from chggen_kit.errors import InputError
from chggen_kit.interfaces import Progress, Sampler
from chggen_kit.io.files import check_host
from chggen_kit.plugins import Registry, get_registry
from chggen_kit.workflow import work
from chggen_kit.workflow.annealing import anneal
from chggen_kit.workflow.assembly import (
    Parts,
    assemble,
    check_elements,
    choose_lattice,
    describe_parts,
    refiner_options,
    versions,
)
from chggen_kit.workflow.chemical_system import choose_sizes, plan_system_starts
from chggen_kit.workflow.collect import write_database
from chggen_kit.workflow.config import GenerateConfig, InpaintConfig, config_hash
from chggen_kit.workflow.formula import atom_counts, check_symbol, parse_composition, parse_elements
from chggen_kit.workflow.guests import choose_guests
from chggen_kit.workflow.nulls import measure, with_nulls
from chggen_kit.workflow.plan import Draw, cut, make_shards
from chggen_kit.workflow.rattling import is_untested, rattle
from chggen_kit.workflow.records import HostRecord, Record, Stage
from chggen_kit.workflow.result import RunResult
from chggen_kit.workflow.rundir import RunDirectory, read_json, write_atomically
from chggen_kit.workflow.runner import Runner, torch_threads
from chggen_kit.workflow.stability import Stability, place_records, run_references
from chggen_kit.workflow.summary import summarise
from chggen_kit.workflow.symmetric_plan import Plan, fills_from, plan_fills, plan_whole
from chggen_kit.workflow.volume import volume_per_atom

_LOG = logging.getLogger(__name__)

RUNS = Path("runs")
"""Where runs go when no directory is named."""


def default_directory(config: GenerateConfig | InpaintConfig, out: str | Path | None) -> Path:
    """`out`, or the directory that a run gets when none is named.

    Raises:
        InputError: when `out` is empty.
    """
    if out is not None:
        if not str(out).strip():
            raise InputError("The name of the output directory is empty.")
        return Path(out)
    if isinstance(config, GenerateConfig):
        if config.formula is None:
            return RUNS / f"{'-'.join(config.chemical_system)}-seed{config.seed}"
        counts = atom_counts(parse_composition(config.formula))
        name = "".join(symbol if count == 1 else f"{symbol}{count}" for symbol, count in counts.items())
    else:
        guests = "".join(f"{symbol}{count}" for symbol, count in config.guest_counts.items())
        name = f"{config.host.structure().composition.reduced_formula}-{guests}"
    return RUNS / f"{name}-seed{config.seed}"


def run_generate(
    config: GenerateConfig, out: Path, *, registry: Registry | None = None, progress: Progress | None = None
) -> RunResult:
    """Candidates for a composition or a chemical system; goes on with the run that `out` holds, if it is the same.

    Raises:
        InputError: when the composition, the guests or an option cannot be used.
        RunDirectoryError: when `out` belongs to another run.
    """
    registry = registry or get_registry()
    if config.formula is None:
        return _run_system(config, out, registry, progress)
    composition = parse_composition(config.formula)
    guests: tuple[str, ...] = ()
    if config.guests == "auto" and config.workflow == "anneal":
        reason = "the workflow anneal takes guests out only where they are named"
    elif config.guests == "auto":
        choice = choose_guests(composition)
        guests, reason = tuple(choice.elements), choice.reason
    else:
        guests = parse_elements(",".join(config.guests), composition) if config.guests else ()
        reason = "given"
    volume, source = config.volume_per_atom, "given"
    if volume is None:
        estimate = volume_per_atom(composition)
        volume, source = estimate.value_A3, estimate.source
    _LOG.info("Guests: %s (%s). Volume: %.2f Å^3/atom (%s).", ", ".join(guests) or "none", reason, volume, source)
    parts = assemble(config, registry)
    lattice = choose_lattice(config, parts)
    counts = atom_counts(composition)
    check_elements(parts, counts, sum(counts.values()) * max(config.formula_units))
    resolved = {"guests": list(guests), "volume_per_atom": volume, "lattice": lattice}
    notes = {
        "formula": config.formula,
        "guests_chosen": reason,
        "lattice": lattice,
        "volume_per_atom": volume,
        "volume_source": source,
    }
    starts = plan_whole(config, composition, volume, lattice)

    run = _Run(config, parts, registry, out, resolved, notes, counts)
    return _execute(run, config, parts, starts, guests, progress)


def _run_system(config: GenerateConfig, out: Path, registry: Registry, progress: Progress | None) -> RunResult:
    """Candidates of a chemical system; guests are taken out only where the user names them."""
    guests: tuple[str, ...] = ()
    if config.guests != "auto" and config.guests:
        guests = parse_elements(",".join(config.guests), Composition(dict.fromkeys(config.chemical_system, 1)))
    parts = assemble(config, registry)
    sizes = choose_sizes(config, parts)
    check_elements(parts, config.chemical_system, max(sizes))
    resolved = {"guests": list(guests), "lattice": "generate"}
    notes = {"chemical_system": "-".join(config.chemical_system), "guests_chosen": "given", "lattice": "generate"}
    starts = Plan(plan_system_starts(config.chemical_system, sizes))
    run = _Run(config, parts, registry, out, resolved, notes, config.chemical_system)
    return _execute(run, config, parts, starts, guests, progress)


def _execute(
    run: _Run,
    config: GenerateConfig,
    parts: Parts,
    starts: Plan,
    guests: Sequence[str],
    progress: Progress | None,
) -> RunResult:
    def body(runner: Runner) -> tuple[list[Record], list[HostRecord]]:
        records, hosts = _unconditional(runner, config, parts, starts.draws, guests)
        records += starts.failed
        units = {one.record.start: one.record.formula_units for one in starts.draws}
        fills = plan_fills(config, hosts, units)
        records += _inpaint(runner, config, parts, parts.sampler, fills.draws) + fills.failed
        if config.workflow == "anneal":
            records += anneal(runner, config, parts, records)
        return _tested(runner, config, parts, records), hosts

    return run.execute(body, guests, progress)


def run_inpaint(
    config: InpaintConfig, out: Path, *, registry: Registry | None = None, progress: Progress | None = None
) -> RunResult:
    """Guests drawn into the user's host; goes on with the run that `out` holds, if it is the same.

    Raises:
        InputError: when the host, the guests or an option cannot be used.
        RunDirectoryError: when `out` belongs to another run.
    """
    registry = registry or get_registry()
    host = config.host.structure()
    check_host(host)
    for symbol in config.guest_counts:
        check_symbol(symbol, "the guests")
    parts = assemble(config, registry)
    symbols = {*config.host.species, *config.guest_counts}
    check_elements(parts, symbols, len(host) + sum(config.guest_counts.values()))
    given = HostRecord(id="host", start=0, host=config.host, guest_counts=dict(config.guest_counts))
    fills = plan_fills(config, [given], {})
    if not fills.draws:
        raise InputError(fills.reasons[0])
    draws = fills.draws
    if config.start_from is not None:
        draws = fills_from(draws, config.start_from.structure())
    notes = {"host": host.composition.formula, "guest_counts": dict(config.guest_counts)}

    def body(runner: Runner) -> tuple[list[Record], list[HostRecord]]:
        records = _inpaint(runner, config, parts, parts.sampler, draws) + fills.failed
        return _tested(runner, config, parts, records), []

    return _Run(config, parts, registry, out, {}, notes, symbols).execute(body, tuple(config.guest_counts), progress)


def _unconditional(
    runner: Runner, config: GenerateConfig, parts: Parts, starts: Sequence[Draw], guests: Sequence[str]
) -> tuple[list[Record], list[HostRecord]]:
    """Draw and relax whole structures, and look for a host in each."""
    if parts.unconditional_sampler is None or parts.refiner is None:
        raise InputError("This run has no sampler for whole structures, or no host refiner.")
    refiner = parts.refiner
    hosts: list[HostRecord] = []

    def look(number: int, of: int, done: Sequence[Record]) -> None:
        if guests:
            hosts.extend(runner.piece("hosts", number, of, HostRecord, partial(work.find_hosts, done, refiner, guests)))

    records = _draw_and_relax(runner, config, parts, parts.unconditional_sampler, "unconditional", starts, look)
    return records, hosts


def _inpaint(
    runner: Runner, config: GenerateConfig | InpaintConfig, parts: Parts, sampler: Sampler, fills: Sequence[Draw]
) -> list[Record]:
    return _draw_and_relax(runner, config, parts, sampler, "inpainted", fills, lambda *_: None)


def _tested(
    runner: Runner, config: GenerateConfig | InpaintConfig, parts: Parts, records: Sequence[Record]
) -> list[Record]:
    """`records`, the symmetric ones rattled and relaxed again where the run asks for it."""
    wanted = config.rattle or (isinstance(config, GenerateConfig) and config.workflow == "anneal")
    chosen = [one for one in records if is_untested(one, config)]
    if not wanted or not chosen or parts.relaxer is None:
        return list(records)
    pieces = cut([len(one.relaxed.species) if one.relaxed else 1 for one in chosen], config.micro_batch_atoms)
    done: dict[str, Record] = {}
    for piece, (low, high) in enumerate(pieces):
        task = partial(rattle, chosen[low:high], parts.relaxer, config)
        done |= {one.id: one for one in runner.piece("rattle", piece, len(pieces), Record, task)}
    return [done.get(one.id, one) for one in records]


def _draw_and_relax(
    runner: Runner,
    config: GenerateConfig | InpaintConfig,
    parts: Parts,
    sampler: Sampler,
    stage: Stage,
    draws: Sequence[Draw],
    then: Callable[[int, int, Sequence[Record]], None],
) -> list[Record]:
    """Shard after shard: draw, relax, find space groups; `then` looks at what came of each shard."""
    # In a composition's run it is whole structures that start from a given one.
    start = config.start_level if isinstance(config, InpaintConfig) or stage == "unconditional" else None
    shards = make_shards(draws, config.micro_batch_atoms, start)
    result: list[Record] = []
    for number, shard in enumerate(shards):
        records = runner.piece(
            f"{stage}-draw",
            number,
            len(shards),
            Record,
            partial(work.draw, shard, sampler, parts.model, config),
        )
        records = runner.piece(
            f"{stage}-relax", number, len(shards), Record, partial(work.finish, records, parts.relaxer, config)
        )
        then(number, len(shards), records)
        result += records
    return result


class _Run:
    """What the two verbs share: the directory, its lock, what `run.json` says, and the results at the end."""

    def __init__(
        self,
        config: GenerateConfig | InpaintConfig,
        parts: Parts,
        registry: Registry,
        out: Path,
        resolved: Mapping[str, Any],
        notes: Mapping[str, Any],
        symbols: Collection[str],
    ) -> None:
        self._config = config
        self._symbols = symbols
        self._parts = parts
        self._registry = registry
        self._directory = RunDirectory(out)
        self._notes = notes
        self._identity = {"config": config.identity(), "resolved": {**resolved, **describe_parts(parts)}}
        self._description: dict[str, Any] = {
            "identity": self._identity,
            "checkpoint_path": None if config.checkpoint is None else str(config.checkpoint),
            "seed": config.seed,
            "threads": config.threads or torch.get_num_threads(),
            "versions": versions(config, parts, registry),
            "notes": notes,
        }

    def execute(
        self,
        body: Callable[[Runner], tuple[list[Record], list[HostRecord]]],
        guests: Sequence[str],
        progress: Progress | None,
    ) -> RunResult:
        """Do what is left to do, and write the results."""
        directory = self._directory
        directory.check_free()
        with directory.locked():
            is_new = not directory.run_file.exists()
            stored = directory.open(self._description)
            _LOG.info("Run directory: %s%s", directory.path, "" if is_new else " (going on)")
            ours: Mapping[str, str] = self._description["versions"]
            if stored["versions"] != ours:
                _LOG.warning(
                    "%s was started with other versions of the software (%s); its last bits may differ from a run "
                    "that was never interrupted.",
                    directory.path,
                    ", ".join(sorted(key for key, value in ours.items() if stored["versions"].get(key) != value)),
                )
            runner = Runner(directory, config_hash(self._identity), progress)
            with torch_threads(stored["threads"]):
                # First: references that cannot be used should say so before hours of work.
                found = run_references(self._config, self._parts, self._registry, self._symbols, progress)
                records, hosts = body(runner)
                nulls = measure(runner, self._config, self._parts.refiner, records, guests)
            excludes = self._config.exclude_composition
            stability = place_records(records, found, self._parts, exclude_composition=excludes)
            seconds = {kind: round(value, 1) for kind, value in runner.seconds.items()}
            extra = {"verb": self._config.verb, "seed": self._config.seed, **self._notes, "seconds": seconds}
            summary = with_nulls(
                summarise(self._config, records, hosts, guests, extra, stability), nulls, self._config.symmetry
            )
            if runner.computed or not self._is_written(stability):
                self._write(records, hosts, summary, stability)
        return RunResult(directory.path, self._config, records, hosts, summary, stability)

    def _is_written(self, stability: Stability) -> bool:
        """Whether the results are there, measured from the same references."""
        directory = self._directory
        if not (directory.database.exists() and directory.summary.exists()):
            return False
        written = read_json(directory.summary)
        return isinstance(written, dict) and written.get("thermodynamics") == stability.about

    def _write(
        self,
        records: Sequence[Record],
        hosts: Sequence[HostRecord],
        summary: Mapping[str, Any],
        stability: Stability,
    ) -> None:
        config, model, potential = self._config, self._parts.model, self._parts.potential
        shared: dict[str, Any] = {
            "seed": config.seed,
            "symprec": config.symprec_A,
            "angle_tolerance": config.angle_tolerance_deg,
        }
        if potential is not None:
            shared |= {
                "potential": potential.info.name,
                "energy_frame": potential.info.energy_frame,
                "relaxer": config.relaxer.name,
                "relax_policy": config.relax_policy.name,
            }
        if stability.about.get("references") is not None:
            shared |= {key: stability.about[key] for key in ("references", "exclude_composition")}
        if isinstance(config, GenerateConfig):
            shared["refiner"] = config.refiner.name
            shared["refiner_options"] = json.dumps(refiner_options(config, self._registry))
        samplers = {"inpainted": (config.sampler.name, self._parts.sampler)}
        provenance: dict[str, dict[str, Any]] = {"projected": shared}
        if isinstance(config, GenerateConfig) and self._parts.unconditional_sampler is not None:
            whole = (config.unconditional_sampler.name, self._parts.unconditional_sampler)
            samplers["unconditional"] = whole
            if self._parts.denoiser is not None:
                samplers["annealed"] = (config.anneal.sampler.name, self._parts.denoiser)
        for stage, (name, sampler) in samplers.items():
            provenance[stage] = {**shared, "sampler": name}
            if sampler.needs_model and model is not None:
                provenance[stage] |= {
                    "backend": config.backend.name,
                    "checkpoint": model.capabilities.checkpoint,
                    "checkpoint_sha256": f"sha256:{model.capabilities.checkpoint_sha256}",
                }
        placements = stability.placements
        write_database(self._directory.database, records, hosts, provenance, {"run": self._identity}, placements)
        # Opinions on another ranking; `chggen judge` has them back from what is stored.
        self._directory.judgement.unlink(missing_ok=True)
        write_atomically(self._directory.summary, json.dumps(summary, indent=2) + "\n")
