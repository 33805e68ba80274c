"""Any `Potential` as an ASE calculator."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from chggen_kit.errors import InputError
from chggen_kit.interfaces import Potential
from chggen_kit.state import CrystalBatch
from chggen_kit.torus import wrap


class PotentialCalculator(Calculator):
    """ASE calculator over a `Potential`: energy in eV, forces in eV/Å, stress in eV/Å^3 (Voigt order).

    Args:
        potential: what computes.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces", "stress"]

    def __init__(self, potential: Potential, **kwargs: Any) -> None:  # noqa: ANN401 - passed on to ASE
        super().__init__(**kwargs)
        self.potential = potential

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Fill `results` for `atoms`.

        Raises:
            InputError: for atoms that are not periodic in all three directions, or elements that are not covered.
        """
        super().calculate(atoms, properties or ["energy"], system_changes)
        current: Atoms = self.atoms
        if not current.pbc.all():
            raise InputError("A Potential computes crystals: the atoms must be periodic in all three directions.")
        evaluation = self.potential.evaluate(
            CrystalBatch(
                wrap(torch.tensor(current.get_scaled_positions(wrap=False), dtype=torch.float64)),
                torch.tensor(current.cell.array[None], dtype=torch.float64),
                torch.tensor(current.numbers, dtype=torch.int64),
                torch.tensor([len(current)]),
            )
        )
        energy = float(evaluation.energies[0])
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "forces": evaluation.forces.numpy(),
            "stress": full_3x3_to_voigt_6_stress(evaluation.stresses[0].numpy()),
        }
