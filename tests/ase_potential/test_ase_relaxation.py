"""Relaxations over a calculator of ASE keep space groups."""

from __future__ import annotations

import pytest

from chggen_ase.options import AseOptions
from chggen_ase.potential import load
from chggen_kit.relaxers.fire import FireRelaxer
from chggen_kit.testing.symmetric import check_symmetry_kept, symmetric_crystals


@pytest.mark.parametrize("count", [8, pytest.param(50, marks=pytest.mark.slow)])
def test_space_groups_are_kept_with_emt(count: int) -> None:
    potential = load(AseOptions.model_validate({"calculator": "ase.calculators.emt:EMT", "energy_frame": "unknown"}))
    crystals = symmetric_crystals(count, elements=(29, 28), min_distance_A=1.9)
    max_steps = 20 if count == 8 else 100
    check_symmetry_kept(FireRelaxer(potential), crystals, max_steps=max_steps).raise_if_failed()
