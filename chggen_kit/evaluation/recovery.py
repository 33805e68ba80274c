"""Guest recovery: guests are taken out of known compounds and put back by a model; do they end where they were?

Every sample is relaxed, and so is the known compound, by the same relaxer over the same potential. A sample is a *hit*
when it matches the relaxed known structure or lies lower in energy. Baselines without a model fill the same hosts with
the same number of samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from chggen_kit.errors import InputError
from chggen_kit.evaluation.compounds import Compound, refilling
from chggen_kit.evaluation.matching import Matcher
from chggen_kit.evaluation.pieces import pieces
from chggen_kit.evaluation.recovery_report import CompoundOutcome, MethodOutcome, RecoveryReport, SampleOutcome
from chggen_kit.interfaces import Progress, Relaxation, Relaxer, Sampler, ScoreModel
from chggen_kit.io.convert import to_structures
from chggen_kit.workflow.plan import cut
from chggen_kit.workflow.records import OK, StructureData

_USABLE_ENDS = ("converged", "max-steps")
"""A relaxation that ran out of steps left a usable structure."""


@dataclass(frozen=True)
class Method:
    """One way to put guests back.

    Attributes:
        sampler: draws.
        model: for samplers that need one.
        description: plain JSON that says what it is (name, options, ...).
    """

    sampler: Sampler
    model: ScoreModel | None
    description: Mapping[str, Any]


@dataclass(frozen=True)
class Judging:
    """How samples are relaxed and judged.

    Attributes:
        relaxer: over the potential.
        description: plain JSON that says what the relaxer and its potential are.
        fmax: force limit in eV/Å.
        max_steps: steps after which a relaxation ends unconverged.
        energy_tolerance: eV/atom by which a sample must lie below the known structure to count as lower.
    """

    relaxer: Relaxer
    description: Mapping[str, Any]
    fmax: float = 0.1
    max_steps: int = 500
    energy_tolerance: float = 0.001

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        limits = {"fmax": self.fmax, "max_steps": self.max_steps, "energy_tolerance": self.energy_tolerance}
        return {**self.description, **limits}


class _Drawn(BaseModel):
    """What one method drew for one compound."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    network_calls: int
    structures: tuple[StructureData, ...]
    reasons: tuple[str | None, ...]


def evaluate_recovery(
    compounds: Sequence[Compound],
    methods: Mapping[str, Method],
    judging: Judging | None,
    *,
    out: Path,
    samples: int = 10,
    seed: int = 0,
    micro_batch_atoms: int = 256,
    facts: Mapping[str, Any] | None = None,
    versions: Mapping[str, str] | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> RecoveryReport:
    """Guest recovery of all `methods` on `compounds`; goes on with what `out` holds, if it is the same.

    Args:
        compounds: what to refill; covered by the models and the potential.
        methods: by name; the first one is compared with each of the others.
        judging: how samples are relaxed and judged; None relaxes nothing and only compares what was drawn.
        out: directory of the pieces.
        samples: drawn by each method for every compound.
        seed: of all draws.
        micro_batch_atoms: atoms drawn together (but at least one compound).
        facts: to be kept with the result.
        versions: of the software, for the record.
        threads: of torch.
        progress: told how far the work is.

    Raises:
        InputError: when there is no compound or no method.
        RunDirectoryError: when `out` belongs to another run.
    """
    if not compounds or not methods:
        raise InputError(
            "There is no compound to refill. Take another split or a larger --max-atoms; a compound needs one of the "
            "guest species and another element, and a formula that the model was not trained on."
        )
    matcher = Matcher()
    identity = {
        "evaluation": RecoveryReport.name,
        "compounds": [StructureData.of(one.structure).model_dump(mode="json") for one in compounds],
        "guests": [one.guest for one in compounds],
        "methods": {name: dict(method.description) for name, method in methods.items()},
        "relaxation": None if judging is None else judging.as_json(),
        "matcher": matcher.parameters,
        "samples": samples,
        "seed": seed,
        "micro_batch_atoms": micro_batch_atoms,
    }
    ranges = cut([len(one.structure) * samples for one in compounds], micro_batch_atoms)
    found: list[CompoundOutcome] = []
    with pieces(out, identity, versions=versions, threads=threads, progress=progress) as runner:
        for number, (low, high) in enumerate(ranges):
            part = compounds[low:high]
            drawn: dict[str, list[_Drawn]] = {}
            for name, method in methods.items():
                work = partial(_draw, part, method, samples, seed)
                drawn[name] = runner.piece(f"{name}-draw", number, len(ranges), _Drawn, work)
            judge = partial(_judge, part, drawn, judging, matcher)
            found += runner.piece("recovery-relax", number, len(ranges), CompoundOutcome, judge)
        seconds = {kind: round(value, 1) for kind, value in runner.seconds.items()}
    shown = {key: value for key, value in identity.items() if key not in {"compounds", "guests", "evaluation"}}
    return RecoveryReport(
        tuple(found), tuple(methods), samples, judging is not None, {**shown, **(facts or {})}, seconds
    )


def _draw(
    compounds: Sequence[Compound], method: Method, samples: int, seed: int, progress: Progress | None
) -> list[_Drawn]:
    """What `method` draws for each of `compounds`."""
    result = method.sampler.sample(method.model, refilling(compounds, samples), seed=seed, progress=progress)
    structures = [StructureData.of(one) for one in to_structures(result.crystals)]
    return [
        _Drawn(
            network_calls=result.network_calls,
            structures=tuple(structures[low : low + samples]),
            reasons=result.reasons[low : low + samples],
        )
        for low in range(0, len(structures), samples)
    ]


def _judge(
    compounds: Sequence[Compound],
    drawn: Mapping[str, Sequence[_Drawn]],
    judging: Judging | None,
    matcher: Matcher,
    progress: Progress | None,
) -> list[CompoundOutcome]:
    """Relax the known structures and all samples together, and compare."""
    structures = [one.structure for one in compounds]
    places: dict[tuple[str, int, int], int] = {}
    for name, by_compound in drawn.items():
        for number, one in enumerate(by_compound):
            for copy, (structure, reason) in enumerate(zip(one.structures, one.reasons, strict=True)):
                if reason is None:
                    places[name, number, copy] = len(structures)
                    structures.append(structure.structure())
    ended: Sequence[Relaxation | None] = [None] * len(structures)
    if judging is not None:
        ended = judging.relaxer.relax(
            structures, cell="free", fmax=judging.fmax, max_steps=judging.max_steps, progress=progress
        )
    tolerance = 0.0 if judging is None else judging.energy_tolerance
    outcomes = []
    for number, compound in enumerate(compounds):
        known = ended[number]
        reference = known if known is not None and known.reason in _USABLE_ENDS else None
        methods = {}
        for name, by_compound in drawn.items():
            one = by_compound[number]
            sample_outcomes = []
            for copy, (structure, reason) in enumerate(zip(one.structures, one.reasons, strict=True)):
                relaxation = ended[places[name, number, copy]] if reason is None else None
                first = SampleOutcome(outcome=reason or OK, generated=structure)
                sample_outcomes.append(_compared(first, compound, reference, relaxation, tolerance, matcher))
            methods[name] = MethodOutcome(network_calls=one.network_calls, samples=tuple(sample_outcomes))
        outcomes.append(_outcome(compound, known, matcher, methods))
    return outcomes


def _outcome(
    compound: Compound, known: Relaxation | None, matcher: Matcher, methods: Mapping[str, MethodOutcome]
) -> CompoundOutcome:
    values: dict[str, Any] = {}
    if known is not None:
        values = {"known_reason": known.reason, "known_steps": known.steps}
        if known.reason in _USABLE_ENDS:
            values["known_energy_per_atom"] = known.energy / len(compound.structure)
            values["known_relaxed"] = StructureData.of(known.structure)
            values["known_keeps"] = matcher.fits(compound.structure, known.structure)
    return CompoundOutcome(
        id=compound.id,
        formula=compound.formula,
        family=compound.family,
        guest=compound.guest,
        guest_count=len(compound.guests),
        n_atoms=len(compound.structure),
        methods=methods,
        **values,
    )


def _compared(
    sample: SampleOutcome,
    compound: Compound,
    known: Relaxation | None,
    relaxation: Relaxation | None,
    energy_tolerance: float,
    matcher: Matcher,
) -> SampleOutcome:
    """`sample` with what came of its relaxation, compared with the known structure as given and as relaxed."""
    values: dict[str, Any] = {}
    if sample.outcome == OK:
        values["matches_generated"] = matcher.fits(compound.structure, sample.generated.structure())
    if relaxation is None:
        return sample.updated(**values)
    values |= {"relax_reason": relaxation.reason, "steps": relaxation.steps}
    if relaxation.reason not in _USABLE_ENDS:
        return sample.updated(outcome=relaxation.reason, **values)
    n_atoms = len(compound.structure)
    energy = relaxation.energy / n_atoms
    values |= {"energy_per_atom": energy, "relaxed": StructureData.of(relaxation.structure)}
    if known is not None:
        values["matches"] = matcher.fits(known.structure, relaxation.structure)
        values["lower"] = energy < known.energy / n_atoms - energy_tolerance
        if values["matches"]:
            values["guest_rmsd_A"] = matcher.guest_rmsd_A(known.structure, relaxation.structure, compound.guests)
    return sample.updated(**values)


def method_of(sampler: Sampler, model: ScoreModel, description: Mapping[str, Any]) -> Method:
    """A method; `description` gets what identifies the model where the sampler needs it."""
    method = Method(sampler, None, description)
    if not sampler.needs_model:
        return method
    capabilities = model.capabilities
    identity = {
        "checkpoint": capabilities.checkpoint,
        "checkpoint_sha256": capabilities.checkpoint_sha256,
        "sampling_defaults": dict(capabilities.sampling_defaults),
    }
    return replace(method, model=model, description={**description, **identity})
