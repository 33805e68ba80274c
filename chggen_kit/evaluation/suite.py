"""From the settings of `chggen evaluate` to the evaluations: each gets its model, its rows and its directory."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from chggen_kit.errors import InputError, unknown_name
from chggen_kit.evaluation import EVALUATIONS
from chggen_kit.evaluation.compounds import choose_compounds
from chggen_kit.evaluation.config import EvaluateConfig
from chggen_kit.evaluation.csp import csp_methods, evaluate_csp
from chggen_kit.evaluation.csp_references import choose_references, every_reference
from chggen_kit.evaluation.denoising import evaluate_denoising
from chggen_kit.evaluation.recovery import Judging, evaluate_recovery, method_of
from chggen_kit.evaluation.report import Report
from chggen_kit.evaluation.rows import read_rows, shuffled
from chggen_kit.interfaces import Progress, ScoreModel
from chggen_kit.io.readers import StructureRecord
from chggen_kit.metrics.csp import composition_of
from chggen_kit.plugins import Registry, get_registry
from chggen_kit.plugins.entry import load_import_string
from chggen_kit.workflow.assembly import library_versions
from chggen_kit.workflow.config import PluginChoice

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Session:
    """What the evaluations of one command share; the costly parts are made when one asks for them.

    Attributes:
        config: settings.
        data: file or folder of structures.
        out: directory of the results; the evaluation NAME works in `out/NAME` and writes `out/NAME.json`.
        registry: of the plug-ins.
        progress: told how far the work is.
    """

    config: EvaluateConfig
    data: Path
    out: Path
    registry: Registry
    progress: Progress | None = None

    @cached_property
    def model(self) -> ScoreModel:
        """The score model."""
        options = dict(self.config.backend.options)
        if self.config.checkpoint is not None:
            options["checkpoint"] = str(self.config.checkpoint)
        return self.registry.create_score_model(self.config.backend.name, options)

    @cached_property
    def rows(self) -> list[StructureRecord]:
        """Plausible rows of the split, in the order of the file."""
        return read_rows(self.data, self.config.split)

    @property
    def facts(self) -> dict[str, Any]:
        """What every report says of where its numbers come from."""
        capabilities = self.model.capabilities
        return {
            "backend": self.config.backend.name,
            "checkpoint": capabilities.checkpoint,
            "checkpoint_sha256": capabilities.checkpoint_sha256,
            "data": self.data.name,
            "split": self.config.split,
            "seed": self.config.seed,
        }

    @cached_property
    def versions(self) -> dict[str, str]:
        """Versions of the software."""
        origin = self.registry.get("score-model", self.config.backend.name).origin
        return {**library_versions(), f"score-model {self.config.backend.name}": str(origin)}

    def covered(self, rows: Collection[StructureRecord]) -> list[StructureRecord]:
        """Those of `rows` whose elements the score model covers."""
        elements = self.model.capabilities.elements
        kept = [row for row in rows if elements.issuperset(row.species.tolist())]
        if len(kept) < len(rows):
            _LOG.warning("%d rows hold elements that the score model does not cover.", len(rows) - len(kept))
        return kept


def evaluate(
    config: EvaluateConfig,
    data: Path,
    out: Path,
    *,
    only: Collection[str] = (),
    registry: Registry | None = None,
    progress: Progress | None = None,
    then: Callable[[Report], None] | None = None,
) -> list[Report]:
    """Run the evaluations named in `only` (all by default); each writes `out/NAME.json` when it is done.

    Args:
        config: settings.
        data: structures with their splits, in any format of `chggen_kit.io.readers`.
        out: directory; the same call goes on where a killed one stopped.
        only: names of evaluations.
        registry: of the plug-ins; the installed ones by default.
        progress: told how far the work is.
        then: called with each report as soon as it is there.

    Raises:
        InputError: for an unknown evaluation, or data that cannot be used.
        RunDirectoryError: when `out` holds another run.
    """
    for name in only:
        if name not in EVALUATIONS:
            raise InputError(unknown_name("evaluation", name, EVALUATIONS))
    session = Session(config, data, out, registry or get_registry(), progress)
    reports = []
    for name, target in EVALUATIONS.items():
        if only and name not in only:
            continue
        run: Callable[[Session], Report] = load_import_string(target)
        report = run(session)
        report.write(out)
        reports.append(report)
        if then is not None:
            then(report)
    return reports


def denoising(session: Session) -> Report:
    """Relative denoising errors on `rows` rows of at most `max_atoms` atoms."""
    config = session.config
    small = [row for row in session.rows if row.n_atoms <= config.max_atoms]
    return evaluate_denoising(
        session.model,
        session.covered(shuffled(small, config.seed)[: config.rows]),
        out=session.out / "denoising",
        levels=config.levels,
        seed=config.seed,
        facts={**session.facts, "max_atoms": config.max_atoms},
        versions=session.versions,
        threads=config.threads,
        progress=session.progress,
    )


def recovery(session: Session) -> Report:
    """Guest recovery on `compounds` compounds of at most `max_atoms` atoms, by the model and by the baselines."""
    config, registry, model = session.config, session.registry, session.model
    small = shuffled([row for row in session.rows if row.n_atoms <= config.max_atoms], config.seed)
    judging, elements = _judging(config, registry) if config.relax else (None, model.capabilities.elements)
    elements &= model.capabilities.elements
    compounds, passed = choose_compounds(small, config.compounds, model, elements)
    if len(compounds) < config.compounds:
        _LOG.warning("Only %d compounds can be used; passed over: %s.", len(compounds), dict(passed))
    says = model.never_trained_on(()) is not None
    if not says:
        _LOG.warning(
            "%s does not say which formulas it was trained on: compounds may be among them.",
            model.capabilities.checkpoint,
        )
    described = {"sampler": config.sampler.name, "options": dict(config.sampler.options)}
    methods = {config.backend.name: method_of(registry.create_sampler(**_named(config.sampler)), model, described)}
    for name in config.baselines:
        methods[name] = method_of(registry.create_sampler(name), model, {"sampler": name, "options": {}})
    training = {
        "known": says,
        "compounds_trained_on": 0 if says else None,
        "rows_passed_over": dict(sorted(passed.items())),
    }
    return evaluate_recovery(
        compounds,
        methods,
        judging,
        out=session.out / "recovery",
        samples=config.samples,
        seed=config.seed,
        micro_batch_atoms=config.micro_batch_atoms,
        facts={**session.facts, "max_atoms": config.max_atoms, "training_formulas": training},
        versions=session.versions,
        threads=config.threads,
        progress=session.progress,
    )


def csp(session: Session) -> Report:
    """Structure prediction, by the model with every kind of cells and by the baselines."""
    config, registry, model = session.config, session.registry, session.model
    rows = session.covered(session.rows)
    unseen = model.never_trained_on({row.formula for row in rows})
    if config.references == 0:
        references = every_reference(rows)
    else:
        references = choose_references(
            [row for row in rows if unseen is None or row.formula in unseen],
            count=config.references,
            polymorphs=config.polymorphs,
            max_atoms=config.csp_max_atoms,
            seed=config.seed,
        )
    if unseen is None:
        _LOG.warning(
            "%s does not say which formulas it was trained on: references may be among them.",
            model.capabilities.checkpoint,
        )
    seen = None if unseen is None else sum(composition_of(one.structure) not in unseen for one in references)
    return evaluate_csp(
        references,
        csp_methods(
            model,
            registry,
            cells=config.cells,
            sampler=config.unconditional_sampler,
            baselines=config.csp_baselines,
        ),
        out=session.out / "csp",
        samples=config.per_reference,
        judging=_judging(config, registry)[0] if config.csp_relax else None,
        seed=config.seed,
        batch_atoms=config.micro_batch_atoms,
        facts={**session.facts, "references_trained_on": seen},
        versions=session.versions,
        threads=config.threads,
        progress=session.progress,
    )


def _judging(config: EvaluateConfig, registry: Registry) -> tuple[Judging, frozenset[int]]:
    """How samples are relaxed and judged, and the elements that can be."""
    potential = registry.create_potential(config.potential.name, config.potential.options)
    judging = Judging(
        registry.create_relaxer(config.relaxer.name, config.relaxer.options, potential=potential),
        {
            "potential": potential.info.name,
            "energy_frame": potential.info.energy_frame,
            "relaxer": json.loads(config.relaxer.model_dump_json()),
        },
        fmax=config.fmax,
        max_steps=config.max_steps,
        energy_tolerance=config.energy_tolerance_eV,
    )
    return judging, potential.info.elements


def _named(choice: PluginChoice) -> dict[str, Any]:
    return {"name": choice.name, "options": choice.options}
