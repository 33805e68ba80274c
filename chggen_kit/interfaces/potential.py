"""`Potential`: energies, forces and stresses of batched crystals."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from chggen_kit.state import CrystalBatch


@dataclass(frozen=True)
class PotentialInfo:
    """What a potential is.

    Attributes:
        name: name and version of the weights, e.g. `chgnet-0.3.0`.
        energy_frame: which energies it predicts: `mp2020-corrected`, `raw-pbe`, `r2scan`, ...; never mixed in a hull.
        elements: atomic numbers that it covers.
        cutoff_A: longest interaction range of one layer in Å.
        max_atoms_per_batch: the largest batch, in atoms, that `evaluate` should be given (memory law).
        licence: licence of the weights.
        mirror_invariant: whether a mirror image has the same energy, as it must have in nature; False for networks that
            are built for proper rotations only.
    """

    name: str
    energy_frame: str
    elements: frozenset[int]
    cutoff_A: float
    max_atoms_per_batch: int
    licence: str
    mirror_invariant: bool = True


@dataclass(frozen=True)
class Evaluation:
    """Result of `Potential.evaluate`, float64 on the CPU.

    Attributes:
        energies: total energies in eV `[n_crystals]`.
        forces: in eV/Å `[n_atoms, 3]`.
        stresses: in eV/Å^3 `[n_crystals, 3, 3]`, symmetric, dE/d(strain)/V (positive when the cell wants to shrink,
            as in ASE).
    """

    energies: Tensor
    forces: Tensor
    stresses: Tensor


class Potential(ABC):
    """An interatomic potential.

    Laws (checked by `chggen_kit.testing.check_potential`): forces are minus the gradient of the energy and stresses
    its strain derivative over the volume; energies are totals, extensive under supercells; a crystal alone has the
    values that it has in a batch; inputs are not mutated; outputs are detached. A crystal that cannot be evaluated
    gets NaN for its own energy, forces and stress, and leaves the rest of the batch alone.
    """

    @property
    @abstractmethod
    def info(self) -> PotentialInfo:
        """What the potential is."""

    @abstractmethod
    def evaluate(self, batch: CrystalBatch) -> Evaluation:
        """Energies, forces and stresses of `batch`.

        Raises:
            InputError: when an element is not covered.
        """
