"""The relaxer `fire`: FIRE on positions and cells of many structures at once, over any `Potential`."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from pymatgen.core import Structure
from torch import Tensor

from chggen_kit.interfaces import Evaluation, Potential, Progress, Relaxation, Relaxer
from chggen_kit.interfaces.relaxer import CellPolicy, RelaxationReason
from chggen_kit.relaxers.course import Course, Snapshot
from chggen_kit.relaxers.limits import exploded, first_objection
from chggen_kit.relaxers.memory import is_out_of_memory, release_memory
from chggen_kit.relaxers.options import FireOptions
from chggen_kit.relaxers.projection import SymmetryProjector, checked_projectors, project
from chggen_kit.relaxers.structures import checked_masks
from chggen_kit.relaxers.walkers import GeneralisedForces, Walkers
from chggen_kit.state import CrystalBatch

if TYPE_CHECKING:
    from chggen_kit.symmetry import SymmetryOperations

__all__ = ["FireOptions", "FireRelaxer", "build"]

_LOG = logging.getLogger(__name__)


def build(options: FireOptions, potential: Potential) -> FireRelaxer:
    """The relaxer `fire`."""
    return FireRelaxer(potential, options)


class FireRelaxer(Relaxer):
    """Batched FIRE with the algorithm and parameters of ASE's `FIRE` under `FrechetCellFilter`.

    The batch is filled up to the potential's `max_atoms_per_batch` and `max_batch` structures, in the order of the
    input; a structure that ends makes room for the next. `max_force` counts atoms that may move. When the memory runs
    out, the batch is halved for the rest of the call: the structures beyond half the atoms wait, as they are.

    A relaxation ends as `overlap` (without an evaluation) when two atoms, or an atom and its image, start closer than
    0.5 Å or the cell is flat; as `out-of-memory` when it does not fit alone; as `non-finite` when the potential gives
    no number; as `exploded` when the cell's volume leaves [1/4, 4] times the first one or exceeds 1000 Å^3/atom, or
    atoms come closer than 0.5 Å.
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
        symmetry: Sequence[SymmetryOperations | None] | None = None,
        fmax: float = 0.1,
        max_steps: int = 500,
        progress: Progress | None = None,
    ) -> list[Relaxation]:
        """Relax `structures`; see `Relaxer.relax`.

        Raises:
            InputError: for limits that are not positive, masks or operations that do not fit the structures, or
                disordered structures.
        """
        masks = checked_masks(structures, fixed, fmax, max_steps)
        projectors = checked_projectors(structures, symmetry, masks)
        cell_moves = cell == "free"
        run = _Run(self._potential, self._options, structures, masks, projectors, cell_moves, fmax, max_steps, progress)
        return run.outcomes()


class _Run:
    """One call of `FireRelaxer.relax`."""

    def __init__(
        self,
        potential: Potential,
        options: FireOptions,
        structures: Sequence[Structure],
        masks: Sequence[Tensor],
        projectors: Sequence[SymmetryProjector | None],
        cell_moves: bool,
        fmax: float,
        max_steps: int,
        progress: Progress | None,
    ) -> None:
        self.potential, self.options, self.masks, self.projectors = potential, options, masks, projectors
        self.cell_moves, self.fmax, self.max_steps, self.progress = cell_moves, fmax, max_steps, progress
        self.courses = [Course(structure) for structure in structures]
        self.ended: dict[int, Relaxation] = {}
        self.waiting: deque[int] = deque()
        self.moving: list[int] = []
        self.paused: dict[int, Walkers] = {}
        self.max_atoms = potential.info.max_atoms_per_batch if options.max_atoms is None else options.max_atoms

    def outcomes(self) -> list[Relaxation]:
        for index, course in enumerate(self.courses):
            reason = first_objection(course.start, self.potential.info)
            if reason is None:
                self.waiting.append(index)
            else:
                self._end(index, reason)
        walkers = self._refill(None)
        while walkers is not None:
            batch = walkers.batch()
            evaluation = self._evaluate(batch)
            walkers = self._halve(walkers) if evaluation is None else self._advance(walkers, batch, evaluation)
            walkers = self._refill(walkers)
        return [self.ended[index] for index in range(len(self.courses))]

    def _refill(self, walkers: Walkers | None) -> Walkers | None:
        room = self.max_atoms - sum(len(self.courses[index].start) for index in self.moving)
        parts = [] if walkers is None else [walkers]
        while self.waiting and len(self.moving) < self.options.max_batch:
            start = self.courses[self.waiting[0]].start
            if len(start) > room and self.moving:
                break
            index = self.waiting.popleft()
            room -= len(start)
            self.moving.append(index)
            parts.append(self.paused.pop(index) if index in self.paused else self._at_rest(index))
        return Walkers.join(parts) if parts else None

    def _at_rest(self, index: int) -> Walkers:
        start = self.courses[index].start
        return Walkers.start(
            torch.tensor(start.frac_coords, dtype=torch.float64),
            torch.tensor(start.lattice.matrix, dtype=torch.float64),
            torch.tensor([site.specie.Z for site in start], dtype=torch.int64),
            self.masks[index],
            self.options,
        )

    def _evaluate(self, batch: CrystalBatch) -> Evaluation | None:
        """Energies, forces and stresses; None when there is not enough memory for so many atoms."""
        try:
            return self.potential.evaluate(batch)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            _LOG.warning(
                "Out of memory with %d atoms in %d structures: %s",
                batch.n_atoms,
                batch.n_crystals,
                str(error).partition("\n")[0] or type(error).__name__,
            )
        # Only here is the error gone, and with it the frames that hold the tensors of the failed evaluation.
        release_memory()
        return None

    def _halve(self, walkers: Walkers) -> Walkers | None:
        """Half the atoms go on, the structures beyond them wait as they are; one that was alone ends."""
        if len(self.moving) == 1:
            self._end(self.moving.pop(), "out-of-memory")
            return None
        ends = walkers.num_atoms.cumsum(0)
        self.max_atoms = min(self.max_atoms, int(ends[-1]) // 2)
        fitting = max(1, int((ends <= self.max_atoms).sum()))
        place = torch.arange(len(self.moving))
        for slot in reversed(range(fitting, len(self.moving))):
            self.paused[self.moving[slot]] = walkers.select(place == slot)
            self.waiting.appendleft(self.moving[slot])
        del self.moving[fitting:]
        _LOG.warning("Batches have at most %d atoms from here on.", self.max_atoms)
        return walkers.select(place < fitting)

    def _advance(self, walkers: Walkers, batch: CrystalBatch, evaluation: Evaluation) -> Walkers | None:
        """End what is done, and take the others a step further."""
        snapshot, forces = self._snapshot(walkers, batch, evaluation)
        keep = self._judge(snapshot, forces)
        if not bool(keep.any()):
            return None
        left = forces.select(keep, snapshot.batch.crystal_index)
        return self._drop_exploded(walkers.select(keep).step(left, self.options))

    def _snapshot(self, walkers: Walkers, batch: CrystalBatch, raw: Evaluation) -> tuple[Snapshot, GeneralisedForces]:
        projectors, offsets = [self.projectors[index] for index in self.moving], batch.offsets.tolist()
        evaluation = Evaluation(raw.energies, *project(projectors, raw.forces, raw.stresses, offsets))
        forces = walkers.forces(evaluation, batch.volumes, cell_moves=self.cell_moves)
        # Symmetric already but for rounding, which must not add up over the steps.
        forces = GeneralisedForces(*project(projectors, forces.atoms, forces.cells, offsets), forces.largest)
        lengths = evaluation.forces.norm(dim=1) * walkers.movable
        max_force = lengths.new_zeros(batch.n_crystals).scatter_reduce(0, batch.crystal_index, lengths, "amax")
        max_stress = evaluation.stresses.abs().flatten(1).amax(dim=1)
        return Snapshot(walkers, batch, evaluation, max_force, max_stress), forces

    def _judge(self, snapshot: Snapshot, forces: GeneralisedForces) -> Tensor:
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
