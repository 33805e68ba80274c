"""`Relaxer`: moves structures to a local minimum of a potential."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from chggen_kit.interfaces.sampler import Progress

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from chggen_kit.symmetry import SymmetryOperations

RelaxationReason = Literal[
    "converged", "max-steps", "non-finite", "exploded", "overlap", "unsupported-element", "out-of-memory"
]
CellPolicy = Literal["free", "fixed"]


@dataclass(frozen=True)
class Relaxation:
    """Outcome of one relaxation.

    Attributes:
        structure: the final structure, in the atom order of the input; for a failure the last finite one.
        initial_energy: total energy of the input in eV (NaN when it could not be evaluated).
        energy: total energy of `structure` in eV (NaN when it could not be evaluated).
        converged: forces and (with a free cell) stress below the limits.
        reason: `converged`, or why it ended otherwise.
        steps: optimiser steps taken.
        max_force: largest force in eV/Å.
        max_stress: largest absolute stress component in eV/Å^3.
        trajectory: structures along the way when they were asked for.
        freed: whether this is a free relaxation that followed one within a symmetry, and gained more than asked for.
    """

    structure: Structure
    initial_energy: float
    energy: float
    converged: bool
    reason: RelaxationReason
    steps: int
    max_force: float
    max_stress: float
    trajectory: tuple[Structure, ...] = field(default=())
    freed: bool = False

    @property
    def energy_change_per_atom(self) -> float:
        """Energy change on relaxation in eV/atom (negative: it went down)."""
        return (self.energy - self.initial_energy) / len(self.structure)


class Relaxer(ABC):
    """Relaxes many structures, each on its own.

    Laws: order is kept; every input has an outcome; a structure that explodes or turns NaN never harms the others;
    batched and single runs agree to 1 meV/atom with the same reason; convergence counts the cell as well. Memory that
    runs out ends at most the one structure that does not fit alone (`out-of-memory`).

    With symmetry operations, a structure stays within its symmetric subspace: forces f and stresses s are replaced by
    their means over the group, P f = 1/|G| sum_g R_g f[pi_g^-1] and P s = 1/|G| sum_g R_g s R_g^T, before anything
    else is made of them, so that limits, `max_force` and `max_stress` count the projected ones. No step may leave the
    subspace by more than rounding: the operations hold at the end as they did at the start. The minimum within the
    subspace can be a saddle outside of it.
    """

    @abstractmethod
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
        """Relax `structures`.

        Args:
            structures: what to relax; not mutated.
            cell: whether the cell relaxes too.
            fixed: for each structure the atoms (True) whose fractional coordinates stay; None for none.
            symmetry: for each structure the operations that it keeps; None for none. The structure must have them
                exactly already (see `chggen_kit.symmetry.find_operations`), and fixed atoms must be whole orbits.
            fmax: limit in eV/Å on every component vector: atomic forces, and with a free cell the generalised forces
                of the Frechet cell filter (as ASE counts them).
            max_steps: steps after which a structure ends with `max-steps`.
            progress: told how many structures have ended.

        Raises:
            InputError: for limits that are not positive, masks or operations that do not fit the structures, or a
                relaxer that cannot keep a symmetry.
        """
