"""`check_host_refiner`: the laws of `HostRefiner`, measured on disturbed textbook crystals with guests."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure

from chggen_kit.errors import InputError
from chggen_kit.interfaces import HostRefiner, RefinedHost
from chggen_kit.io import to_batch, to_structures
from chggen_kit.metrics.symmetry import SymmetryFailure, dataset
from chggen_kit.state import CrystalBatch
from chggen_kit.testing.crystals import disturbed, fluorite, perovskite, rocksalt, wurtzite, zincblende
from chggen_kit.testing.measuring import Law, chosen, measure_all
from chggen_kit.testing.report import ConformanceReport, LawResult

RATTLE_A = 0.03
"""Standard deviation of displacements of the disturbed crystals, in Å."""
SHARE_FOUND = 0.6
"""Smallest share of the disturbed crystals in which a symmetric host must be found."""
VOLUME_TOLERANCE = 0.05
"""Largest relative change of the volume per host atom."""
GROUP_SYMPREC_A = 0.01
"""Å at which spglib must find the group that is reported."""
NEARNESS_A = 0.15
"""Largest root mean square distance in Å of a refined host from the disturbed one."""
DISPLACEMENT_FACTOR = 3.0
"""Largest factor between the reported and the measured root mean square displacement, either way."""
UNMOVED_A = 1e-3
"""Largest displacement in Å of a host that is symmetric already."""
_STRAIN = 0.004
_SEED = 5


@dataclass(frozen=True)
class _Case:
    """A structure with guests.

    Attributes:
        structure: with the guests.
        guests: their symbols.
        exact: whether it is not disturbed.
    """

    structure: Structure
    guests: tuple[str, ...]
    exact: bool = False

    @property
    def host(self) -> Structure:
        kept = [site for site in self.structure if site.specie.symbol not in self.guests]
        return Structure.from_sites(kept)

    @property
    def counts(self) -> dict[str, int]:
        symbols = [site.specie.symbol for site in self.structure]
        return {guest: symbols.count(guest) for guest in self.guests}

    def __str__(self) -> str:
        return f"{self.structure.composition.formula} without {', '.join(self.guests) or 'guests'}"


def check_host_refiner(refiner: HostRefiner, *, only: Collection[str] | None = None) -> ConformanceReport:
    """Measure every law of `HostRefiner` on `refiner`.

    It is given textbook crystals (cubic and hexagonal hosts, conventional cells that reduce with whole and with broken
    numbers of guests), exact and disturbed by 0.03 Å, with the options of `refiner`; tolerances that are so tight that
    a disturbance of 0.03 Å is no longer symmetric fail `finds-symmetric-hosts`.

    Args:
        refiner: what to check.
        only: names of the laws to measure; all by default.

    Returns:
        One result a law; `raise_if_failed()` of it raises `PluginError` with a table.
    """
    return ConformanceReport(
        f"host refiner {type(refiner).__name__}", measure_all(chosen(_Check(refiner).laws(), only))
    )


def _cases() -> list[_Case]:
    bases: list[tuple[Structure, tuple[str, ...]]] = [
        (_structure(perovskite(38, 22, 8, 3.91)), ("Sr",)),
        (_structure(fluorite(20, 9, 5.46)), ("F",)),
        (_with_guests(_structure(rocksalt(12, 8, 4.21)), 1), ("Li",)),
        (_with_guests(_structure(zincblende(30, 16, 5.41)), 4), ("Li",)),
        (_with_guests(_structure(wurtzite(30, 8, 3.25, 5.21)), 2), ("Li",)),
        (_structure(perovskite(56, 22, 8, 4.0)), ("Ba",)),
    ]
    exact = [_Case(structure, guests, exact=True) for structure, guests in bases]
    return exact + [_Case(_disturbed(one, _SEED + i), guests) for i, (one, guests) in enumerate(bases)]


def _structure(batch: CrystalBatch) -> Structure:
    return to_structures(batch)[0]


def _with_guests(host: Structure, count: int) -> Structure:
    """`host` with lithium at places of no symmetry."""
    generator = np.random.default_rng(_SEED)
    frac = np.vstack([host.frac_coords, generator.uniform(0.05, 0.95, (count, 3))])
    return Structure(host.lattice, [*host.species, *["Li"] * count], frac)


def _disturbed(structure: Structure, seed: int) -> Structure:
    return to_structures(disturbed(to_batch([structure]), rattle_A=RATTLE_A, strain=_STRAIN, seed=seed))[0]


class _Check:
    def __init__(self, refiner: HostRefiner) -> None:
        self.refiner = refiner
        self.cases = _cases()

    @cached_property
    def found(self) -> list[tuple[_Case, list[RefinedHost]]]:
        return [(case, list(self.refiner.refine(case.structure.copy(), case.guests))) for case in self.cases]

    @property
    def hosts(self) -> list[tuple[_Case, RefinedHost]]:
        pairs = [(case, host) for case, hosts in self.found for host in hosts]
        if not pairs:
            raise ValueError("no host was found in any crystal, so nothing can be measured")
        return pairs

    def laws(self) -> list[tuple[str, Law]]:
        return [
            ("finds-symmetric-hosts", self.finds),
            ("result-form", self.form),
            ("host-holds-no-guests", self.no_guests),
            ("guest-counts-follow-formula", self.guest_counts),
            ("volume-kept", self.volume),
            ("group-as-reported", self.group),
            ("host-near-the-input", self.near),
            ("displacement-as-reported", self.displacement),
            ("symmetric-host-unmoved", self.unmoved),
            ("whole-structure", self.whole),
            ("input-not-mutated", self.inputs),
            ("repeatable", self.repeatable),
            ("atom-order", self.atom_order),
            ("rotation", self.rotation),
            ("unknown-guest-refused", self.unknown_guest),
            ("nothing-but-guests-refused", self.only_guests),
            ("no-symmetry-no-error", self.no_symmetry),
        ]

    def finds(self) -> LawResult:
        missed = [str(case) for case, hosts in self.found if not case.exact and not hosts]
        lost = [str(case) for case, hosts in self.found if case.exact and not hosts]
        tried = sum(not case.exact for case in self.cases)
        detail = f"share without a host, disturbed by {RATTLE_A} Å; missed: {', '.join(missed) or 'none'}"
        if lost:
            return LawResult.of("finds-symmetric-hosts", holds=False, detail=f"none in the exact {', '.join(lost)}")
        return LawResult.at_most("finds-symmetric-hosts", len(missed) / tried, 1 - SHARE_FOUND, detail)

    def form(self) -> LawResult:
        wrong = []
        for case, host in self.hosts:
            numbers = (host.max_displacement_A, host.rms_displacement_A)
            if not (np.isfinite(numbers).all() and host.max_displacement_A + 1e-9 >= host.rms_displacement_A >= 0):
                wrong.append(f"{case}: displacements max {numbers[0]}, rms {numbers[1]}")
            if not (1 <= host.spacegroup_number <= 230 and host.spacegroup_symbol and host.library):
                wrong.append(f"{case}: group {host.spacegroup_number} {host.spacegroup_symbol!r} by {host.library!r}")
            if host.cell not in {"primitive", "own"} or any(
                value is not None and not value > 0 for value in (host.symprec_A, host.angle_tolerance_deg)
            ):
                wrong.append(f"{case}: cell {host.cell!r}, tolerances {host.symprec_A}, {host.angle_tolerance_deg}")
            if not np.all((host.host.frac_coords >= 0) & (host.host.frac_coords < 1)):
                wrong.append(f"{case}: coordinates of the host are not folded into [0, 1)")
        return LawResult.of("result-form", holds=not wrong, detail="; ".join(wrong))

    def no_guests(self) -> LawResult:
        wrong = []
        for case, host in self.hosts:
            before, after = case.host.composition, host.host.composition
            if not before.reduced_composition.almost_equals(after.reduced_composition):
                wrong.append(f"{case}: host {before.formula} became {after.formula}")
        return LawResult.of("host-holds-no-guests", holds=not wrong, detail="; ".join(wrong))

    def guest_counts(self) -> LawResult:
        wrong = []
        for case, host in self.hosts:
            if not _follows_formula(host.guest_counts, len(host.host), case.counts, len(case.host)):
                told = f"{dict(host.guest_counts)} for {len(host.host)} host atoms"
                wrong.append(f"{case}: {told}, was {case.counts} for {len(case.host)}")
        return LawResult.of("guest-counts-follow-formula", holds=not wrong, detail="; ".join(wrong))

    def volume(self) -> LawResult:
        ratios = [
            abs(host.host.volume / len(host.host) * len(case.host) / case.host.volume - 1) for case, host in self.hosts
        ]
        worst = int(np.argmax(ratios))
        return LawResult.at_most("volume-kept", ratios[worst], VOLUME_TOLERANCE, f"worst: {self.hosts[worst][0]}")

    def group(self) -> LawResult:
        wrong = []
        for case, host in self.hosts:
            seen = dataset(host.host, GROUP_SYMPREC_A, 1.0)
            number = None if isinstance(seen, SymmetryFailure) else int(seen.number)
            if number != host.spacegroup_number:
                wrong.append(f"{case}: reported {host.spacegroup_number}, spglib finds {number}")
        return LawResult.of("group-as-reported", holds=not wrong, detail="; ".join(wrong))

    def near(self) -> LawResult:
        distances = [_distance_A(case.host, host.host) for case, host in self.hosts]
        worst = int(np.argmax(distances))
        return LawResult.at_most(
            "host-near-the-input", distances[worst], NEARNESS_A, f"Å root mean square; worst: {self.hosts[worst][0]}"
        )

    def displacement(self) -> LawResult:
        law, factors, told = "displacement-as-reported", [1.0], ["nothing to compare"]
        for case, host in self.hosts:
            # One or two atoms are where they are, up to the common drift, which is removed.
            if case.exact or len(case.host) < 4:
                continue
            measured = _distance_A(case.host, host.host)
            if not np.isfinite(measured) or measured < RATTLE_A / 10:
                continue
            ratio = max(host.rms_displacement_A, 1e-9) / measured
            factors.append(max(ratio, 1 / ratio))
            told.append(f"{case}: reported {host.rms_displacement_A:.3g} Å, measured {measured:.3g} Å")
        worst = int(np.argmax(factors))
        return LawResult.at_most(law, factors[worst], DISPLACEMENT_FACTOR, f"factor; {told[worst]}")

    def unmoved(self) -> LawResult:
        moved = [host.max_displacement_A for case, host in self.hosts if case.exact]
        return LawResult.at_most(
            "symmetric-host-unmoved", max(moved), UNMOVED_A, "Å reported for hosts that are symmetric"
        )

    def whole(self) -> LawResult:
        structure = _structure(perovskite(38, 22, 8, 3.91))
        hosts = self.refiner.refine(structure, ())
        good = bool(hosts) and not any(host.guest_counts for host in hosts) and len(hosts[0].host) == len(structure)
        return LawResult.of("whole-structure", holds=good, detail="" if good else "no guests named: all atoms stay")

    def inputs(self) -> LawResult:
        changed = []
        for case in self.cases:
            given = case.structure.copy()
            self.refiner.refine(given, case.guests)
            if given != case.structure or not np.array_equal(given.frac_coords, case.structure.frac_coords):
                changed.append(str(case))
        return LawResult.of("input-not-mutated", holds=not changed, detail=f"changed: {changed}" if changed else "")

    def repeatable(self) -> LawResult:
        wrong = []
        for case, hosts in self.found:
            again = list(self.refiner.refine(case.structure.copy(), case.guests))
            if _summary(again) != _summary(hosts):
                wrong.append(f"{case}: {_summary(hosts)} and then {_summary(again)}")
        return LawResult.of("repeatable", holds=not wrong, detail="; ".join(wrong))

    def atom_order(self) -> LawResult:
        return self._same("atom-order", lambda one: Structure.from_sites(list(one)[::-1]))

    def rotation(self) -> LawResult:
        turn = torch.linalg.matrix_exp(torch.tensor([[0, 0.4, -0.9], [-0.4, 0, 0.3], [0.9, -0.3, 0]]).double()).numpy()
        return self._same(
            "rotation", lambda one: Structure(Lattice(one.lattice.matrix @ turn), one.species, one.frac_coords)
        )

    def _same(self, law: str, change: Callable[[Structure], Structure]) -> LawResult:
        wrong = []
        for case, hosts in self.found:
            again = self.refiner.refine(change(case.structure), case.guests)
            if _summary(again)[:1] != _summary(hosts)[:1]:
                wrong.append(f"{case}: {_summary(hosts)[:1]} and then {_summary(again)[:1]}")
        return LawResult.of(law, holds=not wrong, detail="; ".join(wrong))

    def unknown_guest(self) -> LawResult:
        return self._refuses("unknown-guest-refused", ("Xe",))

    def only_guests(self) -> LawResult:
        return self._refuses("nothing-but-guests-refused", ("Sr", "Ti", "O"))

    def _refuses(self, law: str, guests: Sequence[str]) -> LawResult:
        try:
            self.refiner.refine(_structure(perovskite(38, 22, 8, 3.91)), guests)
        except InputError:
            return LawResult.of(law, holds=True)
        return LawResult.of(law, holds=False, detail=f"no InputError for the guests {', '.join(guests)} of SrTiO3")

    def no_symmetry(self) -> LawResult:
        generator = np.random.default_rng(_SEED)
        cell = Lattice.from_parameters(5.1, 6.2, 7.3, 78, 83, 97)
        structure = Structure(cell, ["Zn"] * 3 + ["S"] * 4 + ["Li"], generator.uniform(0, 1, (8, 3)))
        hosts = list(self.refiner.refine(structure, ("Li",)))
        return LawResult.of(
            "no-symmetry-no-error", holds=True, detail=f"{len(hosts)} hosts of a random arrangement of seven atoms"
        )


def _follows_formula(
    counts: Mapping[str, int], atoms: int, counts_before: Mapping[str, int], atoms_before: int
) -> bool:
    if set(counts) != set(counts_before) or not all(isinstance(count, int) for count in counts.values()):
        return False
    return all(counts[guest] * atoms_before == count * atoms for guest, count in counts_before.items())


def _distance_A(before: Structure, after: Structure) -> float:  # noqa: N802 - units are part of the name
    """Root mean square distance of two hosts in Å, up to the choice of cell; infinite when they don't match."""
    matcher = StructureMatcher(
        ltol=0.1, stol=0.3, angle_tol=5, primitive_cell=False, scale=False, attempt_supercell=True
    )
    big, small = (before, after) if len(before) >= len(after) else (after, before)
    found = matcher.get_rms_dist(big, small)
    return float(found[0]) * float((big.volume / len(big)) ** (1 / 3)) if found else float("inf")


def _summary(hosts: Sequence[RefinedHost]) -> list[tuple[int, int, tuple[tuple[str, int], ...]]]:
    return [(host.spacegroup_number, len(host.host), tuple(sorted(host.guest_counts.items()))) for host in hosts]
