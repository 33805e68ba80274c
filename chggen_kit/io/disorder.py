"""Disordered crystals as hosts: species on partially occupied sites become guests, the rest is the host.

Which of the sites are filled is what is to be drawn. How many atoms there are follows from the occupancies.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from pymatgen.core import PeriodicSite, Structure

from chggen_kit.errors import InputError

FULL = 0.999
"""Occupancy from which a site counts as full: files round."""
WHOLE = 0.05
"""Distance of a count from a whole number that rounded occupancies can leave."""
_SAME_SITE_A = 0.1
"""Rows that share a site (an element each) are this close."""
_LARGEST = 16
"""Cells of the largest supercell that is looked for."""


@dataclass(frozen=True)
class DisorderedHost:
    """What a disordered crystal is made of.

    Attributes:
        host: the fully occupied sites, in the crystal's cell and order.
        guest_counts: atoms by element that the partial occupancies add up to.
        exact_counts: the same before rounding.
        sites: partially occupied sites.
    """

    host: Structure
    guest_counts: dict[str, int]
    exact_counts: dict[str, float]
    sites: int


def split_disordered(structure: Structure, where: str = "the host") -> DisorderedHost:
    """`structure` as host and guests.

    Raises:
        InputError: when it is ordered, when nothing is fully occupied, or when the atoms of an element do not add up
            to a whole number; the message then names the smallest supercell in which they do.
    """
    full = [index for index, site in enumerate(structure) if is_full(site)]
    partial = [site for site in structure if not is_full(site)]
    if not partial:
        raise InputError(f"Every site of {where} is fully occupied: name the guests and their numbers.")
    counts: defaultdict[str, float] = defaultdict(float)
    for site in partial:
        for specie, amount in site.species.items():
            counts[_symbol(specie, where)] += float(amount)
    exact = {symbol: counts[symbol] for symbol in sorted(counts)}
    _refuse_fractions(exact, structure, where)
    if not full:
        raise InputError(
            f"No site of {where} is fully occupied by one element, so there is no host to draw {', '.join(exact)} into."
        )
    host = _of_sites(structure, full, where)
    whole = {symbol: round(count) for symbol, count in exact.items()}
    return DisorderedHost(host, {symbol: count for symbol, count in whole.items() if count}, exact, len(partial))


def is_full(site: PeriodicSite) -> bool:
    """Whether one element occupies the whole site."""
    return len(site.species) == 1 and float(site.species.num_atoms) >= FULL


def _of_sites(structure: Structure, indices: Sequence[int], where: str) -> Structure:
    symbols = [_symbol(next(iter(structure[index].species)), where) for index in indices]
    return Structure(structure.lattice, symbols, structure.frac_coords[list(indices)])


def _symbol(specie: object, where: str) -> str:
    symbol = getattr(specie, "symbol", None)
    if symbol is None or not getattr(specie, "Z", 0):
        raise InputError(f"{where} holds a species that is no element: {specie}.")
    return str(symbol)


def _is_whole(count: float) -> bool:
    return abs(count - round(count)) <= WHOLE and round(count) >= 1


def _refuse_fractions(exact: dict[str, float], structure: Structure, where: str) -> None:
    if all(_is_whole(count) for count in exact.values()):
        return
    listing = ", ".join(f"{symbol} {count:.3g}" for symbol, count in exact.items() if not _is_whole(count))
    nearest = " ".join(f"--guest {symbol}={max(round(count), 1)}" for symbol, count in exact.items())
    multiple = next((n for n in range(2, _LARGEST + 1) if all(_is_whole(count * n) for count in exact.values())), None)
    if multiple is None:
        raise InputError(
            f"The partial occupancies of {where} add up to no whole number of atoms: {listing}; nor do they in any "
            f"supercell of up to {_LARGEST} cells. Give whole numbers yourself, for example {nearest}, or change the "
            "occupancies in the file."
        )
    shape = ",".join(map(str, squarest(structure, multiple)))
    atoms = {symbol: round(count * multiple) for symbol, count in exact.items()}
    raise InputError(
        f"The partial occupancies of {where} add up to no whole number of atoms: {listing}. A supercell of {multiple} "
        f"cells holds whole numbers ({', '.join(f'{symbol} {count}' for symbol, count in atoms.items())}): repeat "
        f"with --supercell {shape}, or give numbers yourself, for example {nearest}."
    )


def squarest(structure: Structure, cells: int) -> tuple[int, int, int]:
    """The supercell of so many cells whose edges differ least."""
    shapes = [one for one in product(range(1, cells + 1), repeat=3) if np.prod(one) == cells]

    def spread(shape: tuple[int, ...]) -> float:
        edges = np.array(structure.lattice.abc) * shape
        return float(edges.max() / edges.min())

    a, b, c = min(shapes, key=lambda shape: (spread(shape), shape))
    return a, b, c


def merge_shared_sites(structure: Structure) -> Structure:
    """Rows of a file that share a site (Li 0.5 and Na 0.5, one row each) as one site."""
    kept: list[int] = []
    species: list[dict[str, float]] = []
    coords = structure.frac_coords
    for index, site in enumerate(structure):
        amounts = {str(specie): float(amount) for specie, amount in site.species.items()}
        shared = None
        if kept and sum(amounts.values()) < FULL:
            distances = structure.lattice.get_all_distances([coords[index]], coords[kept])[0]
            nearest = int(distances.argmin())
            shared = nearest if distances[nearest] < _SAME_SITE_A else None
        if shared is None or sum(species[shared].values()) + sum(amounts.values()) > 1 + WHOLE:
            kept.append(index)
            species.append(amounts)
            continue
        for name, amount in amounts.items():
            species[shared][name] = species[shared].get(name, 0.0) + amount
        over = max(1.0, sum(species[shared].values()))  # files round
        species[shared] = {name: amount / over for name, amount in species[shared].items()}
    return Structure(structure.lattice, species, coords[kept])


def read_host(
    path: Path, guest_counts: dict[str, int] | None = None, supercell: tuple[int, int, int] = (1, 1, 1)
) -> tuple[Structure, dict[str, int]]:
    """A host and the guests to be drawn into it, from a file that may be disordered.

    Args:
        path: CIF, POSCAR, extended XYZ or pymatgen JSON.
        guest_counts: atoms by element; of a disordered crystal they may be left out, and what is given wins.
        supercell: repetitions along a, b, c.

    Raises:
        InputError: when the file cannot be read, holds an ordered crystal and no guests were named, or holds a
            disordered one whose occupancies give no whole numbers.
    """
    from chggen_kit.io.files import read_any_structure

    return resolve_host(read_any_structure(path), guest_counts, supercell, str(path))


def resolve_host(
    structure: Structure,
    guest_counts: dict[str, int] | None = None,
    supercell: tuple[int, int, int] = (1, 1, 1),
    where: str = "the host",
) -> tuple[Structure, dict[str, int]]:
    """As `read_host`, from a structure."""
    from chggen_kit.io.files import check_host

    if min(supercell) < 1:
        raise InputError(f"A supercell is three whole numbers of at least 1, not {supercell}.")
    if not structure.is_ordered:
        structure = merge_shared_sites(structure)
    if supercell != (1, 1, 1):
        structure = repeated(structure, supercell)
    if all(is_full(site) for site in structure):
        if not guest_counts:
            raise InputError(f"{where} is ordered: name the guests and their numbers, for example --guest Li=4.")
        counts, host = dict(guest_counts), _of_sites(structure, range(len(structure)), where)
    elif guest_counts:
        counts, host = dict(guest_counts), _given_counts(structure, guest_counts, where)
    else:
        found = split_disordered(structure, where)
        counts, host = found.guest_counts, found.host
    check_host(host, where)
    return host, counts


def _given_counts(structure: Structure, guest_counts: dict[str, int], where: str) -> Structure:
    """The fully occupied sites, where the numbers of all partially occupied species were given."""
    full = [index for index, site in enumerate(structure) if is_full(site)]
    partial = {_symbol(specie, where) for site in structure if not is_full(site) for specie in site.species}
    missing = sorted(partial - set(guest_counts))
    if missing:
        raise InputError(
            f"{where} has partially occupied sites of {', '.join(missing)} too. Give their numbers as well (--guest "
            f"{missing[0]}=COUNT), or no guests at all: the numbers then follow from the occupancies."
        )
    if not full:
        raise InputError(f"No site of {where} is fully occupied, so there is no host to draw guests into.")
    return _of_sites(structure, full, where)


def repeated(structure: Structure, supercell: tuple[int, int, int]) -> Structure:
    """A supercell: every atom followed by its copies; those in the first cell keep their places in Å."""
    shifts = np.array(list(product(*(range(count) for count in supercell))), dtype=float)
    scale = np.array(supercell, dtype=float)
    coords = (structure.frac_coords[:, None, :] + shifts[None]) / scale
    species = [site.species for site in structure for _ in shifts]
    return Structure(structure.lattice.matrix * scale[:, None], species, coords.reshape(-1, 3))
