"""From a run to a folder of DFT inputs."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymatgen.core import Structure

from chggen_kit.dft import flow
from chggen_kit.dft.candidates import Form, Judged, Selected, judge_rows, merge_duplicates, structure_for_dft
from chggen_kit.dft.manifest import CRITERIA, as_csv, entry, manifest, run_facts
from chggen_kit.dft.settings import KSpacingMode, choose_kspacing
from chggen_kit.dft.vasp import POTCAR_SETTING, PotcarPolicy, check_elements, has_pseudopotentials, write_inputs
from chggen_kit.errors import InputError
from chggen_kit.interfaces import Progress
from chggen_kit.workflow.export import find_database, select_rows
from chggen_kit.workflow.records import Stage
from chggen_kit.workflow.rundir import publish, write_atomically
from chggen_kit.workflow.targets import refuse_existing

DIRECTORY = "dft-inputs"
"""Name of the folder in the run directory when no other is named."""
THRESHOLD_MEV = 30.0
"""meV/atom: CHGNet's error, and the paper's advice for screening."""


@dataclass(frozen=True)
class Handoff:
    """What was written.

    Attributes:
        path: the folder, with one folder a structure, `manifest.json` and `manifest.csv`.
        entries: of `manifest.json`, by rank.
        notes: sentences that the user should read: what the threshold was applied to, pseudopotentials, duplicates.
        flow: the atomate2 flow; None when none was asked for.
    """

    path: Path
    entries: Sequence[Mapping[str, Any]]
    notes: Sequence[str]
    flow: Path | None


@dataclass(frozen=True)
class _Chosen:
    selected: Selected
    structure: Structure


def write_dft_inputs(
    source: str | Path,
    out: str | Path | None = None,
    *,
    threshold_meV: float = THRESHOLD_MEV,
    kspacing: KSpacingMode = "auto",
    which: Form = "relaxed",
    stage: Stage | None = None,
    top: int | None = None,
    merge: bool = True,
    potcar: PotcarPolicy = "auto",
    with_flow: bool = False,
    progress: Progress | None = None,
) -> Handoff:
    """Write VASP inputs for the structures of a run within a threshold.

    Args:
        source: a run directory, or its `results.db`.
        out: the folder to be made; `dft-inputs` in the run directory by default. It appears when it is complete.
        threshold_meV: largest E_d in meV/atom; for compositions without E_d, largest energy above the best of the run.
        kspacing: see `chggen_kit.dft.settings.choose_kspacing`.
        which: the structures as relaxed, or with their space group imposed, in the primitive standard cell.
        stage: structures of one stage only.
        top: at most so many, lowest energies first.
        merge: whether equal structures are calculated once.
        potcar: `auto` writes POTCAR where pymatgen finds pseudopotentials, `spec` never.
        with_flow: whether the atomate2 flow is written as well, as `flow.json`.
        progress: told how far the work is.

    Raises:
        InputError: when the run has no structure within the threshold, the folder is there, an element has no
            pseudopotential, or a flow is asked for without atomate2.
    """
    if with_flow:
        flow.check_installed()
    database = find_database(Path(source))
    target = database.parent / DIRECTORY if out is None else Path(out)
    refuse_existing([target])
    judged = judge_rows(select_rows(database, stage, None))
    within = [one for one in judged if 1000 * one.energy <= threshold_meV]
    if not within:
        raise InputError(
            f"None of the {len(judged)} relaxed structures lies within {threshold_meV:g} meV/atom: the lowest is at "
            f"{1000 * judged[0].energy:.1f} meV/atom ({CRITERIA[judged[0].criterion]}). Raise --threshold to take it."
        )
    groups = merge_duplicates(within, progress) if merge else [Selected(one) for one in within]
    chosen = [_Chosen(one, structure) for one in groups[:top] if (structure := structure_for_dft(one.judged, which))]
    if not chosen:
        raise InputError(
            f"None of the {len(groups)} structures has a symmetry that could be imposed: try --which relaxed."
        )
    for one in chosen:
        check_elements(one.structure)
    request = {"threshold_meV": threshold_meV, "kspacing": kspacing, "which": which, "stage": stage, "top": top}
    counts = {
        "relaxed": len(judged),
        "within_threshold": len(within),
        "duplicates": len(within) - len(groups),
        "written": len(chosen),
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        unfinished.mkdir()
        entries = _write_folders(chosen, unfinished, kspacing, potcar, progress)
        facts = manifest(run_facts(database), counts, request, entries)
        write_atomically(unfinished / "manifest.json", json.dumps(facts, indent=2) + "\n")
        write_atomically(unfinished / "manifest.csv", as_csv(entries))
        if with_flow:
            write_atomically(unfinished / "flow.json", _flow(chosen, entries, facts["run"]))
        publish(unfinished, target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    notes = _notes(judged, threshold_meV, entries, counts, len(groups), potcar)
    return Handoff(target, entries, notes, target / "flow.json" if with_flow else None)


def _write_folders(
    chosen: Sequence[_Chosen], parent: Path, mode: KSpacingMode, potcar: PotcarPolicy, progress: Progress | None
) -> list[dict[str, Any]]:
    entries = []
    for rank, one in enumerate(chosen, start=1):
        choice = choose_kspacing(one.structure.composition, mode)
        folder = _folder_name(rank, one)
        written = write_inputs(one.structure, choice, parent / folder, potcar)
        entries.append(entry(rank, folder, one.selected, one.structure, choice, written))
        if progress is not None:
            progress.update(rank, len(chosen), "inputs")
    return entries


def _folder_name(rank: int, one: _Chosen) -> str:
    judged = one.selected.judged
    counts = one.structure.composition.reduced_composition.get_el_amt_dict().items()
    formula = "".join(symbol if count == 1 else f"{symbol}{count:g}" for symbol, count in counts)
    parts = (judged.id, formula, str(judged.row.get("spacegroup_symbol", "P1")))
    return "_".join([f"{rank:03d}", *(re.sub(r"[^A-Za-z0-9-]", "_", part) for part in parts)])


def _flow(chosen: Sequence[_Chosen], entries: Sequence[Mapping[str, Any]], run: Mapping[str, Any]) -> str:
    told = ("structure_id", "potential", "energy_frame", "energy_per_atom", "criterion", "criterion_energy", "E_d")
    inputs = [
        flow.FlowInput(
            name=one["folder"],
            structure=taken.structure,
            incar=one["incar"],
            metadata={"chggen": {**{key: one[key] for key in told}, "run": dict(run)}},
        )
        for taken, one in zip(chosen, entries, strict=True)
    ]
    return flow.flow_json(inputs, f"chggen {Path(run['directory']).name}")


def _notes(
    judged: Sequence[Judged],
    threshold_meV: float,
    entries: Sequence[Mapping[str, Any]],
    counts: Mapping[str, int],
    groups: int,
    potcar: PotcarPolicy,
) -> list[str]:
    notes = [
        f"Threshold: {threshold_meV:g} meV/atom on {text}."
        for criterion, text in CRITERIA.items()
        if any(one.criterion == criterion for one in judged)
    ]
    notes.append(
        f"{counts['within_threshold']} of {counts['relaxed']} relaxed structures are within it, {groups} of them "
        f"distinct; {counts['written']} written."
    )
    unconverged = sum(one["converged"] is False for one in entries)
    if unconverged:
        notes.append(f"The relaxation of {unconverged} of them had not converged: the manifest says which.")
    remarks = dict.fromkeys(remark for one in entries for remark in one["remarks"])
    notes += [f"pymatgen remarks: {remark}" for remark in remarks]
    lacking = [one for one in entries if one["potcar"] != "POTCAR"]
    problems = dict.fromkeys(one["potcar_problem"] for one in lacking if one["potcar_problem"])
    if potcar == "spec":
        notes.append("No POTCAR was written, as asked: POTCAR.spec names the pseudopotentials (PBE_54).")
    elif not has_pseudopotentials():
        notes.append(
            f"No POTCAR was written, since pymatgen's {POTCAR_SETTING} is not set: POTCAR.spec names the "
            "pseudopotentials (PBE_54) that each folder needs."
        )
    elif lacking:
        notes.append(
            f"{len(lacking)} of {len(entries)} folders have POTCAR.spec in place of POTCAR: {'; '.join(problems)}."
        )
    return notes
