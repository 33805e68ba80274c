"""The relaxer `ase-fire`: ASE's FIRE under its `FrechetCellFilter`, one structure after another.

The reference that the batched relaxer is measured against.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from ase import Atoms
from ase.constraints import FixScaled
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE
from pymatgen.core import Structure
from torch import Tensor

from chggen_kit.errors import InputError
from chggen_kit.interfaces import Potential, Progress, Relaxation, Relaxer
from chggen_kit.interfaces.relaxer import CellPolicy, RelaxationReason
from chggen_kit.io.convert import with_coordinates
from chggen_kit.relaxers.ase_calculator import PotentialCalculator
from chggen_kit.relaxers.limits import exploded, first_objection
from chggen_kit.relaxers.memory import is_out_of_memory
from chggen_kit.relaxers.options import AseFireOptions
from chggen_kit.relaxers.structures import checked_masks
from chggen_kit.state import CrystalBatch

if TYPE_CHECKING:
    from chggen_kit.symmetry import SymmetryOperations

__all__ = ["AseFireOptions", "AseFireRelaxer", "build"]


def build(options: AseFireOptions, potential: Potential) -> AseFireRelaxer:
    """The relaxer `ase-fire`."""
    return AseFireRelaxer(potential, options)


class AseFireRelaxer(Relaxer):
    """ASE's FIRE with its default parameters; the same limits and reasons as the batched relaxer."""

    def __init__(self, potential: Potential, options: AseFireOptions | None = None) -> None:
        self._potential = potential
        self._options = options or AseFireOptions()

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
            InputError: for limits that are not positive, masks of the wrong length, disordered structures, or
                operations to be kept, which this relaxer cannot do.
        """
        if symmetry is not None and any(one is not None for one in symmetry):
            raise InputError("The relaxer 'ase-fire' cannot keep a symmetry. Choose the relaxer 'fire' for that.")
        masks = checked_masks(structures, fixed, fmax, max_steps)
        outcomes = []
        for structure, mask in zip(structures, masks, strict=True):
            outcomes.append(self._relax_one(structure, mask, cell == "free", fmax, max_steps))
            if progress is not None:
                progress.update(len(outcomes), len(structures), outcomes[-1].reason)
        return outcomes

    def _relax_one(
        self, structure: Structure, fixed: Tensor, cell_moves: bool, fmax: float, max_steps: int
    ) -> Relaxation:
        objection = first_objection(structure, self._potential.info)
        if objection is not None:
            return _outcome(structure, objection)
        atoms = Atoms(
            numbers=[site.specie.Z for site in structure],
            cell=structure.lattice.matrix,
            scaled_positions=structure.frac_coords,
            pbc=True,
            calculator=PotentialCalculator(self._potential),
        )
        if bool(fixed.any()):
            atoms.set_constraint(FixScaled(fixed.nonzero()[:, 0].tolist()))
        optimiser = FIRE(FrechetCellFilter(atoms) if cell_moves else atoms, logfile=None)
        reason: RelaxationReason = "max-steps"
        initial = np.nan
        last = _outcome(structure, "non-finite")
        trajectory: list[Structure] = []
        every = self._options.trajectory_every
        for converged in _progress(optimiser, fmax, max_steps):
            if converged is None:
                reason = "out-of-memory"
                break
            if _has_exploded(atoms, structure):
                reason = "exploded"
                break
            energy, forces = atoms.get_potential_energy(), atoms.get_forces(apply_constraint=False)
            stress = atoms.get_stress(apply_constraint=False)
            if not (np.isfinite(energy) and np.isfinite(forces).all() and np.isfinite(stress).all()):
                reason = "non-finite"
                break
            initial = energy if optimiser.nsteps == 0 else initial
            moving = forces[(~fixed).numpy()]
            last = _outcome(
                with_coordinates(structure, atoms.get_scaled_positions(wrap=False), atoms.cell.array),
                "max-steps",
                energies=(initial, energy),
                steps=optimiser.nsteps,
                max_force=float(np.linalg.norm(moving, axis=1).max(initial=0.0)),
                max_stress=float(np.abs(stress).max()),
            )
            if every is not None and optimiser.nsteps % every == 0:
                trajectory.append(last.structure)
            if converged:
                reason = "converged"
        if every is not None and last.steps % every:
            trajectory.append(last.structure)
        return _outcome(
            last.structure,
            reason,
            energies=(last.initial_energy, last.energy),
            steps=last.steps,
            max_force=last.max_force,
            max_stress=last.max_stress,
            trajectory=tuple(trajectory),
        )


def _progress(optimiser: FIRE, fmax: float, max_steps: int) -> Iterator[bool | None]:
    """Whether each step has converged; None where the memory ran out, which ends the steps."""
    try:
        yield from optimiser.irun(fmax=fmax, steps=max_steps)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        yield None


def _has_exploded(atoms: Atoms, start: Structure) -> bool:
    batch = CrystalBatch(
        torch.tensor(atoms.get_scaled_positions(), dtype=torch.float64),
        torch.tensor(atoms.cell.array[None], dtype=torch.float64),
        torch.tensor(atoms.numbers, dtype=torch.int64),
        torch.tensor([len(atoms)]),
    )
    return bool(exploded(batch, torch.tensor([start.volume], dtype=torch.float64))[0])


def _outcome(
    structure: Structure,
    reason: RelaxationReason,
    *,
    energies: tuple[float, float] = (float("nan"), float("nan")),
    steps: int = 0,
    max_force: float = float("nan"),
    max_stress: float = float("nan"),
    trajectory: tuple[Structure, ...] = (),
) -> Relaxation:
    return Relaxation(
        structure=structure.copy(),
        initial_energy=energies[0],
        energy=energies[1],
        converged=reason == "converged",
        reason=reason,
        steps=steps,
        max_force=max_force,
        max_stress=max_stress,
        trajectory=trajectory,
    )
