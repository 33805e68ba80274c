"""Second opinions in `results.db`, `summary.json` and `judgement.csv`."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Mapping
from typing import Any

import ase.db

from chggen_kit.judging.judges import JudgeSettings
from chggen_kit.judging.result import OWN, JudgedCandidate, Judgement, Voice
from chggen_kit.workflow.collect import plain_pairs
from chggen_kit.workflow.rundir import RunDirectory, publish, read_json, write_atomically

PREFIX = "judge_"
"""Of all keys that second opinions add to rows, with `E_d_spread` and `rank_depends`."""
_SHARED = ("E_d_spread", "rank_depends")


def write_judgement(directory: RunDirectory, judgement: Judgement, settings: JudgeSettings) -> None:
    """Put a judgement in the place of an earlier one; each file is replaced as a whole."""
    _write_rows(directory, judgement)
    summary = read_json(directory.summary)
    summary["second_opinions"] = _summary(judgement, settings)
    write_atomically(directory.summary, json.dumps(summary, indent=2) + "\n")
    write_atomically(directory.judgement, _table(judgement))


def candidate_values(judgement: Judgement, candidate: JudgedCandidate) -> dict[str, Any]:
    """Values for the row of one candidate."""
    values: dict[str, Any] = {"E_d_spread": candidate.spread, "rank_depends": candidate.rank_depends}
    for voice in judgement.voices:
        if voice.key != OWN:
            start = f"{PREFIX}{voice.key}_"
            values |= {start + name: value for name, value in _opinion(candidate, voice).items()}
            values |= {start + "energy_frame": voice.energy_frame, start + "references": voice.references}
    return values


def _opinion(candidate: JudgedCandidate, voice: Voice) -> dict[str, Any]:
    """What one judge says of one candidate; energies in eV/atom."""
    record = candidate.opinions[voice.key]
    level = candidate.compared.levels.get(voice.key)
    single = record.single_point_energy
    return {
        "outcome": record.outcome,
        "single_point": None if single is None else single / record.n_atoms,
        "energy_per_atom": None if level is None else level.energy_per_atom,
        "E_d": None if level is None else level.decomposition_energy,
        "converged": record.converged,
        "relax_steps": record.relax_steps,
        "max_displacement": record.max_displacement_A,
        "spacegroup_number": record.spacegroup_number,
        "spacegroup_symbol": record.spacegroup_symbol,
    }


def _write_rows(directory: RunDirectory, judgement: Judgement) -> None:
    temporary = directory.database.with_name(f".{directory.database.name}.{os.getpid()}.tmp")
    shutil.copyfile(directory.database, temporary)
    judged = {one.id: one for one in judgement.candidates}
    with ase.db.connect(str(temporary), type="db", use_lock_file=False) as database:
        for row in list(database.select()):
            old = [key for key in row.key_value_pairs if key.startswith(PREFIX) or key in _SHARED]
            candidate = judged.get(row.structure_id)
            if candidate is None:
                if old:
                    database.update(row.id, delete_keys=old)
                continue
            values = plain_pairs(candidate_values(judgement, candidate))
            relaxed = {
                key: record.relaxed.model_dump(mode="json")
                for key, record in candidate.opinions.items()
                if record.relaxed is not None
            }
            stale = [key for key in old if key not in values]
            database.update(row.id, delete_keys=stale, data={"judged": relaxed}, **values)
    with temporary.open("rb") as stream:
        os.fsync(stream.fileno())
    publish(temporary, directory.database)


def _summary(judgement: Judgement, settings: JudgeSettings) -> dict[str, Any]:
    return {
        "top": settings.top,
        "margin_meV_per_atom": settings.margin_meV,
        "potentials": [
            {
                "key": voice.key,
                "name": voice.name,
                "energy_frame": voice.energy_frame,
                "origin": voice.origin or None,
                "references": voice.references,
                "no_E_d_because": voice.reason or None,
                "exclude_composition": voice.exclude_composition,
                **_agreement(judgement, voice),
            }
            for voice in judgement.voices
        ],
        "swapped_pairs": [list(pair) for pair in judgement.swapped],
        "candidates": [
            {
                "rank": one.rank,
                "id": one.id,
                "formula": one.compared.formula,
                "E_d_spread": one.spread,
                "rank_depends": one.rank_depends,
                "swapped_with": list(one.swapped_with),
                "opinions": {
                    voice.key: _own(one) if voice.key == OWN else _opinion(one, voice) for voice in judgement.voices
                },
            }
            for one in judgement.candidates
        ],
    }


def _agreement(judgement: Judgement, voice: Voice) -> Mapping[str, Any]:
    found = judgement.agreements.get(voice.key)
    return {} if found is None else {"kendall_tau": found.tau, "pairs": found.pairs}


def _own(candidate: JudgedCandidate) -> dict[str, Any]:
    level = candidate.compared.levels[OWN]
    return {"energy_per_atom": level.energy_per_atom, "E_d": level.decomposition_energy}


def _table(judgement: Judgement) -> str:
    rows = []
    for one in judgement.candidates:
        own = _own(one)
        rows.append(
            {
                "rank": one.rank,
                "structure_id": one.id,
                "formula": one.compared.formula,
                "spacegroup_symbol": one.spacegroup,
                "potential": judgement.voices[0].name,
                "energy_frame": judgement.voices[0].energy_frame,
                "energy_per_atom": own["energy_per_atom"],
                "E_d": own["E_d"],
                **candidate_values(judgement, one),
                "swapped_with": " ".join(one.swapped_with),
            }
        )
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()
