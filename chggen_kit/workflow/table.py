"""The table at the end of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from chggen_kit.thermo.sources import NONE
from chggen_kit.workflow.nulls import explanation, null_text
from chggen_kit.workflow.records import Record
from chggen_kit.workflow.result import RunResult

_MISSING = "-"
_STAGES = {"unconditional": "uncond.", "inpainted": "inpainted", "projected": "project.", "annealed": "annealed"}


def _number(value: float | None, digits: int) -> str:
    return _MISSING if value is None else f"{value:.{digits}f}"


def candidate_table(result: RunResult, most: int | None = 20) -> Table:
    """Candidates in their order, at most `most` of them (None for all).

    Columns: E_d and E_hull where there are references, energy per atom, whether the relaxation converged, its energy
    change (without references, for room), the largest displacement of an atom by it, and that of the host's atoms
    (drift).
    """
    candidates = result.candidates
    shown = candidates if most is None else candidates[:most]
    placed = bool(result.stability.placements)
    order = "E_d" if placed else "energy per atom"
    title = f"Candidates by {order} ({len(shown)} of {len(candidates)}; * = symmetric)"
    formulas = [_formula(candidate.record) for candidate in shown]
    # Where the score model makes the compositions, energies compare within one of them.
    several = len(set(formulas)) > 1
    # Narrow enough for a terminal of 80 columns, where a cut energy would be of no use.
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in (
        *(("formula",) if several else ()),
        "rank",
        "id",
        "stage",
        "space group",
        *(("E_d/atom\n(eV)", "E_hull\n(eV)") if placed else ()),
        "E/atom\n(eV)",
        "conv.",
        *(() if placed else ("dE/atom\n(eV)",)),
        "displ.\n(Å)",
        "drift\n(Å)",
    ):
        is_text = heading in {"formula", "id", "stage", "space group", "conv."}
        table.add_column(heading, justify="left" if is_text else "right", no_wrap=True)
    for candidate, formula in zip(shown, formulas, strict=True):
        record = candidate.record
        converged = _MISSING if record.converged is None else ("yes" if record.converged else "no")
        group = f"{record.spacegroup_symbol or _MISSING} ({record.spacegroup_number or _MISSING})"
        table.add_row(
            *((formula,) if several else ()),
            str(candidate.rank),
            candidate.id,
            _STAGES[record.stage],
            group + (" *" if candidate.symmetric else ""),
            *((_number(candidate.decomposition_energy, 3), _number(candidate.above_hull, 3)) if placed else ()),
            _number(candidate.energy_per_atom, 3 if placed else 4),
            converged,
            *(() if placed else (_number(record.energy_change, 3),)),
            _number(record.max_displacement_A, 2),
            _number(record.host_drift_A, 2),
        )
    return table


def _formula(record: Record) -> str:
    final = record.final
    return _MISSING if final is None else final.structure().composition.reduced_formula


def stability_lines(result: RunResult) -> list[str]:
    """What E_d was measured from, or why there is none, in words; nothing where nobody wanted it."""
    about = result.stability.about
    if not about or result.config.references == NONE or not result.candidates:
        return []
    if about["references"] is None:
        return [f"No E_d: {about['reason']}."]
    without = ", without those of a structure's own composition" if about["exclude_composition"] else ""
    source = f"{about['references']}: {about['potential']}, {about['energy_frame']}"
    return [f"E_d against {about['phases']} phases ({source}){without}."]


def rate_lines(summary: Mapping[str, Any]) -> list[str]:
    """The success rates in words, each with its denominator, and the failures by reason."""
    lines = []
    for stage in _STAGES:
        part = summary.get(stage)
        if not part or not part["started"]:
            continue
        lines.append(f"Symmetric, {stage}:")
        for rate in part["symmetric_rates"].values():
            share = "" if rate["rate"] is None else f" ({100 * rate['rate']:.1f} %)"
            null = null_text(rate.get("null"))
            lines.append(f"  {rate['count']} of {rate['of']} {rate['denominator']}{share}" + (null and f"; {null}"))
        failures = {reason: count for reason, count in part["outcomes"].items() if reason != "ok"}
        if failures:
            lines.append("  failures: " + ", ".join(f"{count} {reason}" for reason, count in failures.items()))
    if summary.get("hosts", {}).get("outcomes"):
        hosts = summary["hosts"]
        null = null_text(hosts.get("null"))
        found = f"Hosts symmetrised: {hosts['symmetrised']} of {hosts['looked_at']} looked at"
        lines.append(found + (null and f"; {null}") + ".")
    for name, rate in summary.get("symmetric_yield", {}).items():
        share = "" if rate["rate"] is None else f" ({100 * rate['rate']:.1f} %)"
        where = "0.01 Å" if name == "at_0.01_A" else f"{summary['symmetric_means']['symprec_A']} Å"
        lines.append(
            f"Symmetric after a rattle and a free relaxation, at {where}: {rate['count']} of {rate['of']} starts{share}"
        )
    if "null_rates" in summary:
        lines += explanation(summary["null_rates"])
    return lines


def print_result(result: RunResult, console: Console, most: int | None = 20) -> None:
    """Print candidates, rates and where the results are."""
    parts: list[Table | Text] = [candidate_table(result, most)] if result.candidates else []
    if not result.candidates:
        parts.append(Text("No structure came through."))
    parts += [Text(line) for line in (*stability_lines(result), *rate_lines(result.summary))]
    if "note" in result.summary:
        parts.append(Text(result.summary["note"]))
    parts.append(Text(f"Results: {result.path / 'results.db'} and {result.path / 'summary.json'}"))
    console.print(Group(*parts), soft_wrap=True)
