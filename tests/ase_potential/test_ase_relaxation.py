"""Relaxations over a calculator of ASE: space groups are kept, lack of memory is seen."""

from __future__ import annotations

from typing import Any

import pytest
from ase.calculators.emt import EMT

from chggen_ase.options import AseOptions
from chggen_ase.potential import load
from chggen_kit.io import to_structures
from chggen_kit.relaxers.fire import FireRelaxer
from chggen_kit.state import CrystalBatch
from chggen_kit.testing.crystals import caesium_chloride, face_centred
from chggen_kit.testing.symmetric import check_symmetry_kept, symmetric_crystals


@pytest.mark.parametrize("count", [8, pytest.param(50, marks=pytest.mark.slow)])
def test_space_groups_are_kept_with_emt(count: int) -> None:
    potential = load(AseOptions.model_validate({"calculator": "ase.calculators.emt:EMT", "energy_frame": "unknown"}))
    crystals = symmetric_crystals(count, elements=(29, 28), min_distance_A=1.9)
    max_steps = 20 if count == 8 else 100
    check_symmetry_kept(FireRelaxer(potential), crystals, max_steps=max_steps).raise_if_failed()


class Crowded(EMT):
    """Has no memory for more than three atoms."""

    def calculate(self, atoms: Any, *arguments: Any, **more: Any) -> None:
        if len(atoms) > 3:
            raise MemoryError
        super().calculate(atoms, *arguments, **more)


def crowded() -> Crowded:
    return Crowded()


def test_lack_of_memory_is_told_from_a_structure_without_a_value() -> None:
    potential = load(
        AseOptions.model_validate({"calculator": "test_ase_relaxation:crowded", "energy_frame": "unknown"})
    )
    small, large = to_structures(CrystalBatch.concatenate([caesium_chloride(29, 28, 2.9), face_centred(29, 3.6)]))
    outcomes = FireRelaxer(potential).relax([large, small, large], max_steps=3)
    assert [one.reason for one in outcomes] == ["out-of-memory", "max-steps", "out-of-memory"]
