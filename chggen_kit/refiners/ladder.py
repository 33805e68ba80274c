"""The paper's host refiner: growing tolerances until the host has a space group worth having."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Mapping

import numpy as np
import spglib
from pymatgen.core import Lattice, Structure

from chggen_kit.errors import InputError
from chggen_kit.interfaces.refiner import HostRefiner, RefinedHost
from chggen_kit.metrics.geometry import fold, minimum_distance
from chggen_kit.metrics.symmetry import LIBRARY, SymmetryFailure, dataset, is_symmetric, to_cell
from chggen_kit.refiners.options import LadderOptions, Rung
from chggen_kit.symmetry.symmetrise import symmetrise

__all__ = ["LadderOptions", "LadderRefiner", "build"]

_LOG = logging.getLogger(__name__)

TIGHT_SYMPREC_A = 0.01
TIGHT_ANGLE_DEG = 1.0
"""Tolerances at which a symmetrised host must still show the group that was imposed."""


class _RejectedError(Exception):
    """Why a rung gives no host; never leaves this module."""


def build(options: LadderOptions) -> LadderRefiner:
    """Refiner with `options`: the factory of the plug-in."""
    return LadderRefiner(options)


class LadderRefiner(HostRefiner):
    """Symmetrises a host at the first tolerances (symprec in Å, angle in degrees) that give a non-trivial group.

    At each rung spglib names the group's operations in the host's own cell. The host is projected on them, measured
    against the caps on displacement, strain and distance, checked at 0.01 Å, and cut down to its primitive cell when
    the guests come out whole there. What fails at a rung is left to the next one. The group reported is the one at
    0.01 Å: now and then the projected host has more symmetry than was imposed. Nothing here is random.

    With `max_hosts` above 1 the climb goes on and collects hosts of further space groups.
    """

    def __init__(self, options: LadderOptions | None = None) -> None:
        self.options = options or LadderOptions()

    def refine(self, structure: Structure, guests: Collection[str]) -> list[RefinedHost]:
        """Hosts in the order of the ladder; see `HostRefiner.refine`.

        Raises:
            InputError: when a guest is not in the structure, nothing but guests is, or the structure is disordered.
        """
        host, guest_counts = split_guests(structure, guests)
        found: list[RefinedHost] = []
        for rung in self.options.rungs:
            try:
                refined = self._at_rung(host, guest_counts, rung)
            except _RejectedError as rejection:
                _LOG.debug("%s at %g Å and %g degrees: %s", host.composition.formula, *rung, rejection)
                continue
            if refined.spacegroup_number not in {other.spacegroup_number for other in found}:
                found.append(refined)
            if len(found) == self.options.max_hosts:
                break
        return found

    def refine_structure(self, structure: Structure) -> list[RefinedHost]:
        """The same for a whole structure, without guests."""
        return self.refine(structure, ())

    def _at_rung(self, host: Structure, guest_counts: Mapping[str, int], rung: Rung) -> RefinedHost:
        """The host refined at one rung."""
        operations = _found(dataset(host, *rung))
        if not is_symmetric(int(operations.number), self.options.excluded_groups):
            raise _RejectedError(f"space group {operations.international} is excluded")
        lattice, frac_coords, numbers = to_cell(host)
        projected = symmetrise(lattice, frac_coords, numbers, operations.rotations, operations.translations)
        if projected is None:
            raise _RejectedError(f"the operations of {operations.international} do not permute the atoms")
        lengths = np.linalg.norm(projected.displacements, axis=1)
        self._check_caps(float(lengths.max()), projected.strain)
        own = Structure(Lattice(projected.lattice), [site.specie for site in host], fold(projected.frac_coords))
        exact = _found(dataset(own, TIGHT_SYMPREC_A, TIGHT_ANGLE_DEG))
        if len(exact.rotations) < len(operations.rotations):
            raise _RejectedError(f"{operations.international} did not survive at {TIGHT_SYMPREC_A} Å")
        # spglib names the group of the primitive crystal, but only operations that fit the cell at hand are imposed.
        if not is_symmetric(int(exact.number), self.options.excluded_groups):
            raise _RejectedError(f"only {exact.international} of {operations.international} fits this cell")
        if minimum_distance(own) < self.options.min_distance_A:
            raise _RejectedError("atoms came too close")
        primitive, rescaled = reduce_to_primitive(own, guest_counts, exact)
        return RefinedHost(
            host=own if primitive is None else primitive,
            guest_counts=rescaled,
            spacegroup_number=int(exact.number),
            spacegroup_symbol=str(exact.international),
            symprec_A=rung[0],
            angle_tolerance_deg=rung[1],
            max_displacement_A=float(lengths.max()),
            rms_displacement_A=float(np.sqrt(np.square(lengths).mean())),
            cell="own" if primitive is None else "primitive",
            library=LIBRARY,
        )

    def _check_caps(self, displacement_A: float, strain: float) -> None:
        if self.options.max_displacement_A is not None and displacement_A > self.options.max_displacement_A:
            raise _RejectedError(f"an atom would move by {displacement_A:.2f} Å")
        if self.options.max_strain is not None and strain > self.options.max_strain:
            raise _RejectedError(f"the cell would be strained by {strain:.2f}")


def _found(result: spglib.SpglibDataset | SymmetryFailure) -> spglib.SpglibDataset:
    if isinstance(result, SymmetryFailure):
        raise _RejectedError(result.detail)
    return result


def split_guests(structure: Structure, guests: Collection[str]) -> tuple[Structure, dict[str, int]]:
    """The host, and the number of atoms of each guest element. Symbols are compared whole.

    Raises:
        InputError: when a guest is not in the structure, nothing but guests is, or the structure is disordered.
    """
    if not structure.is_ordered:
        raise InputError(
            f"{structure.composition.formula} has partial occupancies, which cannot be symmetrised. "
            "Choose an ordered arrangement first."
        )
    symbols = [site.specie.symbol for site in structure]
    counts = Counter(symbols)
    missing = sorted(set(guests) - set(counts))
    if missing:
        raise InputError(
            f"The guests {', '.join(missing)} are not in {structure.composition.formula}. "
            f"Choose from {', '.join(counts)}."
        )
    kept = [site for site, symbol in zip(structure, symbols, strict=True) if symbol not in guests]
    if not kept:
        raise InputError(f"{structure.composition.formula} holds nothing but the guests {', '.join(sorted(guests))}.")
    host = Structure(structure.lattice, [site.specie for site in kept], [site.frac_coords for site in kept])
    return host, {symbol: counts[symbol] for symbol in counts if symbol in guests}


def reduce_to_primitive(
    host: Structure, guest_counts: Mapping[str, int], found: spglib.SpglibDataset
) -> tuple[Structure | None, dict[str, int]]:
    """Primitive cell of `host` with the guests rescaled, or None and the guests as they were when they come out broken.

    A host that is primitive already keeps its cell, axes and atom order.

    Args:
        host: with exact symmetry.
        guest_counts: guests of the cell of `host`.
        found: spglib's dataset of `host`.
    """
    labels, first = np.unique(found.mapping_to_primitive, return_index=True)
    ratio = len(host) // len(labels)
    if ratio == 1:
        return host, dict(guest_counts)
    if any(count % ratio for count in guest_counts.values()):
        return None, dict(guest_counts)
    cell = np.asarray(found.primitive_lattice)
    atoms = np.sort(first)
    frac_coords = host.cart_coords[atoms] @ np.linalg.inv(cell)
    primitive = Structure(Lattice(cell), [host[int(index)].specie for index in atoms], fold(frac_coords))
    return primitive, {symbol: count // ratio for symbol, count in guest_counts.items()}
