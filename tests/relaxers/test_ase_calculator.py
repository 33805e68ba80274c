"""The ASE calculator returns what its potential computes, in ASE's order."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from pymatgen.io.ase import AseAtomsAdaptor

from chggen_kit.errors import InputError
from chggen_kit.io import to_batch
from chggen_kit.relaxers.ase_calculator import PotentialCalculator
from chggen_kit.testing.pair_potential import PairPotential


def test_results_are_the_potentials_and_the_stress_has_ases_sign_and_order() -> None:
    atoms = bulk("Ar", "fcc", 3.6, cubic=True)
    atoms.rattle(0.1, seed=1)
    atoms.calc = PotentialCalculator(PairPotential())
    evaluation = PairPotential().evaluate(to_batch([AseAtomsAdaptor.get_structure(atoms)]))
    assert atoms.get_potential_energy() == pytest.approx(float(evaluation.energies[0]), abs=1e-9)
    np.testing.assert_allclose(atoms.get_forces(), evaluation.forces, atol=1e-9)
    stress, cell, step = atoms.get_stress(), atoms.cell.array.copy(), 1e-4
    for voigt, (row, column) in enumerate([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]):
        energies = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[row, column] += sign * step / 2
            strain[column, row] += sign * step / 2
            strained = atoms.copy()
            strained.set_cell(cell @ strain, scale_atoms=True)
            strained.calc = atoms.calc
            energies.append(strained.get_potential_energy())
        assert stress[voigt] == pytest.approx((energies[0] - energies[1]) / (2 * step) / atoms.get_volume(), abs=1e-6)


def test_atoms_that_are_not_periodic_are_refused() -> None:
    atoms = bulk("Ar", "fcc", 3.6)
    atoms.pbc = (True, True, False)
    atoms.calc = PotentialCalculator(PairPotential())
    with pytest.raises(InputError, match="periodic"):
        atoms.get_potential_energy()
