"""The relaxer `torch-sim`: the FIRE of the package torch-sim under its in-flight batching, over any `Potential`.

Releases up to 0.3 (Python 3.11) and later ones (Python 3.12) differ in how an optimiser is made; both are served.
Imported when the relaxer is chosen: the package is optional.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from pymatgen.core import Structure
from torch import Tensor

from chggen_kit.errors import InputError
from chggen_kit.interfaces import Potential, Progress, Relaxation, Relaxer
from chggen_kit.interfaces.relaxer import CellPolicy, RelaxationReason
from chggen_kit.io.convert import with_coordinates
from chggen_kit.relaxers.limits import exploded, first_objection
from chggen_kit.relaxers.memory import is_out_of_memory, release_memory
from chggen_kit.relaxers.options import TorchSimOptions
from chggen_kit.relaxers.structures import checked_masks
from chggen_kit.state import CrystalBatch
from chggen_kit.torus import wrap

if TYPE_CHECKING:
    from chggen_kit.symmetry import SymmetryOperations

_LOG = logging.getLogger(__name__)
_SWAPPED = [1, 0, 2]
"""Axes of a left-handed cell in the order that makes it right-handed, which torch-sim takes for granted."""


@contextmanager
def _root_logger_kept() -> Iterator[None]:
    """Releases from 0.5 on replace the handlers of the root logger when they are imported."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


with _root_logger_kept():
    import torch_sim
    from torch_sim.autobatching import InFlightAutoBatcher
    from torch_sim.models.interface import ModelInterface


def build(options: TorchSimOptions, potential: Potential) -> TorchSimRelaxer:
    """The relaxer `torch-sim`."""
    return TorchSimRelaxer(potential, options)


class PotentialModel(ModelInterface):
    """Any `Potential` as a model of torch-sim, float64 on the CPU (the potential has a device of its own).

    Args:
        potential: what computes.
    """

    def __init__(self, potential: Potential) -> None:
        super().__init__()
        self._potential = potential
        self._device, self._dtype = torch.device("cpu"), torch.float64
        self._compute_forces = self._compute_stress = True
        self._memory_scales_with = "n_atoms"

    def forward(self, state: Any, **_: Any) -> dict[str, Tensor]:  # noqa: ANN401 - the states of torch-sim
        """Energies, forces and stresses in eV, eV/Å, eV/Å^3 of a `SimState`."""
        result = self._potential.evaluate(_batch(state))
        return {"energy": result.energies, "forces": result.forces, "stress": result.stresses}


def _batch(state: Any) -> CrystalBatch:  # noqa: ANN401 - the states of torch-sim
    cell = state.cell.transpose(1, 2)  # columns there, rows here
    frac = torch.einsum("ai,aij->aj", state.positions, torch.linalg.inv(cell)[state.system_idx])
    return CrystalBatch(wrap(frac), cell, state.atomic_numbers, torch.bincount(state.system_idx))


@dataclass(frozen=True)
class _Last:
    """The last finite state of one structure."""

    frac: Tensor
    cell: Tensor
    energy: float
    max_force: float
    max_stress: float
    steps: int


class _TooMuchError(Exception):
    """The memory ran out; never leaves this module."""


class TorchSimRelaxer(Relaxer):
    """FIRE of torch-sim (its flavour `ase_fire`, Frechet cell filter), with the limits and reasons of `FireRelaxer`.

    The batch is filled by torch-sim's `InFlightAutoBatcher` up to the atoms that the potential declares. Neither fixed
    atoms nor a symmetry can be kept. When the memory runs out, what has not ended starts again in batches half as
    large.
    """

    def __init__(self, potential: Potential, options: TorchSimOptions | None = None) -> None:
        self._potential = potential
        self._options = options or TorchSimOptions()

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
            InputError: for limits that are not positive, disordered structures, or atoms or a symmetry to be kept.
        """
        masks = checked_masks(structures, fixed, fmax, max_steps)
        if any(bool(mask.any()) for mask in masks) or any(one is not None for one in symmetry or ()):
            raise InputError(
                "The relaxer 'torch-sim' keeps neither fixed atoms nor a symmetry. Choose 'fire' for that."
            )
        run = _Run(self._potential, structures, cell == "free", fmax, max_steps, progress)
        room = self._options.max_atoms or self._potential.info.max_atoms_per_batch
        while run.waiting:
            try:
                run.run(room)
            except _TooMuchError:
                room = run.halve(room)
                release_memory()
        return [run.ended[index] for index in range(len(structures))]


class _Run:
    """One call of `TorchSimRelaxer.relax`."""

    def __init__(
        self,
        potential: Potential,
        structures: Sequence[Structure],
        cell_moves: bool,
        fmax: float,
        max_steps: int,
        progress: Progress | None,
    ) -> None:
        self.model, self.structures, self.cell_moves = PotentialModel(potential), structures, cell_moves
        self.fmax, self.max_steps, self.progress = fmax, max_steps, progress
        self.ended: dict[int, Relaxation] = {}
        self.initial: dict[int, float] = {}
        self.last: dict[int, _Last] = {}
        self.moving: list[int] = []
        self.waiting: list[int] = []
        self.left_handed = [bool(torch.linalg.det(torch.tensor(one.lattice.matrix)) < 0) for one in structures]
        for index, one in enumerate(structures):
            reason = first_objection(one, potential.info)
            if reason is None:
                self.waiting.append(index)
            else:
                self._end(index, reason)

    def run(self, room: int) -> None:
        """Relax all that waits, at most `room` atoms at a time."""
        # What exceeds the room goes by itself, first: otherwise its size would hold the room up for all.
        alone = [index for index in self.waiting if len(self.structures[index]) > room]
        order = alone[:1] or list(self.waiting)
        steps = dict.fromkeys(order, 0)
        largest = max(len(self.structures[index]) for index in order)
        begin, advance = self._optimiser()
        batcher = InFlightAutoBatcher(
            self.model, memory_scales_with="n_atoms", max_memory_scaler=float(max(room, largest))
        )
        batcher.load_states(self._guarded(begin, self._state(index), [index]) for index in order)
        state = batcher.next_batch(None, None)[0]
        while state is not None:
            self.moving = [order[place] for place in batcher.current_idx]
            done = torch.tensor([self._judge(state, slot, steps[index]) for slot, index in enumerate(self.moving)])
            if bool(done.any()):
                state = batcher.next_batch(state, done)[0]
                continue
            state = self._guarded(advance, state, self.moving)
            for index in self.moving:
                steps[index] += 1

    def halve(self, room: int) -> int:
        """Half of `room`; a structure that was alone ends, as it does not fit at all."""
        if len(self.moving) == 1:
            self._end(self.moving[0], "out-of-memory")
            return room
        atoms = sum(len(self.structures[index]) for index in self.moving)
        _LOG.warning("Out of memory with %d atoms: starting again with at most %d.", atoms, atoms // 2)
        return min(room, atoms // 2)

    def _optimiser(self) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
        """What makes a state of the optimiser, and what takes it a step further."""
        if hasattr(torch_sim, "frechet_cell_fire"):
            make = torch_sim.frechet_cell_fire if self.cell_moves else torch_sim.optimizers.fire
            begin, advance = make(self.model)
            return begin, advance
        filters = torch_sim.CellFilter.frechet if self.cell_moves else None
        return (
            lambda state: torch_sim.fire_init(state, self.model, cell_filter=filters),
            lambda state: torch_sim.fire_step(state, self.model),
        )

    def _guarded(self, call: Callable[[Any], Any], state: Any, moving: list[int]) -> Any:  # noqa: ANN401 - as above
        """The result of `call`, which computes the structures `moving`."""
        try:
            return call(state)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        self.moving = moving
        raise _TooMuchError

    def _state(self, index: int) -> Any:  # noqa: ANN401 - the states of torch-sim
        structure = self.structures[index]
        cell = torch.tensor(structure.lattice.matrix, dtype=torch.float64)
        axes = _SWAPPED if self.left_handed[index] else [0, 1, 2]
        return torch_sim.SimState(
            positions=torch.tensor(structure.frac_coords, dtype=torch.float64) @ cell,
            masses=torch.ones(len(structure), dtype=torch.float64),  # of no use to its FIRE
            cell=cell[axes].T[None].contiguous(),
            pbc=True,
            atomic_numbers=torch.tensor([site.specie.Z for site in structure], dtype=torch.int64),
            system_idx=torch.zeros(len(structure), dtype=torch.int64),
        )

    def _judge(self, state: Any, slot: int, steps: int) -> bool:  # noqa: ANN401 - the states of torch-sim
        """Whether one structure of the batch is done; it has ended then."""
        index = self.moving[slot]
        if index in self.ended:
            return True
        atoms = state.system_idx == slot
        cell, energy = state.cell[slot].T, float(state.energy[slot])
        frac = state.positions[atoms] @ torch.linalg.inv(cell)
        batch = CrystalBatch(wrap(frac), cell[None], state.atomic_numbers[atoms], torch.tensor([len(frac)]))
        if bool(exploded(batch, torch.tensor([self.structures[index].volume], dtype=torch.float64))[0]):
            return self._end(index, "exploded")
        forces = state.forces[atoms].norm(dim=1).max()
        cell_forces = state.cell_forces[slot].norm(dim=1).max() if self.cell_moves else torch.zeros(())
        largest = float(torch.stack([forces, cell_forces.to(forces)]).max())
        if not (torch.isfinite(torch.tensor([energy, largest])).all()):
            return self._end(index, "non-finite")
        axes = _SWAPPED if self.left_handed[index] else [0, 1, 2]
        stress = float(state.stress[slot].abs().max()) if self.cell_moves else float("nan")
        self.last[index] = _Last(frac[:, axes], cell[axes], energy, float(forces), stress, steps)
        self.initial.setdefault(index, energy)
        if largest < self.fmax:
            return self._end(index, "converged")
        return steps >= self.max_steps and self._end(index, "max-steps")

    def _end(self, index: int, reason: RelaxationReason) -> bool:
        start, last = self.structures[index], self.last.get(index)
        nan = float("nan")
        self.ended[index] = Relaxation(
            structure=start.copy() if last is None else with_coordinates(start, last.frac.numpy(), last.cell.numpy()),
            initial_energy=self.initial.get(index, nan),
            energy=nan if last is None else last.energy,
            converged=reason == "converged",
            reason=reason,
            steps=0 if last is None else last.steps,
            max_force=nan if last is None else last.max_force,
            max_stress=nan if last is None else last.max_stress,
        )
        if index in self.waiting:
            self.waiting.remove(index)
        if self.progress is not None:
            self.progress.update(len(self.ended), len(self.structures), reason)
        return True
