"""`check_relaxer`: the laws of `Relaxer`, measured over a Lennard-Jones potential."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from pymatgen.core import Lattice, Structure

from chggen_kit.errors import InputError
from chggen_kit.interfaces import Evaluation, Potential, Relaxation, Relaxer
from chggen_kit.io import to_batch, to_structures
from chggen_kit.state import CrystalBatch
from chggen_kit.testing.crystals import caesium_chloride, disturbed, face_centred, rocksalt, wurtzite
from chggen_kit.testing.measuring import Law, chosen, measure
from chggen_kit.testing.pair_potential import PairPotential
from chggen_kit.testing.report import ConformanceReport, LawResult
from chggen_kit.testing.symmetric import check_symmetry_kept, symmetric_crystals

ENERGY_TOLERANCE_EV_ATOM = 1e-3
"""Largest difference in eV/atom of two relaxations of one structure, or of a reported energy from the potential's."""
FORCE_MARGIN = 1.5
"""A converged structure's forces are at most `fmax` times this, by the potential itself: with a free cell a filter
counts them in the frame of the cell that it started from."""
STRESS_MARGIN = 2.0
"""The same for the virial per atom: filters differ in how they take the cell's own coordinates."""
FIXED_TOLERANCE = 1e-8
"""Largest change of a fixed cell in Å, or of the fractional coordinates of a fixed atom."""
RELATIVE_TOLERANCE = 0.02
"""Largest relative difference of a reported force or stress from the potential's."""
_FMAX = 0.05
_STEPS = 400
_SEED = 3
_REASONS = ("converged", "max-steps", "non-finite", "exploded", "overlap", "unsupported-element", "out-of-memory")

MakeRelaxer = Callable[[Potential], Relaxer]


def check_relaxer(make: MakeRelaxer, *, only: Collection[str] | None = None) -> ConformanceReport:
    """Measure every law of `Relaxer` on what `make` makes for a potential.

    The potential is the kit's smooth Lennard-Jones potential, whose minima are quick to find. A relaxer may refuse
    fixed atoms and symmetries with `InputError`, which the report then says.

    Args:
        make: from a potential to a relaxer over it, as the factory of a plug-in is.
        only: names of the laws to measure; all by default.

    Returns:
        One result a law; `raise_if_failed()` of it raises `PluginError` with a table.
    """
    check = _Check(make)
    # The shared random state is not watched here: matrix functions of SciPy, which cell filters use, draw from it to
    # estimate norms. A relaxer whose results depend on it is not `repeatable`.
    laws = tuple(measure(name, law) for name, law in chosen(check.laws(), only))
    return ConformanceReport(f"relaxer {type(check.relaxer).__name__}", laws)


class _Forgetful(PairPotential):
    """Runs out of memory above so many atoms."""

    room = 10

    def evaluate(self, batch: CrystalBatch) -> Evaluation:
        if batch.n_atoms > self.room:
            raise MemoryError(f"{batch.n_atoms} atoms, room for {self.room}")
        return super().evaluate(batch)


@dataclass
class _Told:
    updates: list[tuple[int, int]]

    def update(self, done: int, total: int, message: str = "") -> None:
        del message
        self.updates.append((done, total))


def _starts() -> list[Structure]:
    """Crystals out of equilibrium, of 2 to 8 atoms and as many compositions; the second has a strained cell alone."""
    batches = [
        disturbed(rocksalt(12, 8, 4.3), rattle_A=0.08, strain=0.03, seed=_SEED),
        face_centred(29, 4.0),
        disturbed(caesium_chloride(55, 17, 3.2), rattle_A=0.05, strain=0.02, seed=_SEED + 1),
        disturbed(wurtzite(30, 16, 3.0, 4.9), rattle_A=0.05, strain=0.02, seed=_SEED + 2),
    ]
    return [to_structures(batch)[0] for batch in batches]


class _Check:
    def __init__(self, make: MakeRelaxer) -> None:
        self.make = make
        self.potential = PairPotential(elements=frozenset(range(1, 100)))
        self.starts = _starts()

    @cached_property
    def relaxer(self) -> Relaxer:
        return self.make(self.potential)

    @cached_property
    def ended(self) -> list[Relaxation]:
        return self.relaxer.relax([one.copy() for one in self.starts], fmax=_FMAX, max_steps=_STEPS)

    def evaluate(self, structures: Sequence[Structure]) -> Evaluation:
        return self.potential.evaluate(to_batch(structures))

    def laws(self) -> list[tuple[str, Law]]:
        return [
            ("one-outcome-each", self.outcomes),
            ("converges", self.converges),
            ("reason-matches-convergence", self.reasons),
            ("energies-are-the-potentials", self.energies),
            ("energy-not-raised", self.lowered),
            ("converged-forces", self.forces),
            ("converged-stress", self.stress),
            ("forces-and-stress-as-reported", self.reported),
            ("inputs-not-mutated", self.inputs),
            ("repeatable", self.repeatable),
            ("single-equals-batched", self.single),
            ("fixed-cell-stays", self.fixed_cell),
            ("fixed-atoms-stay", self.fixed_atoms),
            ("max-steps-kept", self.max_steps),
            ("broken-structure-alone", self.broken),
            ("unsupported-element", self.unsupported),
            ("out-of-memory-alone", self.memory),
            ("left-handed-cell", self.left_handed),
            ("nothing-to-relax", self.nothing),
            ("progress-reaches-the-end", self.progress),
            ("wrong-limits-refused", self.limits),
            ("symmetry-kept", self.symmetry),
        ]

    def outcomes(self) -> LawResult:
        law = "one-outcome-each"
        if len(self.ended) != len(self.starts):
            return LawResult.of(law, holds=False, detail=f"{len(self.ended)} outcomes of {len(self.starts)}")
        wrong = [
            f"{start.composition.formula} came back as {[site.specie.symbol for site in end.structure]}"
            for start, end in zip(self.starts, self.ended, strict=True)
            if [site.specie for site in start] != [site.specie for site in end.structure]
        ]
        return LawResult.of(law, holds=not wrong, detail="; ".join(wrong))

    def converges(self) -> LawResult:
        share = sum(not end.converged for end in self.ended) / len(self.ended)
        told = ", ".join(f"{end.reason} after {end.steps}" for end in self.ended)
        return LawResult.at_most("converges", share, 0.5, f"share not converged to {_FMAX} eV/Å: {told}")

    def reasons(self) -> LawResult:
        wrong = [
            f"{end.reason!r} with converged={end.converged}"
            for end in self.ended
            if end.converged != (end.reason == "converged") or end.reason not in _REASONS or end.steps < 0
        ]
        return LawResult.of("reason-matches-convergence", holds=not wrong, detail="; ".join(wrong))

    def energies(self) -> LawResult:
        before, after = self.evaluate(self.starts).energies, self.evaluate([e.structure for e in self.ended]).energies
        off = [
            max(abs(end.initial_energy - float(first)), abs(end.energy - float(last))) / len(end.structure)
            for end, first, last in zip(self.ended, before, after, strict=True)
        ]
        return LawResult.at_most(
            "energies-are-the-potentials", _worst(off), ENERGY_TOLERANCE_EV_ATOM, "eV/atom, totals of start and end"
        )

    def lowered(self) -> LawResult:
        gains = [end.energy_change_per_atom for end in self.ended]
        return LawResult.at_most("energy-not-raised", _worst(gains), 0.0, "largest change in eV/atom")

    def forces(self) -> LawResult:
        done = self._converged()
        largest = self.evaluate(done).forces.norm(dim=1).max()
        return LawResult.at_most(
            "converged-forces", float(largest), FORCE_MARGIN * _FMAX, "eV/Å, by the potential, where it says converged"
        )

    def stress(self) -> LawResult:
        done = self._converged()
        stresses = self.evaluate(done).stresses.norm(dim=2).amax(dim=1)
        virials = [float(s) * one.volume / len(one) for s, one in zip(stresses, done, strict=True)]
        return LawResult.at_most(
            "converged-stress",
            _worst(virials),
            STRESS_MARGIN * _FMAX,
            "eV: stress times volume per atom, by the potential, where it says converged with a free cell",
        )

    def _converged(self) -> list[Structure]:
        done = [end.structure for end in self.ended if end.converged]
        if not done:
            raise ValueError("no relaxation converged, so nothing can be measured")
        return done

    def reported(self) -> LawResult:
        result = self.evaluate([end.structure for end in self.ended])
        parts = result.forces.norm(dim=1).split([len(end.structure) for end in self.ended])
        off = [0.0]
        for end, norms, stress in zip(self.ended, parts, result.stresses, strict=True):
            for told, found, floor in (
                (end.max_force, float(norms.max()), _FMAX),
                (end.max_stress, float(stress.abs().max()), _FMAX / 10),
            ):
                off.append(abs(told - found) / max(found, floor))
        return LawResult.at_most(
            "forces-and-stress-as-reported", _worst(off), RELATIVE_TOLERANCE, "relative to the potential's values"
        )

    def inputs(self) -> LawResult:
        given = [one.copy() for one in self.starts]
        self.relaxer.relax(given, fmax=_FMAX, max_steps=3)
        changed = [
            one.composition.formula
            for one, start in zip(given, self.starts, strict=True)
            if not (
                np.array_equal(one.frac_coords, start.frac_coords)
                and np.array_equal(one.lattice.matrix, start.lattice.matrix)
            )
        ]
        return LawResult.of("inputs-not-mutated", holds=not changed, detail=f"changed: {changed}" if changed else "")

    def repeatable(self) -> LawResult:
        again = self.relaxer.relax([one.copy() for one in self.starts], fmax=_FMAX, max_steps=_STEPS)
        return self._compare("repeatable", again, self.ended, "a second call")

    def single(self) -> LawResult:
        alone = [self.relaxer.relax([one.copy()], fmax=_FMAX, max_steps=_STEPS)[0] for one in self.starts]
        return self._compare("single-equals-batched", alone, self.ended, "each structure alone")

    def _compare(self, law: str, found: Sequence[Relaxation], expected: Sequence[Relaxation], what: str) -> LawResult:
        other = [f"{a.reason} for {b.reason}" for a, b in zip(found, expected, strict=True) if a.reason != b.reason]
        if other:
            return LawResult.of(law, holds=False, detail=f"{what}: {'; '.join(other)}")
        off = [abs(a.energy - b.energy) / len(a.structure) for a, b in zip(found, expected, strict=True)]
        return LawResult.at_most(law, _worst(off), ENERGY_TOLERANCE_EV_ATOM, f"eV/atom, {what}")

    def fixed_cell(self) -> LawResult:
        ended = self.relaxer.relax(self.starts, cell="fixed", fmax=_FMAX, max_steps=_STEPS)
        off = [
            float(np.abs(end.structure.lattice.matrix - start.lattice.matrix).max())
            for start, end in zip(self.starts, ended, strict=True)
        ]
        if ended[1].reason != "converged":
            return LawResult.of(
                "fixed-cell-stays", holds=False, detail="a strained cell that is fixed must not keep it from converging"
            )
        return LawResult.at_most("fixed-cell-stays", _worst(off), FIXED_TOLERANCE, "Å, with cell='fixed'")

    def fixed_atoms(self) -> LawResult:
        law, start = "fixed-atoms-stay", self.starts[0]
        fixed = [index % 2 == 0 for index in range(len(start))]
        try:
            (end,) = self.relaxer.relax([start], fixed=[fixed], fmax=_FMAX, max_steps=_STEPS)
        except InputError as error:
            return LawResult.of(law, holds=True, detail=f"not measured: the relaxer refuses fixed atoms ({error})")
        offset = end.structure.frac_coords - start.frac_coords
        moved = np.abs(offset - np.round(offset)).max(axis=1)
        if not moved[~np.array(fixed)].any():
            return LawResult.of(law, holds=False, detail="no atom moves when some are fixed")
        return LawResult.at_most(law, float(moved[fixed].max()), FIXED_TOLERANCE, "fractional, of fixed atoms")

    def max_steps(self) -> LawResult:
        (end,) = self.relaxer.relax([self.starts[0]], fmax=1e-4, max_steps=2)
        good = (end.reason, end.converged) == ("max-steps", False) and 0 <= end.steps <= 2
        return LawResult.of(
            "max-steps-kept", holds=good, detail=f"asked for 2 steps: {end.reason}, {end.steps} steps" * (not good)
        )

    def broken(self) -> LawResult:
        law = "broken-structure-alone"
        ended = self.relaxer.relax([self.starts[0], _not_finite(), *self.starts[1:]], fmax=_FMAX, max_steps=_STEPS)
        if ended[1].converged or ended[1].reason not in {"non-finite", "exploded", "overlap"}:
            return LawResult.of(law, holds=False, detail=f"a structure with a NaN ended as {ended[1].reason!r}")
        return self._compare(law, [ended[0], *ended[2:]], self.ended, "beside a structure with a NaN")

    def unsupported(self) -> LawResult:
        strange = Structure(Lattice.cubic(4.0), ["Fm"], [[0, 0, 0]])  # element 100, which the potential lacks
        ended = self.relaxer.relax([strange, self.starts[0]], fmax=_FMAX, max_steps=3)
        good = ended[0].reason == "unsupported-element" and ended[1].reason != "unsupported-element"
        return LawResult.of("unsupported-element", holds=good, detail=f"reasons {[e.reason for e in ended]}")

    def memory(self) -> LawResult:
        law = "out-of-memory-alone"
        potential = _Forgetful(elements=self.potential.info.elements)
        large = to_structures(rocksalt(12, 8, 4.3))[0] * (2, 1, 1)
        ended = self.make(potential).relax([self.starts[1], large, self.starts[2]], fmax=_FMAX, max_steps=_STEPS)
        reasons = [end.reason for end in ended]
        if reasons[1] != "out-of-memory" or "out-of-memory" in (reasons[0], reasons[2]):
            detail = f"only the second needs more memory than there is; reasons {reasons}"
            return LawResult.of(law, holds=False, detail=detail)
        return self._compare(law, [ended[0], ended[2]], self.ended[1:3], "beside one that does not fit")

    def left_handed(self) -> LawResult:
        start = self.starts[3]
        mirrored = Structure(Lattice(-start.lattice.matrix), start.species, start.frac_coords)
        (end,) = self.relaxer.relax([mirrored], fmax=_FMAX, max_steps=_STEPS)
        if not np.linalg.det(end.structure.lattice.matrix) < 0:
            return LawResult.of("left-handed-cell", holds=False, detail="the cell came back with the other handedness")
        return self._compare("left-handed-cell", [end], [self.ended[3]], "the mirror image in a left-handed cell")

    def nothing(self) -> LawResult:
        return LawResult.of("nothing-to-relax", holds=list(self.relaxer.relax([])) == [])

    def progress(self) -> LawResult:
        told = _Told([])
        self.relaxer.relax(self.starts, fmax=_FMAX, max_steps=2, progress=told)
        done = [done for done, _ in told.updates]
        good = done == sorted(done) and (not done or told.updates[-1] == (len(self.starts), len(self.starts)))
        return LawResult.of("progress-reaches-the-end", holds=good, detail=f"ended with {told.updates[-1:]}")

    def limits(self) -> LawResult:
        for fmax in (0.0, -1.0):
            try:
                self.relaxer.relax(self.starts, fmax=fmax, max_steps=2)
            except InputError:
                continue
            return LawResult.of("wrong-limits-refused", holds=False, detail=f"no InputError for fmax={fmax}")
        return LawResult.of("wrong-limits-refused", holds=True)

    def symmetry(self) -> LawResult:
        """The laws of `check_symmetry_kept` on a few space groups; its worst result stands for them."""
        law = "symmetry-kept"
        try:
            report = check_symmetry_kept(self.relaxer, symmetric_crystals(6, seed=_SEED), max_steps=20)
        except InputError as error:
            return LawResult.of(law, holds=True, detail=f"not measured: the relaxer refuses symmetries ({error})")
        results = [one for one in report if one.law != "energy-not-raised"]
        worst = next((one for one in results if not one.passed), results[0])
        return LawResult(law, worst.measured, worst.limit, worst.passed, f"{worst.law}: {worst.detail}")


def _not_finite() -> Structure:
    frac = [[0.0, 0.0, 0.0], [0.5, float("nan"), 0.5]]
    return Structure(Lattice.cubic(3.0), ["Ni", "Al"], frac)


def _worst(values: Sequence[float]) -> float:
    """Largest value; NaN where there is one, which fails every limit."""
    return float(torch.tensor(values, dtype=torch.float64).max()) if not np.isnan(values).any() else float("nan")
