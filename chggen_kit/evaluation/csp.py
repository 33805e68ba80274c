"""Crystal structure prediction: known structures drawn from their composition alone, and judged.

The number of atoms in the cell is that of the known structure, as in DiffCSP's benchmark (arXiv:2309.04475).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pymatgen.core import Structure

from chggen_kit.errors import InputError
from chggen_kit.evaluation.csp_references import Cells, CspReference, check_unique
from chggen_kit.evaluation.csp_report import DRAWN, RELAXED, CspReport, MethodResult
from chggen_kit.evaluation.csp_work import CspMethod, CspWork, PredictedReference
from chggen_kit.evaluation.pieces import pieces
from chggen_kit.evaluation.recovery import Judging, method_of
from chggen_kit.interfaces import Progress, Sampler, ScoreModel
from chggen_kit.metrics.csp import ReferenceScore, composition_of, lowest, match_everyone
from chggen_kit.metrics.matching import (
    CspMatcher,
    is_valid_composition,
    is_valid_structure,
    smact_is_installed,
    unusable,
)
from chggen_kit.plugins import Registry
from chggen_kit.workflow.config import PluginChoice
from chggen_kit.workflow.records import OK, StructureData


def csp_methods(
    model: ScoreModel,
    registry: Registry,
    *,
    cells: Sequence[Cells] | None = None,
    sampler: PluginChoice | None = None,
    baselines: Sequence[str] = ("random",),
) -> dict[str, CspMethod]:
    """The methods to compare: the model with each kind of cells, and each baseline with those that it can be given.

    Where the model moves something that is given (a cell), the sampler is `replace` with the same options: one descent,
    like that of the default, `predictor-corrector`, with what is given imposed at every level.

    Raises:
        InputError: when the model does not draw cells and `cells` asks for it.
        PluginError: for unknown plug-ins.
    """
    draws_cells = model.processes["lattice"].moves
    chosen: Sequence[Cells] = cells or (("given", "searched", "generated") if draws_cells else ("given", "searched"))
    if "generated" in chosen and not draws_cells:
        raise InputError(
            f"The score model {model.capabilities.checkpoint} does not draw cells, so they cannot be `generated`: take "
            "`given` or `searched`."
        )
    choice = sampler or PluginChoice(name="predictor-corrector")
    found: dict[str, CspMethod] = {}
    for one in dict.fromkeys(chosen):
        given_moves = model.processes["species"].moves or (draws_cells and one != "generated")
        name = "replace" if given_moves and choice.name == "predictor-corrector" else choice.name
        description = {"cells": one, "sampler": name, "options": dict(choice.options)}
        found[one] = _method(registry.create_sampler(name, choice.options), model, description, one)
    for baseline in baselines:
        for one in dict.fromkeys(chosen):
            if one != "generated":
                description = {"cells": one, "sampler": baseline, "options": {}}
                found[f"{one}-{baseline}"] = _method(registry.create_sampler(baseline), model, description, one)
    return found


def _method(sampler: Sampler, model: ScoreModel, description: Mapping[str, Any], cells: Cells) -> CspMethod:
    plain = method_of(sampler, model, description)
    return CspMethod(plain.sampler, plain.model, plain.description, cells)


def evaluate_csp(
    references: Sequence[CspReference],
    methods: Mapping[str, CspMethod],
    *,
    out: Path,
    samples: int = 20,
    judging: Judging | None = None,
    seed: int = 0,
    batch_atoms: int = 256,
    facts: Mapping[str, Any] | None = None,
    versions: Mapping[str, str] | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> CspReport:
    """Predict every reference by every method and score the predictions; goes on with what `out` holds.

    Args:
        references: what is to be predicted.
        methods: by name, as of `csp_methods`; NAME-BASELINE is compared with NAME.
        out: directory of the pieces: a file for each batch of references, with one record a reference.
        samples: predictions for each reference and method.
        judging: how predictions, and references to compare them with, are relaxed; None scores them as drawn alone.
        seed: of all draws and of the intervals.
        batch_atoms: atoms drawn together; part of the result in the last bits.
        facts: to be kept with the result.
        versions: of the software, for the record.
        threads: of torch.
        progress: told how far the work is.

    Raises:
        InputError: when there is nothing to do, ids repeat, or a reference cannot be compared with anything.
        RunDirectoryError: when `out` belongs to another run.
    """
    if not references or not methods or samples < 1:
        raise InputError("Structure prediction needs at least one reference, one method and one sample.")
    check_unique(references)
    matcher = CspMatcher()
    for one in references:
        reason = unusable(one.structure)
        if reason is not None:
            raise InputError(f"The reference {one.id} cannot be compared with anything ({reason}): leave it out.")
    identity = {
        "evaluation": CspReport.name,
        "references": _fingerprint(references),
        "methods": {name: dict(one.description) for name, one in methods.items()},
        "relaxation": None if judging is None else judging.as_json(),
        "samples": samples,
        "matcher": matcher.description,
        "seed": seed,
        "batch_atoms": batch_atoms,
    }
    with pieces(out, identity, versions=versions, threads=threads, progress=progress) as runner:
        work = CspWork(references, samples, seed, batch_atoms, matcher, runner)
        done = {name: work.predict(name, method) for name, method in methods.items()}
        known = {one.id: one.structure for one in references}
        results = [_result(name, DRAWN, references, found, known, matcher) for name, found in done.items()]
        if judging is not None:
            relaxed_known = work.relax_references(judging)
            for name in methods:
                found = work.relax(name, done[name], relaxed_known, judging)
                results.append(_result(name, RELAXED, references, found, relaxed_known, matcher))
    shown = {key: value for key, value in identity.items() if key != "evaluation"}
    gate = ("SMACT and " if smact_is_installed() else "") + "0.5 Å between atoms"
    return CspReport(
        tuple(results),
        {one.id: one.group for one in references},
        {**shown, "gate": gate, **(facts or {})},
        seed,
    )


def _fingerprint(references: Sequence[CspReference]) -> str:
    """Hash of the names and numbers of `references`, in order."""
    digest = hashlib.blake2b(digest_size=16)
    for one in references:
        digest.update(f"{one.id} {StructureData.of(one.structure).model_dump_json()}\n".encode())
    return digest.hexdigest()


def _result(
    name: str,
    state: str,
    references: Sequence[CspReference],
    found: Sequence[PredictedReference],
    known: Mapping[str, Structure],
    matcher: CspMatcher,
) -> MethodResult:
    """Scores of one method in one state, reference by reference."""
    usable = {one.id: one.structures for one in found}
    own = {one.id: lowest(p.rmsd for p in one.predictions) for one in found}
    everyone = match_everyone({one.id: known[one.id] for one in references}, usable, own, matcher)
    outcomes = []
    for reference, one in zip(references, found, strict=True):
        valid = is_valid_structure(reference.structure) and (
            not smact_is_installed() or is_valid_composition(reference.structure.composition)
        )
        outcomes.append(
            ReferenceScore(
                reference.id,
                composition_of(reference.structure),
                tuple(p.rmsd for p in one.predictions),
                tuple(valid and p.valid for p in one.predictions),
                everyone[one.id],
            )
        )
    reasons = [p.mismatch if p.outcome == OK else p.outcome for one in found for p in one.predictions]
    return MethodResult(
        method=name,
        state=state,
        outcomes=tuple(outcomes),
        network_calls=tuple(one.network_calls for one in found),
        seconds=tuple(one.seconds for one in found),
        reasons=tuple(reason or "match" for reason in reasons),
    )
