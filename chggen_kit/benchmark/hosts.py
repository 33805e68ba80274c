"""Hosts of a specification as structures: files, crystals by their space group, interfaces of two of them."""

from __future__ import annotations

import warnings
from functools import lru_cache
from pathlib import Path

import numpy as np
from pymatgen.core import Lattice, Structure

from chggen_kit.benchmark.spec import CrystalSpec, InterfaceSpec, SystemSpec, system_name
from chggen_kit.errors import InputError
from chggen_kit.io.disorder import read_host, resolve_host


def host_of(system: SystemSpec) -> tuple[Structure, dict[str, int]]:
    """The host of a system and the atoms that are drawn into it.

    Raises:
        InputError: when it has no host, or the host cannot be read, made or filled.
    """
    counts = dict(system.guests) if isinstance(system.guests, dict) else None
    where = f"the host of {system_name(system)}"
    if system.host is None:
        raise InputError(f"The system {system_name(system)} has a formula, and no host.")
    if isinstance(system.host, Path):
        return read_host(system.host, counts, system.supercell)
    made = interface(system.host) if isinstance(system.host, InterfaceSpec) else crystal(system.host)
    return resolve_host(made, counts, system.supercell, where)


def crystal(spec: CrystalSpec) -> Structure:
    """The conventional cell of a crystal, sites with partial occupancies included.

    Raises:
        InputError: when pymatgen cannot make it of this.
    """
    species = [species for species, _ in spec.sites]
    try:
        made = Structure.from_spacegroup(
            spec.space_group, Lattice.from_parameters(*spec.cell), species, [coords for _, coords in spec.sites]
        )
    except Exception as error:
        # pymatgen raises errors of many kinds on groups, elements and cells that do not fit.
        raise InputError(
            f"No crystal can be made of space group {spec.space_group}, cell {spec.cell} and {len(species)} sites: "
            f"{type(error).__name__}: {error}."
        ) from error
    if not np.isfinite(made.lattice.matrix).all():
        raise InputError(f"The cell {spec.cell} is no cell.")
    return made


@lru_cache(maxsize=8)
def interface(spec: InterfaceSpec) -> Structure:
    """Two slabs, one on the other, with the same gap on both sides, in a periodic cell.

    pymatgen's coherent interfaces on the smallest common cell (Zur and McGill, J. Appl. Phys. 55, 378 (1984)); of the
    terminations the first one in alphabetical order is taken.

    Raises:
        InputError: when the faces have no common cell of that area.
    """
    from pymatgen.analysis.interfaces.coherent_interfaces import CoherentInterfaceBuilder
    from pymatgen.analysis.interfaces.zsl import ZSLGenerator

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of how pymatgen's surfaces are named
        builder = CoherentInterfaceBuilder(
            substrate_structure=crystal(spec.substrate),
            film_structure=crystal(spec.film),
            substrate_miller=spec.substrate_plane,
            film_miller=spec.film_plane,
            zslgen=ZSLGenerator(max_area=spec.max_area_A2),
        )
        if not builder.terminations or not builder.zsl_matches:
            raise InputError(
                f"The faces {spec.substrate_plane} and {spec.film_plane} have no common cell of at most "
                f"{spec.max_area_A2:g} Å^2. Raise max_area_A2, or take other faces."
            )
        found = next(
            iter(
                builder.get_interfaces(
                    termination=min(builder.terminations),
                    gap=spec.gap_A,
                    vacuum_over_film=spec.gap_A,
                    film_thickness=spec.film_layers,
                    substrate_thickness=spec.substrate_layers,
                    in_layers=True,
                )
            )
        )
    return Structure(found.lattice, [site.specie.symbol for site in found], found.frac_coords)
