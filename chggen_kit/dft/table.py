"""What was handed off, as a table."""

from __future__ import annotations

from rich.table import Table

from chggen_kit.dft.handoff import Handoff


def handoff_table(handoff: Handoff) -> Table:
    """One line for each folder: its energy by the criterion in meV/atom, its grid, and how many duplicates it has."""
    table = Table(title=f"Inputs in {handoff.path}", title_justify="left", box=None, pad_edge=False)
    for heading in ("folder", "space group", "by"):
        table.add_column(heading, no_wrap=True)
    for heading in ("meV/atom", "atoms", "KSPACING", "k-points", "twins"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in handoff.entries:
        table.add_row(
            one["folder"],
            f"{one['spacegroup_symbol'] or '-'} ({one['spacegroup_number'] or '-'})",
            one["criterion"],
            f"{1000 * one['criterion_energy']:.1f}",
            str(one["n_atoms"]),
            f"{one['incar']['KSPACING']:g}",
            "x".join(str(count) for count in one["kpoint_grid"]),
            str(len(one["duplicates"])),
        )
    return table
