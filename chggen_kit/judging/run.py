"""Second opinions on a run that is done: judges, their references, the comparison, and where it is written."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase.db.row import AtomsRow
from pydantic import ValidationError
from pymatgen.core import Composition

from chggen_kit.errors import InputError, RunDirectoryError
from chggen_kit.interfaces import Progress
from chggen_kit.judging.comparison import Compared, Level
from chggen_kit.judging.judges import Judge, JudgeSettings, check_another, check_covered, make_judges
from chggen_kit.judging.result import OWN, Judgement, Voice, make_judgement
from chggen_kit.judging.work import Candidate, JudgedRecord, opinions
from chggen_kit.judging.writing import write_judgement
from chggen_kit.plugins import Registry, get_registry
from chggen_kit.thermo import ActivePotential, Hull, Phase, Placement, amounts_of
from chggen_kit.thermo.phases import NotComparableError, reduced_formula
from chggen_kit.thermo.sources import AUTO, MATERIALS_PROJECT, NONE, FoundReferences, find_references
from chggen_kit.workflow.config import GenerateConfig, InpaintConfig, RunConfig
from chggen_kit.workflow.export import find_database, select_rows
from chggen_kit.workflow.records import StructureData
from chggen_kit.workflow.rundir import RunDirectory, read_json
from chggen_kit.workflow.runner import Labelled, torch_threads

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Stored:
    """What the directory says of the run."""

    config: RunConfig
    threads: int


def judge(
    path: str | Path,
    judges: Sequence[str | Mapping[str, Any]],
    *,
    progress: Progress | None = None,
    **settings: Any,  # noqa: ANN401  the fields of JudgeSettings, which checks them
) -> Judgement:
    """Second opinions on the best candidates of the run in `path`.

    Args:
        path: a run directory of `generate` or `inpaint`.
        judges: potentials by name, or as `{"name": ..., "options": {...}}`.
        progress: told how far the work is.
        settings: the other fields of `JudgeSettings`: top, margin_meV, references, ...

    Raises:
        InputError: when something that was given cannot be used, the run holds nothing relaxed, or a judge does not
            cover an element.
        RunDirectoryError: when `path` holds no run, or is in use.
    """
    return judge_run(Path(path), build_settings({"judges": list(judges), **settings}), progress=progress)


def build_settings(values: Mapping[str, Any]) -> JudgeSettings:
    """Settings from what the user gave; None keeps a default.

    Raises:
        InputError: naming each value that does not fit.
    """
    try:
        return JudgeSettings.model_validate({name: value for name, value in values.items() if value is not None})
    except ValidationError as error:
        lines = [
            f"{'.'.join(str(part) for part in problem['loc'])} = {problem.get('input')!r}: {problem['msg']}"
            for problem in error.errors(include_url=False)
        ]
        raise InputError("The settings of the judges are not valid: " + "; ".join(lines) + ".") from error


def judge_run(
    path: Path,
    settings: JudgeSettings,
    *,
    judges: Sequence[Judge] | None = None,
    registry: Registry | None = None,
    progress: Progress | None = None,
) -> Judgement:
    """Second opinions on a run; what was stored of earlier ones is used.

    Args:
        path: the run directory, or its `results.db`.
        settings: what is judged and how.
        judges: those of `settings.judges`, where they have been made already.
        registry: of the plug-ins.
        progress: told how far the work is.

    Raises:
        InputError, RunDirectoryError: as `judge`.
    """
    registry = registry or get_registry()
    check_references(settings.references)
    database = find_database(path)
    directory = RunDirectory(database.parent)
    stored = _read_run(directory)
    config = stored.config.model_copy(
        update={name: value for name in ("fmax", "max_steps") if (value := getattr(settings, name)) is not None}
    )
    with directory.locked():
        rows = _relaxed(select_rows(database, None, None), path)[: settings.top]
        chosen = [
            Candidate(row.structure_id, StructureData.model_validate(row.data["relaxed"]), int(row.host_atoms))
            for _, row in rows
        ]
        judges = make_judges(settings.judges, registry) if judges is None else judges
        symbols = sorted({symbol for one in chosen for symbol in one.structure.species})
        check_covered(judges, symbols)
        first = rows[0][1]
        check_another(judges, stored.config.potential, registry)
        excludes = settings.exclude_composition
        if excludes is None:
            excludes = bool(first.get("exclude_composition", False))
        voices = [_own_voice(first)]
        levels: dict[str, dict[str, Level]] = {OWN: {row.structure_id: _own_level(row) for _, row in rows}}
        said: dict[str, dict[str, JudgedRecord]] = {}
        with torch_threads(stored.threads):
            # First: a file of references that cannot be read should say so before an hour of work.
            found = [_references(one, settings, symbols, registry, progress) for one in judges]
            for one, references in zip(judges, found, strict=True):
                records = opinions(one, chosen, config, directory, registry, progress)
                said[one.key] = {record.id: record for record in records}
                levels[one.key] = _levels(one, records, references, excludes)
                voices.append(_voice(one, references, excludes))
        compared = [(rank, _compared(row, levels), str(row.get("spacegroup_symbol", "-"))) for rank, row in rows]
        result = make_judgement(directory.path, voices, compared, said, settings.margin_meV / 1000)
        write_judgement(directory, result, settings)
    return result


def check_references(choice: str) -> None:
    """Refuse references that are neither a known word nor a path.

    Raises:
        InputError: naming what was given.
    """
    if choice not in {AUTO, NONE, MATERIALS_PROJECT} and not Path(choice).exists():
        raise InputError(f"There are no references at {choice}: give auto, none, mp, or the path of a file or folder.")


def _read_run(directory: RunDirectory) -> _Stored:
    """The configuration of the run.

    Raises:
        RunDirectoryError: when there is none, or it is none of this version's.
    """
    if not directory.run_file.exists():
        raise RunDirectoryError(f"{directory.path} holds no run.json, so it is no run of generate or inpaint.")
    stored = read_json(directory.run_file)
    try:
        plain = stored["identity"]["config"]
        kind = InpaintConfig if plain["verb"] == "inpaint" else GenerateConfig
        return _Stored(kind.model_validate(plain), int(stored["threads"]))
    except (KeyError, TypeError, ValueError) as error:
        raise RunDirectoryError(
            f"{directory.run_file} is not the configuration of a run of this version of the kit: {error}."
        ) from error


def _relaxed(rows: Sequence[AtomsRow], path: Path) -> list[tuple[int, AtomsRow]]:
    """Rows with energies, with their ranks.

    Raises:
        InputError: when there is none.
    """
    found = [
        (rank, row) for rank, row in enumerate(rows, start=1) if "relaxed" in row.data and "energy_per_atom" in row
    ]
    if not found:
        raise InputError(
            f"None of the structures of {path} was relaxed, so there is no first opinion. Run without --no-relax."
        )
    return found


def _own_voice(row: AtomsRow) -> Voice:
    return Voice(
        key=OWN,
        name=row.potential,
        energy_frame=row.energy_frame,
        references=row.get("references"),
        reason="" if "E_d" in row else "the run has none",
        exclude_composition=bool(row.get("exclude_composition", False)),
    )


def _own_level(row: AtomsRow) -> Level:
    return Level(float(row.energy_per_atom), float(row.E_d) if "E_d" in row else None)


def _references(
    judge: Judge, settings: JudgeSettings, symbols: Sequence[str], registry: Registry, progress: Progress | None
) -> FoundReferences:
    """References in the judge's own frame; none, with the reason, where they cannot compare."""
    try:
        found = find_references(
            settings.references,
            symbols,
            ActivePotential(judge.potential, judge.choice.options, registry),
            energy_frame=settings.references_frame,
            progress=None if progress is None else Labelled(progress, f"references, {judge.key}"),
        )
    except NotComparableError as error:
        found = FoundReferences(None, str(error))
    if found.references is None:
        found = FoundReferences(None, found.reason.rstrip("."))
        _LOG.info("%s gives energies only, no E_d: %s.", judge.potential.info.name, found.reason)
    return found


def _voice(judge: Judge, found: FoundReferences, excludes: bool) -> Voice:
    info = judge.potential.info
    references = found.references
    return Voice(
        key=judge.key,
        name=info.name,
        energy_frame=info.energy_frame,
        origin=judge.origin,
        references=None if references is None else references.label,
        n_references=None if references is None else len(references),
        reason=found.reason,
        exclude_composition=excludes and references is not None,
    )


def _levels(judge: Judge, records: Sequence[JudgedRecord], found: FoundReferences, excludes: bool) -> dict[str, Level]:
    """What the judge says of each structure that it could relax, with E_d in its own frame."""
    info = judge.potential.info
    phases = {}
    for record in records:
        if record.energy is not None and record.relaxed is not None:
            amounts = amounts_of(record.relaxed.structure().composition)
            phases[record.id] = Phase(record.id, amounts, record.energy, info.energy_frame, info.name)
    placed: dict[str, Placement] = {}
    if found.references is not None:
        # An element has no hull without its own phases.
        able = [phase for phase in phases.values() if len(phase.amounts) > 1 or not excludes]
        placements = Hull(found.references).place_all(able, exclude_composition=excludes)
        placed = {phase.id: one for phase, one in zip(able, placements, strict=True)}
    return {
        name: Level(phase.energy_per_atom, placed[name].decomposition_energy if name in placed else None)
        for name, phase in phases.items()
    }


def _compared(row: AtomsRow, levels: Mapping[str, Mapping[str, Level]]) -> Compared:
    formula = reduced_formula(Composition(row.formula))
    name = str(row.structure_id)
    return Compared(name, formula, {key: by_id[name] for key, by_id in levels.items() if name in by_id})
