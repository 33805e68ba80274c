"""Symmetrisation of structure files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from chggen_kit.interfaces import RefinedHost
from chggen_kit.io.files import Format, read_structure, write_structure
from chggen_kit.plugins import Registry, get_registry
from chggen_kit.workflow.formula import parse_elements
from chggen_kit.workflow.targets import SUFFIXES, refuse_existing


def refine_file(
    file: Path,
    guests: str | None,
    refiner: str,
    options: Mapping[str, Any],
    *,
    registry: Registry | None = None,
    out: Path | None = None,
    form: Format = "cif",
) -> list[RefinedHost]:
    """Hosts of the structure of `file`, best first, written to the directory `out` where one is named.

    Args:
        file: any structure file.
        guests: elements that are taken out, as `Zn,Cu`; None for none.
        refiner: name of the host refiner.
        options: of the refiner.
        registry: where it is found.
        out: directory for the hosts, numbered from the best.
        form: format of the files.

    Raises:
        InputError: when the file or the guests cannot be used, or a result is there already.
    """
    structure = read_structure(file)
    elements = parse_elements(guests, structure.composition) if guests else ()
    hosts = (registry or get_registry()).create_host_refiner(refiner, options).refine(structure, elements)
    if out is None or not hosts:
        return hosts
    targets = [out / f"{file.stem}_host{number}{SUFFIXES[form]}" for number in range(1, len(hosts) + 1)]
    refuse_existing(targets)
    out.mkdir(parents=True, exist_ok=True)
    for target, host in zip(targets, hosts, strict=True):
        write_structure(host.host, target, form)
    return hosts


def host_table(hosts: Sequence[RefinedHost]) -> Table:
    """One line for each host."""
    table = Table(title="Symmetrised hosts", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("rank", "host", "space group", "cell", "guests"):
        table.add_column(heading)
    for heading in ("symprec (Å)", "angle (°)", "max displ. (Å)", "rms displ. (Å)"):
        table.add_column(heading, justify="right")
    for number, host in enumerate(hosts, start=1):
        table.add_row(
            str(number),
            host.host.composition.formula,
            f"{host.spacegroup_symbol} ({host.spacegroup_number})",
            host.cell,
            ", ".join(f"{symbol}={count}" for symbol, count in host.guest_counts.items()) or "none",
            "–" if host.symprec_A is None else f"{host.symprec_A:g}",
            "–" if host.angle_tolerance_deg is None else f"{host.angle_tolerance_deg:g}",
            f"{host.max_displacement_A:.3f}",
            f"{host.rms_displacement_A:.3f}",
        )
    return table
