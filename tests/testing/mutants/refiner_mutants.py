"""Host refiners with one thing wrong each; `LAWS` says by which law each must be caught."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from math import gcd

import numpy as np
from pymatgen.core import Lattice, Structure

from chggen_kit.errors import InputError
from chggen_kit.interfaces import HostRefiner, RefinedHost
from chggen_kit.refiners.ladder import LadderRefiner
from chggen_kit.refiners.options import LadderOptions


class Correct(HostRefiner):
    """The built-in ladder; mutants change what it is given, or what it gives."""

    def __init__(self) -> None:
        self.right = LadderRefiner()

    def refine(self, structure: Structure, guests: Collection[str]) -> list[RefinedHost]:
        return [self.spoil(host, structure) for host in self.right.refine(structure, guests)]

    def spoil(self, host: RefinedHost, structure: Structure) -> RefinedHost:
        del structure
        return host


class GuestsNotRescaled(Correct):
    """Keeps the guests of the input's cell when the host is cut down, as the original code does."""

    def spoil(self, host: RefinedHost, structure: Structure) -> RefinedHost:
        counts = structure.composition.get_el_amt_dict()
        return replace(host, guest_counts={guest: int(counts[guest]) for guest in host.guest_counts})


class BrokenGuests(Correct):
    """Cuts the host down always, and rounds the guests."""

    def spoil(self, host: RefinedHost, structure: Structure) -> RefinedHost:
        if host.cell == "primitive" or not host.guest_counts:
            return host
        small = host.host.get_primitive_structure()
        counts = {guest: max(1, n * len(small) // len(host.host)) for guest, n in host.guest_counts.items()}
        return replace(host, host=small, guest_counts=counts, cell="primitive")


class GuestsLeftIn(Correct):
    def spoil(self, host: RefinedHost, structure: Structure) -> RefinedHost:
        filled = host.host.copy()
        for guest in host.guest_counts:
            filled.append(guest, [0.37, 0.21, 0.11])
        return replace(host, host=filled)


class Inflated(Correct):
    def spoil(self, host: RefinedHost, structure: Structure) -> RefinedHost:
        larger = host.host.copy()
        larger.scale_lattice(host.host.volume * 1.3)
        return replace(host, host=larger)


class Transposed(Correct):
    """Takes the columns of the cell for its rows."""

    def spoil(self, host: RefinedHost, structure: Structure) -> RefinedHost:
        turned = Structure(Lattice(host.host.lattice.matrix.T), host.host.species, host.host.frac_coords)
        return replace(host, host=turned)


class GroupOfTheGuess(Correct):
    """Reports the group that was imposed on nothing."""

    def spoil(self, host: RefinedHost, structure: Structure) -> RefinedHost:
        generator = np.random.default_rng(0)
        moved = host.host.frac_coords + 0.02 * generator.standard_normal(host.host.frac_coords.shape)
        return replace(host, host=Structure(host.host.lattice, host.host.species, moved, to_unit_cell=True))


class FractionalDisplacement(Correct):
    def spoil(self, host: RefinedHost, structure: Structure) -> RefinedHost:
        a = structure.lattice.a
        return replace(
            host, max_displacement_A=host.max_displacement_A / a, rms_displacement_A=host.rms_displacement_A / a
        )


class AlwaysMoves(Correct):
    def spoil(self, host: RefinedHost, structure: Structure) -> RefinedHost:
        return replace(host, max_displacement_A=0.1, rms_displacement_A=0.1)


class RmsAboveMax(Correct):
    def spoil(self, host: RefinedHost, structure: Structure) -> RefinedHost:
        return replace(host, rms_displacement_A=host.max_displacement_A + 0.1)


class MutatesInput(Correct):
    def refine(self, structure: Structure, guests: Collection[str]) -> list[RefinedHost]:
        found = super().refine(structure, guests)
        structure.remove_species(list(guests))
        return found


class Radians(Correct):
    """Gives a library that takes degrees an angle in radians, so that no disturbed cell is symmetric."""

    def __init__(self) -> None:
        rungs = LadderOptions().rungs
        narrow = tuple((distance / 100, float(np.deg2rad(angle)) / 100) for distance, angle in rungs)
        self.right = LadderRefiner(LadderOptions(rungs=narrow))


class Moody(Correct):
    calls = 0

    def refine(self, structure: Structure, guests: Collection[str]) -> list[RefinedHost]:
        self.calls += 1
        return super().refine(structure, guests) if self.calls % 5 else []


class FirstAtomMatters(Correct):
    def refine(self, structure: Structure, guests: Collection[str]) -> list[RefinedHost]:
        return super().refine(structure, guests) if structure[0].specie.Z > 10 else []


class AxesMatter(Correct):
    """Looks at the direction of the first vector, as code does that keeps lengths and angles only."""

    def refine(self, structure: Structure, guests: Collection[str]) -> list[RefinedHost]:
        along = abs(structure.lattice.matrix[0, 0]) > 0.99 * structure.lattice.a
        return super().refine(structure, guests) if along else []


class AnyGuest(Correct):
    def refine(self, structure: Structure, guests: Collection[str]) -> list[RefinedHost]:
        present = {site.specie.symbol for site in structure}
        return super().refine(structure, [guest for guest in guests if guest in present])


class EmptyHost(Correct):
    def refine(self, structure: Structure, guests: Collection[str]) -> list[RefinedHost]:
        try:
            return super().refine(structure, guests)
        except InputError as error:
            if "nothing but" in str(error):
                return []
            raise


class RaisesWithoutSymmetry(Correct):
    def refine(self, structure: Structure, guests: Collection[str]) -> list[RefinedHost]:
        if gcd(len(structure), 8) == 8 and len({site.specie for site in structure}) == 3:
            raise ValueError("no symmetry found")
        return super().refine(structure, guests)


LAWS: dict[type[Correct], str] = {
    GuestsNotRescaled: "guest-counts-follow-formula",
    BrokenGuests: "guest-counts-follow-formula",
    GuestsLeftIn: "host-holds-no-guests",
    Inflated: "volume-kept",
    Transposed: "host-near-the-input",
    GroupOfTheGuess: "group-as-reported",
    FractionalDisplacement: "displacement-as-reported",
    AlwaysMoves: "symmetric-host-unmoved",
    RmsAboveMax: "result-form",
    MutatesInput: "input-not-mutated",
    Radians: "finds-symmetric-hosts",
    Moody: "repeatable",
    FirstAtomMatters: "atom-order",
    AxesMatter: "rotation",
    AnyGuest: "unknown-guest-refused",
    EmptyHost: "nothing-but-guests-refused",
    RaisesWithoutSymmetry: "no-symmetry-no-error",
}
