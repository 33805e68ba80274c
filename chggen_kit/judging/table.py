"""Second opinions as a table, and what it means in words."""

from __future__ import annotations

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from chggen_kit.judging.result import OWN, JudgedCandidate, Judgement, Voice

_MISSING = "-"
_MOST_PAIRS = 5


def judgement_table(judgement: Judgement) -> Table:
    """One line for each candidate: E_d by every potential, or the energy above the best of its composition."""
    title = "Second opinions (! = rank depends on the potential)"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 1, 0, 0))
    several = len({one.compared.formula for one in judgement.candidates}) > 1
    for heading in (*(("formula",) if several else ()), "rank", "id", "space group"):
        table.add_column(heading, justify="right" if heading == "rank" else "left", no_wrap=True)
    for voice in judgement.voices:
        quantity = "above best" if voice.references is None else "E_d"
        table.add_column(f"{voice.name}\n{quantity} (eV)", justify="right", no_wrap=True)
    table.add_column("spread\n(eV)", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for one in judgement.candidates:
        table.add_row(
            *((one.compared.formula,) if several else ()),
            str(one.rank),
            one.id,
            one.spacegroup,
            *(_cell(judgement, one, voice) for voice in judgement.voices),
            _MISSING if one.spread is None else f"{one.spread:.3f}",
            "!" if one.rank_depends else "",
        )
    return table


def _cell(judgement: Judgement, one: JudgedCandidate, voice: Voice) -> str:
    level = one.compared.levels.get(voice.key)
    if level is None:
        return one.opinions[voice.key].outcome
    value = judgement.above_best(one, voice.key) if voice.references is None else level.decomposition_energy
    mark = "" if voice.key == OWN or one.opinions[voice.key].converged else "*"
    return _MISSING if value is None else f"{value:.3f}{mark}"


def judgement_lines(judgement: Judgement) -> list[str]:
    """What each potential's energies are, how far it agrees with the run's own, and which orders depend on it."""
    lines = []
    for voice in judgement.voices:
        if voice.references is None:
            what = f"no E_d: {voice.reason}; above best = energy above the best of these of the same composition"
        else:
            count = "" if voice.n_references is None else f"{voice.n_references} phases, "
            without = ", without those of a structure's own composition" if voice.exclude_composition else ""
            what = f"E_d against {count}{voice.references}{without}"
        lines.append(f"{voice.name} ({voice.energy_frame}): {what}.")
        found = judgement.agreements.get(voice.key)
        if found is not None and found.tau is not None:
            lines.append(f"  Kendall's tau with {judgement.voices[0].name}: {found.tau:.2f} over {found.pairs} pairs.")
    if any(
        record.converged is False and record.relaxed is not None
        for one in judgement.candidates
        for record in one.opinions.values()
    ):
        lines.append("* = the judge's relaxation had not converged.")
    pairs = judgement.swapped
    margin = f"{1000 * judgement.margin:g} meV/atom"
    if not pairs:
        lines.append(f"No two candidates change their order by more than {margin} between potentials.")
    else:
        shown = ", ".join(f"{one} and {other}" for one, other in pairs[:_MOST_PAIRS])
        more = "" if len(pairs) <= _MOST_PAIRS else f", and {len(pairs) - _MOST_PAIRS} more pairs"
        lines.append(f"The order depends on the potential by more than {margin}, both ways, for {shown}{more}.")
    return lines


def print_judgement(judgement: Judgement, console: Console) -> None:
    """Print the table, what it means, and where it is written."""
    where = f"Results: {judgement.path / 'results.db'}, {judgement.path / 'summary.json'} and "
    where += str(judgement.path / "judgement.csv")
    parts: list[Table | Text] = [
        judgement_table(judgement),
        *(Text(line) for line in (*judgement_lines(judgement), where)),
    ]
    console.print(Group(*parts), soft_wrap=True)
