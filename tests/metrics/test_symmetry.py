"""Space groups: textbook crystals, tolerances with units, and failures that are results."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from chggen_kit.errors import InputError
from chggen_kit.metrics.symmetry import (
    SpaceGroup,
    SymmetryFailure,
    is_symmetric,
    refined_structure,
    space_group,
)

CRYSTALS = {
    225: Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
    221: Structure.from_spacegroup("Pm-3m", Lattice.cubic(4.12), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
    216: Structure.from_spacegroup("F-43m", Lattice.cubic(5.41), ["Zn", "S"], [[0, 0, 0], [0.25, 0.25, 0.25]]),
    136: Structure.from_spacegroup(
        "P4_2/mnm", Lattice.tetragonal(4.594, 2.959), ["Ti", "O"], [[0, 0, 0], [0.305, 0.305, 0]]
    ),
    186: Structure.from_spacegroup(
        "P6_3mc", Lattice.hexagonal(3.25, 5.2), ["Zn", "O"], [[1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0.382]]
    ),
}


def _rattled(structure: Structure, size_A: float, seed: int = 0) -> Structure:
    noise = np.random.default_rng(seed).normal(0, size_A, size=(len(structure), 3))
    return Structure(structure.lattice, structure.species, structure.cart_coords + noise, coords_are_cartesian=True)


@pytest.mark.parametrize("number", CRYSTALS)
def test_textbook_groups(number: int) -> None:
    found = space_group(CRYSTALS[number])
    assert isinstance(found, SpaceGroup)
    assert found.number == number
    assert (found.symprec_A, found.angle_tolerance_deg) == (0.1, 10.0)
    assert found.library.startswith("spglib 2")


def test_symbol_and_tolerance() -> None:
    rattled = _rattled(CRYSTALS[225], 0.02)
    loose, tight = space_group(rattled), space_group(rattled, 0.001, 1.0)
    assert isinstance(loose, SpaceGroup)
    assert isinstance(tight, SpaceGroup)
    assert (loose.number, loose.symbol) == (225, "Fm-3m")
    assert tight.number == 1


def test_failures_are_results_with_a_reason() -> None:
    overlapping = Structure(Lattice.cubic(4), ["Li", "Li"], [[0, 0, 0], [0.001, 0, 0]])
    missing = Structure(Lattice.cubic(4), ["Li", "O"], [[0, 0, 0], [float("nan"), 0, 0]])
    flat = Structure(Lattice([[4, 0, 0], [0, 4, 0], [4, 4, 0]]), ["Li"], [[0, 0, 0]])
    for structure, reason in (
        (overlapping, "spglib_failed"),
        (missing, "not_finite"),  # spglib itself ends the process with a segmentation fault here
        (flat, "flat_cell"),
        (Structure(Lattice.cubic(4), [], []), "no_atoms"),
    ):
        for found in (space_group(structure), refined_structure(structure)):
            assert isinstance(found, SymmetryFailure)
            assert found.reason == reason
            assert found.detail.endswith(".")


def test_tolerances_must_be_positive() -> None:
    for symprec, angle in ((0.0, 10.0), (-0.1, 10.0), (0.1, 0.0), (float("nan"), 10.0)):
        with pytest.raises(InputError, match="positive"):
            space_group(CRYSTALS[225], symprec, angle)


@pytest.mark.parametrize("number", CRYSTALS)
def test_refined_structure_is_exact(number: int) -> None:
    rattled = _rattled(CRYSTALS[number], 0.01, seed=number)
    refined = refined_structure(rattled)
    assert isinstance(refined, Structure)
    exact = space_group(refined, 1e-5, 1e-3)
    assert isinstance(exact, SpaceGroup)
    assert exact.number == number
    assert refined.composition.reduced_formula == rattled.composition.reduced_formula
    assert refined.volume / len(refined) == pytest.approx(rattled.volume / len(rattled), rel=0.02)


def test_partial_occupancies_are_species_of_their_own() -> None:
    mixed = CRYSTALS[225].copy()
    mixed.replace_species({"Na": {"Na": 0.5, "K": 0.5}})
    found = space_group(mixed)
    assert isinstance(found, SpaceGroup)
    assert found.number == 225


def test_what_counts_as_symmetric() -> None:
    assert [number for number in range(1, 231) if not is_symmetric(number)] == [1, 2]
    assert not is_symmetric(6, frozenset({1, 2, 6}))
    assert is_symmetric(6)
    for number in (0, 231):
        with pytest.raises(InputError, match="230"):
            is_symmetric(number)
