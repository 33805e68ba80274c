"""Any ASE calculator as a potential: its own values, the laws, and what is refused."""

from __future__ import annotations

import logging
import math
from typing import Any

import pytest
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from chggen_ase.options import AseOptions
from chggen_ase.potential import AsePotential, load
from chggen_kit.errors import InputError, PluginError
from chggen_kit.plugins.options import validate_options
from chggen_kit.plugins.registry import Registry
from chggen_kit.state import CrystalBatch
from chggen_kit.testing.crystals import disturbed, face_centred
from chggen_kit.testing.potential import check_potential

LJ = {"sigma": 2.3, "epsilon": 0.2, "rc": 6.0, "smooth": True}
METALS = CrystalBatch.concatenate([face_centred(29, 3.61), face_centred(13, 4.05), face_centred(47, 4.09)])


def make(calculator: str, **more: Any) -> AsePotential:
    return load(AseOptions.model_validate({"calculator": calculator, "energy_frame": "toy", **more}))


def test_equals_the_calculator() -> None:
    batch = disturbed(METALS, rattle_A=0.05, strain=0.02, seed=1)
    result = make("ase.calculators.emt:EMT").evaluate(batch)
    for index in range(batch.n_crystals):
        atoms = Atoms(
            numbers=batch.species[4 * index : 4 * index + 4].numpy(),
            scaled_positions=batch.frac_coords[4 * index : 4 * index + 4].numpy(),
            cell=batch.lattice[index].numpy(),
            pbc=True,
            calculator=EMT(),
        )
        assert result.energies[index].item() == pytest.approx(atoms.get_potential_energy(), abs=1e-10)
        torch.testing.assert_close(result.forces[4 * index : 4 * index + 4], torch.tensor(atoms.get_forces()))
        torch.testing.assert_close(result.stresses[index], torch.tensor(atoms.get_stress(voigt=False)))


def test_obeys_the_laws_of_a_potential() -> None:
    batch = disturbed(METALS, rattle_A=0.1, strain=0.02, seed=2)
    potential = make("ase.calculators.lj:LennardJones", arguments=LJ, elements=("Cu", "Al", "Ag"))
    check_potential(potential, batch).raise_if_failed()


def test_is_described_as_the_options_say() -> None:
    info = make("ase.calculators.lj:LennardJones", elements=("Cu", "O"), cutoff_A=5.0, name="mine").info
    assert (info.name, info.energy_frame, info.elements, info.cutoff_A) == ("mine", "toy", frozenset({29, 8}), 5.0)
    plain = make("ase.calculators.lj:LennardJones").info
    assert (plain.name, plain.cutoff_A, len(plain.elements)) == ("lennardjones", math.inf, 118)


def test_a_frame_must_be_given() -> None:
    import chggen_ase.plugin

    entry = Registry.from_modules([chggen_ase.plugin]).get_here("potential", "ase")
    with pytest.raises(InputError, match="energy_frame: Field required"):
        validate_options(entry, {"calculator": "ase.calculators.emt:EMT"})
    with pytest.raises(InputError, match="calculator"):
        validate_options(entry, {"calculator": "__import__('os')", "energy_frame": "unknown"})


@pytest.mark.parametrize(
    ("calculator", "more", "message"),
    [
        ("no_such_package:Class", {}, "cannot be imported"),
        ("ase.calculators.emt:EMTT", {}, "cannot be imported"),
        ("collections:Counter.fromkeys", {"arguments": {"a": 1}}, r"cannot be made with \{'a': 1\}"),
        ("builtins:dict", {}, "gives a dict, which is no ASE calculator"),
        ("ase.calculators.emt:EMT", {"elements": ("Cu", "Xx")}, "Unknown element 'Xx'"),
    ],
)
def test_what_is_no_calculator_is_refused(calculator: str, more: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make(calculator, **more)


def test_a_structure_that_it_cannot_do_is_nan_alone(caplog: pytest.LogCaptureFixture) -> None:
    potential = make("ase.calculators.emt:EMT")
    batch = CrystalBatch.concatenate([face_centred(29, 3.61), face_centred(14, 4.5), face_centred(13, 4.05)])
    with caplog.at_level(logging.WARNING):
        result = potential.evaluate(batch)
    assert torch.isnan(result.energies).tolist() == [False, True, False]
    assert torch.isnan(result.forces[4:8]).all()
    assert "emt cannot compute a structure" in caplog.text


def test_a_calculator_that_can_do_nothing_is_an_error() -> None:
    with pytest.raises(PluginError, match="computed no structure of its first batch"):
        make("ase.calculators.emt:EMT").evaluate(face_centred(14, 4.5))


class OnlyEnergies(Calculator):
    """No forces, no stress."""

    implemented_properties = ["energy"]  # noqa: RUF012 - as ASE has it

    def calculate(self, *args: Any, **kwargs: Any) -> None:
        super().calculate(*args, **kwargs)
        self.results = {"energy": 0.0}


def test_a_calculator_without_forces_is_refused() -> None:
    options = AseOptions(calculator="unused:Unused", energy_frame="toy")
    with pytest.raises(PluginError, match="lacks what relaxations need"):
        AsePotential(OnlyEnergies(), options).evaluate(METALS)


def test_a_calculator_that_is_made_elsewhere() -> None:
    options = AseOptions(calculator="unused:Unused", energy_frame="unknown")
    assert AsePotential(LennardJones(**LJ), options).evaluate(METALS).energies.shape == (3,)
