"""The relaxer `fire`: FIRE on positions and cells of many structures at once, over any `Potential`."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from pymatgen.core import Structure
from torch import Tensor

from chggen_kit.interfaces import Evaluation, Potential, Progress, Relaxation, Relaxer
from chggen_kit.interfaces.relaxer import CellPolicy, RelaxationReason
from chggen_kit.io.convert import with_coordinates
from chggen_kit.relaxers.limits import exploded, first_objection
from chggen_kit.relaxers.options import FireOptions
from chggen_kit.relaxers.structures import checked_masks
from chggen_kit.relaxers.walkers import GeneralisedForces, Walkers
from chggen_kit.state import CrystalBatch

__all__ = ["FireOptions", "FireRelaxer", "build"]


def build(options: FireOptions, potential: Potential) -> FireRelaxer:
    """The relaxer `fire`."""
    return FireRelaxer(potential, options)


@dataclass(frozen=True)
class _Snapshot:
    """One evaluation of the structures that move together."""

    walkers: Walkers
    batch: CrystalBatch
    evaluation: Evaluation
    max_force: Tensor
    max_stress: Tensor


@dataclass
class _Course:
    """How one relaxation went so far: the last finite evaluation, and where in it the structure stands."""

    start: Structure
    initial_energy: float = float("nan")
    last: _Snapshot | None = None
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


class FireRelaxer(Relaxer):
    """Batched FIRE with the algorithm and parameters of ASE's `FIRE` under `FrechetCellFilter`.

    The batch is filled up to the potential's `max_atoms_per_batch` and `max_batch` structures, in the order of the
    input; a structure that ends makes room for the next. `max_force` counts atoms that may move.

    A relaxation ends as `overlap` (without an evaluation) when two atoms, or an atom and its image, start closer than
    0.5 Å or the cell is flat; as `non-finite` when the potential gives no number; as `exploded` when the cell's volume
    leaves [1/4, 4] times the first one or exceeds 1000 Å^3/atom, or atoms come closer than 0.5 Å.
    """

    def __init__(self, potential: Potential, options: FireOptions | None = None) -> None:
        self._potential = potential
        self._options = options or FireOptions()

    def relax(
        self,
        structures: Sequence[Structure],
        *,
        cell: CellPolicy = "free",
        fixed: Sequence[Sequence[bool] | None] | None = None,
        fmax: float = 0.1,
        max_steps: int = 500,
        progress: Progress | None = None,
    ) -> list[Relaxation]:
        """Relax `structures`; see `Relaxer.relax`.

        Raises:
            InputError: for limits that are not positive, masks of the wrong length, or disordered structures.
        """
        masks = checked_masks(structures, fixed, fmax, max_steps)
        run = _Run(self._potential, self._options, structures, masks, cell == "free", fmax, max_steps, progress)
        return run.outcomes()


class _Run:
    """One call of `FireRelaxer.relax`."""

    def __init__(
        self,
        potential: Potential,
        options: FireOptions,
        structures: Sequence[Structure],
        masks: Sequence[Tensor],
        cell_moves: bool,
        fmax: float,
        max_steps: int,
        progress: Progress | None,
    ) -> None:
        self.potential, self.options, self.masks = potential, options, masks
        self.cell_moves, self.fmax, self.max_steps, self.progress = cell_moves, fmax, max_steps, progress
        self.courses = [_Course(structure) for structure in structures]
        self.ended: dict[int, Relaxation] = {}
        self.waiting: deque[int] = deque()
        self.moving: list[int] = []

    def outcomes(self) -> list[Relaxation]:
        for index, course in enumerate(self.courses):
            reason = first_objection(course.start, self.potential.info)
            if reason is None:
                self.waiting.append(index)
            else:
                self._end(index, reason)
        walkers = self._refill(None)
        while walkers is not None:
            snapshot, forces = self._evaluate(walkers)
            keep = self._judge(snapshot, forces)
            walkers = None
            if bool(keep.any()):
                left = forces.select(keep, snapshot.batch.crystal_index)
                walkers = self._drop_exploded(snapshot.walkers.select(keep).step(left, self.options))
            walkers = self._refill(walkers)
        return [self.ended[index] for index in range(len(self.courses))]

    def _refill(self, walkers: Walkers | None) -> Walkers | None:
        info, options = self.potential.info, self.options
        room = info.max_atoms_per_batch if options.max_atoms is None else options.max_atoms
        room -= sum(len(self.courses[index].start) for index in self.moving)
        parts = [] if walkers is None else [walkers]
        while self.waiting and len(self.moving) < options.max_batch:
            start = self.courses[self.waiting[0]].start
            if len(start) > room and self.moving:
                break
            index = self.waiting.popleft()
            room -= len(start)
            self.moving.append(index)
            parts.append(
                Walkers.start(
                    torch.tensor(start.frac_coords, dtype=torch.float64),
                    torch.tensor(start.lattice.matrix, dtype=torch.float64),
                    torch.tensor([site.specie.Z for site in start], dtype=torch.int64),
                    self.masks[index],
                    options,
                )
            )
        return Walkers.join(parts) if parts else None

    def _evaluate(self, walkers: Walkers) -> tuple[_Snapshot, GeneralisedForces]:
        batch = walkers.batch()
        evaluation = self.potential.evaluate(batch)
        forces = walkers.forces(evaluation, batch.volumes, cell_moves=self.cell_moves)
        lengths = evaluation.forces.norm(dim=1) * walkers.movable
        max_force = lengths.new_zeros(batch.n_crystals).scatter_reduce(0, batch.crystal_index, lengths, "amax")
        max_stress = evaluation.stresses.abs().flatten(1).amax(dim=1)
        return _Snapshot(walkers, batch, evaluation, max_force, max_stress), forces

    def _judge(self, snapshot: _Snapshot, forces: GeneralisedForces) -> Tensor:
        """End the structures that are done; which ones go on `[c]`."""
        finite = (torch.isfinite(snapshot.evaluation.energies) & torch.isfinite(forces.largest)).tolist()
        converged = (forces.largest < self.fmax).tolist()
        steps = snapshot.walkers.steps.tolist()
        every = self.options.trajectory_every
        keep = []
        for slot, index in enumerate(self.moving):
            course = self.courses[index]
            if finite[slot]:
                course.last, course.slot = snapshot, slot
                if steps[slot] == 0:
                    course.initial_energy = float(snapshot.evaluation.energies[slot])
                if every is not None and steps[slot] % every == 0:
                    course.trajectory.append(course.structure())
            reason: RelaxationReason | None = None
            if not finite[slot]:
                reason = "non-finite"
            elif converged[slot]:
                reason = "converged"
            elif steps[slot] >= self.max_steps:
                reason = "max-steps"
            keep.append(reason is None)
            if reason is not None:
                self._end(index, reason)
        self.moving = [index for index, stays in zip(self.moving, keep, strict=True) if stays]
        return torch.tensor(keep)

    def _drop_exploded(self, walkers: Walkers) -> Walkers | None:
        lost = exploded(walkers.batch(), torch.linalg.det(walkers.first_cell).abs())
        if not bool(lost.any()):
            return walkers
        flags = lost.tolist()
        for index, gone in zip(self.moving, flags, strict=True):
            if gone:
                self._end(index, "exploded")
        self.moving = [index for index, gone in zip(self.moving, flags, strict=True) if not gone]
        return walkers.select(~lost) if self.moving else None

    def _end(self, index: int, reason: RelaxationReason) -> None:
        self.ended[index] = self.courses[index].end(reason, self.options.trajectory_every)
        self.courses[index].last = None  # lets go of the tensors of a batch that may be long past
        if self.progress is not None:
            self.progress.update(len(self.ended), len(self.courses), reason)
