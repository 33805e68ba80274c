"""How one relaxation among many goes: its last finite evaluation, and the outcome that is made of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from pymatgen.core import Structure
from torch import Tensor

from chggen_kit.interfaces import Evaluation, Relaxation
from chggen_kit.interfaces.relaxer import RelaxationReason
from chggen_kit.io.convert import with_coordinates
from chggen_kit.relaxers.walkers import Walkers
from chggen_kit.state import CrystalBatch


@dataclass(frozen=True)
class Snapshot:
    """One evaluation of the structures that move together; what keeps a symmetry is projected on it."""

    walkers: Walkers
    batch: CrystalBatch
    evaluation: Evaluation
    max_force: Tensor
    max_stress: Tensor


@dataclass
class Course:
    """How one relaxation went so far: the last finite evaluation, and where in it the structure stands."""

    start: Structure
    initial_energy: float = float("nan")
    last: Snapshot | None = None
    slot: int = 0
    trajectory: list[Structure] = field(default_factory=list)

    def structure(self) -> Structure:
        """The last finite structure, with the species, site properties and labels of the first one."""
        if self.last is None:
            return self.start.copy()
        low, high = self.last.batch.offsets[self.slot : self.slot + 2].tolist()
        return with_coordinates(
            self.start,
            self.last.walkers.frac[low:high].numpy(),
            self.last.batch.lattice[self.slot].numpy(),
        )

    def end(self, reason: RelaxationReason, every: int | None) -> Relaxation:
        """Outcome for `reason`."""
        structure, last, slot = self.structure(), self.last, self.slot
        steps = 0 if last is None else int(last.walkers.steps[slot])
        if every is not None and last is not None and steps % every:
            self.trajectory.append(structure)
        return Relaxation(
            structure=structure,
            initial_energy=self.initial_energy,
            energy=float("nan") if last is None else float(last.evaluation.energies[slot]),
            converged=reason == "converged",
            reason=reason,
            steps=steps,
            max_force=float("nan") if last is None else float(last.max_force[slot]),
            max_stress=float("nan") if last is None else float(last.max_stress[slot]),
            trajectory=tuple(self.trajectory),
        )
