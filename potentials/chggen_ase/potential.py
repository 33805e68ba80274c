"""Any ASE calculator as a `Potential`, one structure at a time."""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.abc import GetPropertiesMixin
from ase.calculators.calculator import CalculatorError, PropertyNotImplementedError
from ase.data import atomic_numbers

from chggen_ase.options import AseOptions
from chggen_kit.errors import InputError, PluginError, unknown_name
from chggen_kit.interfaces import Evaluation, PotentialInfo
from chggen_kit.plugins.entry import load_import_string
from chggen_kit.potentials import GuardedPotential, undefined
from chggen_kit.relaxers.memory import is_out_of_memory
from chggen_kit.state import CrystalBatch

_LOG = logging.getLogger(__name__)
_FAILURES = (CalculatorError, ArithmeticError, LookupError, RuntimeError, TypeError, ValueError, np.linalg.LinAlgError)
"""What calculators raise for a structure that they cannot do."""


def load(options: AseOptions) -> AsePotential:
    """The calculator that `options` names.

    Raises:
        InputError: when it cannot be imported or made, or an element is unknown.
    """
    try:
        factory = load_import_string(options.calculator)
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"The calculator {options.calculator!r} cannot be imported: {error}. Write module:Class, and check that "
            "its package is installed in this environment."
        ) from error
    try:
        calculator = factory(**options.arguments)
    except Exception as error:  # whatever a calculator raises for its arguments
        raise InputError(
            f"The calculator {options.calculator!r} cannot be made with {dict(options.arguments)}: "
            f"{type(error).__name__}: {error}."
        ) from error
    if not isinstance(calculator, GetPropertiesMixin):
        raise InputError(
            f"{options.calculator!r} gives a {type(calculator).__name__}, which is no ASE calculator: name a class, or "
            "a function that returns one."
        )
    return AsePotential(calculator, options)


class AsePotential(GuardedPotential):
    """An ASE calculator: `get_potential_energy`, `get_forces` and `get_stress` of periodic structures.

    A structure for which it raises an error gets NaN, and a warning; when it does so for every structure of the first
    call, that is an error. All elements count as covered unless `options.elements` says else.
    """

    def __init__(self, calculator: Any, options: AseOptions) -> None:  # noqa: ANN401 - ASE has no type information
        self._calculator = calculator
        self._proven = False
        symbols = options.elements
        for symbol in symbols or ():
            if symbol not in atomic_numbers or symbol == "X":
                raise InputError(unknown_name("element", symbol, set(atomic_numbers) - {"X"}))
        self._info = PotentialInfo(
            name=options.name or type(calculator).__name__.lower(),
            energy_frame=options.energy_frame,
            elements=frozenset(range(1, 119) if symbols is None else (atomic_numbers[s] for s in symbols)),
            cutoff_A=options.cutoff_A or math.inf,
            max_atoms_per_batch=options.max_atoms_per_batch,
            licence=options.licence,
        )

    @property
    def info(self) -> PotentialInfo:
        """What the potential is."""
        return self._info

    def compute(self, batch: CrystalBatch) -> Evaluation:
        """Values of `batch`.

        Raises:
            PluginError: when the calculator has no energy, forces or stress, or fails for every structure of the first
                call.
        """
        result = undefined(batch)
        bounds = batch.offsets.tolist()
        last: Exception | None = None
        for index in range(batch.n_crystals):
            atoms = slice(bounds[index], bounds[index + 1])
            try:
                energy, forces, stress = self._one(batch.select([index]))
            except PropertyNotImplementedError as error:
                raise PluginError(
                    f"The calculator {self._info.name!r} lacks what relaxations need: {error}. It must have an energy, "
                    "forces and a stress for periodic structures."
                ) from error
            except _FAILURES as error:
                if is_out_of_memory(error):
                    raise  # a matter of this machine, which a relaxer tells from a structure without a value
                last = error
                _LOG.warning("%s cannot compute a structure: %s: %s", self._info.name, type(error).__name__, error)
                continue
            self._proven = True
            result.energies[index] = energy
            result.forces[atoms] = torch.as_tensor(np.array(forces, dtype=float))
            result.stresses[index] = torch.as_tensor(np.array(stress, dtype=float))
        if last is not None and not self._proven:
            raise PluginError(
                f"The calculator {self._info.name!r} computed no structure of its first batch: "
                f"{type(last).__name__}: {last}. Check its arguments, and whether it covers these elements."
            ) from last
        return result

    def _one(self, crystal: CrystalBatch) -> tuple[float, Any, Any]:
        atoms = Atoms(
            numbers=crystal.species.numpy(),
            scaled_positions=crystal.frac_coords.numpy(),
            cell=crystal.lattice[0].numpy(),
            pbc=True,
        )
        atoms.calc = self._calculator
        return float(atoms.get_potential_energy()), atoms.get_forces(), atoms.get_stress(voigt=False)
