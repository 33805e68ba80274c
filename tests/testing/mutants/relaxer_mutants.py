"""Relaxers with one thing wrong each; `LAWS` says by which law each must be caught."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
from pymatgen.core import Lattice, Structure

from chggen_kit.interfaces import Evaluation, Potential, PotentialInfo, Relaxation, Relaxer
from chggen_kit.io.convert import with_coordinates
from chggen_kit.relaxers.fire import FireRelaxer
from chggen_kit.state import CrystalBatch


class Correct(Relaxer):
    """The built-in relaxer; mutants change what it is given, or what it gives."""

    def __init__(self, potential: Potential) -> None:
        self.potential = potential
        self.right = FireRelaxer(potential)

    def relax(self, structures: Sequence[Structure], **options: Any) -> list[Relaxation]:
        return [self.spoil(one) for one in self.right.relax(structures, **options)]

    def spoil(self, ended: Relaxation) -> Relaxation:
        return ended


class StressForgotten(Correct):
    """Calls a structure converged by its forces alone, whatever its cell."""

    def relax(self, structures: Sequence[Structure], **options: Any) -> list[Relaxation]:
        return self.right.relax(structures, **{**options, "cell": "fixed"})


class SloppyLimit(Correct):
    """Takes the limit for that on the mean force of ten atoms."""

    def relax(self, structures: Sequence[Structure], *, fmax: float = 0.1, **options: Any) -> list[Relaxation]:
        return self.right.relax(structures, fmax=10 * fmax, **options)


class ClaimsConvergence(Correct):
    def spoil(self, ended: Relaxation) -> Relaxation:
        return replace(ended, converged=True)


class OwnReasons(Correct):
    """Invents a reason that nobody else knows."""

    def spoil(self, ended: Relaxation) -> Relaxation:
        return replace(ended, reason="fine")  # type: ignore[arg-type]  # that is what is wrong


class _Spoilt(Potential):
    def __init__(self, right: Potential) -> None:
        self.right = right

    @property
    def info(self) -> PotentialInfo:
        return self.right.info


class _StressNegated(_Spoilt):
    def evaluate(self, batch: CrystalBatch) -> Evaluation:
        result = self.right.evaluate(batch)
        return replace(result, stresses=-result.stresses)


class _ForcesNegated(_Spoilt):
    def evaluate(self, batch: CrystalBatch) -> Evaluation:
        result = self.right.evaluate(batch)
        return replace(result, forces=-result.forces)


class StressSign(Correct):
    """Takes the potential's stress for the pressure."""

    def __init__(self, potential: Potential) -> None:
        super().__init__(_StressNegated(potential))


class Uphill(Correct):
    """Walks along the gradient of the energy."""

    def __init__(self, potential: Potential) -> None:
        super().__init__(_ForcesNegated(potential))


class EnergyPerAtom(Correct):
    def spoil(self, ended: Relaxation) -> Relaxation:
        return replace(ended, energy=ended.energy / len(ended.structure))


class EnergyOfTheStart(Correct):
    def spoil(self, ended: Relaxation) -> Relaxation:
        return replace(ended, energy=ended.initial_energy)


class StressInGPa(Correct):
    def spoil(self, ended: Relaxation) -> Relaxation:
        return replace(ended, max_stress=160.21766 * ended.max_stress)


class OrderLost(Correct):
    def relax(self, structures: Sequence[Structure], **options: Any) -> list[Relaxation]:
        return sorted(super().relax(structures, **options), key=lambda ended: ended.steps)


class AtomsSorted(Correct):
    def spoil(self, ended: Relaxation) -> Relaxation:
        return replace(ended, structure=Structure.from_sites(sorted(ended.structure, key=lambda s: s.specie.Z)))


class MutatesInput(Correct):
    def relax(self, structures: Sequence[Structure], **options: Any) -> list[Relaxation]:
        ended = super().relax(structures, **options)
        for start, one in zip(structures, ended, strict=True):
            start.lattice = one.structure.lattice
        return ended


class LimitShared(Correct):
    """Compares the largest force of the whole batch with its limit over the number of structures."""

    def relax(self, structures: Sequence[Structure], *, fmax: float = 0.1, **options: Any) -> list[Relaxation]:
        return super().relax(structures, fmax=fmax * max(len(structures), 1) ** 4, **options)


class NanSpreads(Correct):
    def relax(self, structures: Sequence[Structure], **options: Any) -> list[Relaxation]:
        ended = super().relax(structures, **options)
        if all(one.reason != "non-finite" for one in ended):
            return ended
        return [replace(one, converged=False, reason="non-finite") for one in ended]


class FixedIgnored(Correct):
    def relax(self, structures: Sequence[Structure], *, fixed: Any = None, **options: Any) -> list[Relaxation]:
        return super().relax(structures, **options)


class CellNotFixed(Correct):
    def relax(self, structures: Sequence[Structure], *, cell: Any = "free", **options: Any) -> list[Relaxation]:
        return super().relax(structures, **options)


class StepsIgnored(Correct):
    def relax(self, structures: Sequence[Structure], *, max_steps: int = 500, **options: Any) -> list[Relaxation]:
        return super().relax(structures, max_steps=max(max_steps, 20), **options)


class Kicks(Correct):
    """Rattles the start with other numbers at every call."""

    calls = count()

    def relax(self, structures: Sequence[Structure], **options: Any) -> list[Relaxation]:
        generator = np.random.default_rng(next(self.calls))
        kicked = []
        for one in structures:
            strain = 0.2 * generator.standard_normal((3, 3)) * len(one) ** 0.5
            frac = one.frac_coords + 0.3 * generator.standard_normal(one.frac_coords.shape)
            kicked.append(with_coordinates(one, frac, one.lattice.matrix @ (np.eye(3) + 0.2 * np.tanh(strain))))
        return super().relax(kicked, **options)


class SymmetryIgnored(Correct):
    def relax(self, structures: Sequence[Structure], *, symmetry: Any = None, **options: Any) -> list[Relaxation]:
        generator = np.random.default_rng(0)
        shaken = [
            with_coordinates(
                one, one.frac_coords + 0.02 * generator.standard_normal(one.frac_coords.shape), one.lattice.matrix
            )
            for one in structures
        ]
        return super().relax(shaken, **options)


class MemoryEndsAll(Correct):
    def relax(self, structures: Sequence[Structure], **options: Any) -> list[Relaxation]:
        ended = super().relax(structures, **options)
        if all(one.reason != "out-of-memory" for one in ended):
            return ended
        raise MemoryError("the batch does not fit")


class RightHanded(Correct):
    """Turns every cell into a right-handed one, as a trip through lengths and angles does."""

    def relax(self, structures: Sequence[Structure], **options: Any) -> list[Relaxation]:
        plain = [
            Structure(Lattice.from_parameters(*one.lattice.parameters), one.species, one.frac_coords)
            for one in structures
        ]
        return super().relax(plain, **options)


class NeedsOne(Correct):
    def relax(self, structures: Sequence[Structure], **options: Any) -> list[Relaxation]:
        largest = max(len(one) for one in structures)
        return super().relax(structures, **options)[: largest + len(structures)]


class EndlessProgress(Correct):
    def relax(self, structures: Sequence[Structure], *, progress: Any = None, **options: Any) -> list[Relaxation]:
        if progress is not None:
            progress.update(1, len(structures))
        return super().relax(structures, **options)


class AnyLimit(Correct):
    def relax(self, structures: Sequence[Structure], *, fmax: float = 0.1, **options: Any) -> list[Relaxation]:
        return super().relax(structures, fmax=max(fmax, 1e-3), **options)


class GuessesElements(Correct):
    def relax(self, structures: Sequence[Structure], **options: Any) -> list[Relaxation]:
        known = [one.copy() for one in structures]
        for one in known:
            one.replace_species({"Fm": "Cu"})
        return super().relax(known, **options)


class GivesUp(Correct):
    """Takes ten steps at most, whatever it is asked for."""

    def relax(self, structures: Sequence[Structure], *, max_steps: int = 500, **options: Any) -> list[Relaxation]:
        return super().relax(structures, max_steps=min(max_steps, 5), **options)


LAWS: dict[type[Correct], str] = {
    StressForgotten: "converged-stress",
    SloppyLimit: "converged-forces",
    ClaimsConvergence: "max-steps-kept",
    OwnReasons: "reason-matches-convergence",
    StressSign: "energy-not-raised",
    Uphill: "energy-not-raised",
    EnergyPerAtom: "energies-are-the-potentials",
    EnergyOfTheStart: "energies-are-the-potentials",
    StressInGPa: "forces-and-stress-as-reported",
    OrderLost: "one-outcome-each",
    AtomsSorted: "one-outcome-each",
    MutatesInput: "inputs-not-mutated",
    LimitShared: "single-equals-batched",
    NanSpreads: "broken-structure-alone",
    FixedIgnored: "fixed-atoms-stay",
    CellNotFixed: "fixed-cell-stays",
    StepsIgnored: "max-steps-kept",
    Kicks: "repeatable",
    SymmetryIgnored: "symmetry-kept",
    MemoryEndsAll: "out-of-memory-alone",
    RightHanded: "left-handed-cell",
    NeedsOne: "nothing-to-relax",
    EndlessProgress: "progress-reaches-the-end",
    AnyLimit: "wrong-limits-refused",
    GuessesElements: "unsupported-element",
    GivesUp: "converges",
}
