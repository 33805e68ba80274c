"""The symmetry report: groups over tolerances, the displacement that reaches them, shares with all denominators."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from chggen_kit.errors import InputError
from chggen_kit.metrics.geometry import max_displacement_A
from chggen_kit.metrics.moyopy_process import MoyopyProcess
from chggen_kit.metrics.symmetry import LIBRARY, SpaceGroup, SymmetryFailure
from chggen_kit.metrics.symmetry_ladder import EXCLUSIONS, RUNGS, SymmetryReport, climb

needs_moyopy = pytest.mark.skipif(importlib.util.find_spec("moyopy") is None, reason="moyopy is not installed")

RUTILE = Structure.from_spacegroup(
    "P4_2/mnm", Lattice.tetragonal(4.594, 2.959), ["Ti", "O"], [[0, 0, 0], [0.305, 0.305, 0]]
)
PEROVSKITE = Structure.from_spacegroup(
    "Pm-3m", Lattice.cubic(3.905), ["Sr", "Ti", "O"], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]]
)


def rattled(structure: Structure, size_A: float, seed: int = 0) -> Structure:
    noise = np.random.default_rng(seed).normal(0, size_A, size=(len(structure), 3))
    return Structure(structure.lattice, structure.species, structure.cart_coords + noise, coords_are_cartesian=True)


def lopsided() -> Structure:
    """SrTiO3 with one O 0.06 Å along c off its place, and Ti 0.004 Å: P4mm exactly, Pm-3m nearly."""
    coords = PEROVSKITE.frac_coords.copy()
    top = next(i for i, site in enumerate(PEROVSKITE) if site.specie.symbol == "O" and abs(site.frac_coords[2]) < 0.1)
    coords[top, 2] += 0.06 / 3.905
    return Structure(PEROVSKITE.lattice, PEROVSKITE.species, coords)


def numbers(found: tuple[SpaceGroup | SymmetryFailure, ...]) -> list[int]:
    assert all(isinstance(one, SpaceGroup) for one in found)
    return [one.number for one in found if isinstance(one, SpaceGroup)]


def test_groups_grow_with_the_tolerance() -> None:
    ladder = climb(lopsided())
    found = numbers(ladder.groups[LIBRARY])
    assert found[0] == 99
    assert found[-1] == 221
    assert [one.number for one in ladder.reached] == [99, 221]
    assert ladder.reached[0].max_displacement_A < 1e-6


def test_the_displacement_is_that_of_the_nearest_symmetric_structure() -> None:
    """The common drift of 0.06 Å / 5 removed: the displaced O goes back by 0.06 * 4 / 5 in the frame of the mean.

    It is its own orbit in P4mm, and one of three equivalent ones in Pm-3m; the projection moves all of them.
    """
    (_, cubic) = climb(lopsided()).reached
    assert cubic.max_displacement_A == pytest.approx(max_displacement_A(lopsided(), PEROVSKITE), abs=1e-6)
    assert cubic.max_displacement_A == pytest.approx(0.048, abs=1e-6)
    assert cubic.strain < 1e-9
    assert climb(lopsided()).smallest_displacement_A() == pytest.approx(0, abs=1e-6)


def test_a_shear_is_not_hidden_by_the_angle_tolerance() -> None:
    """The cell of rutile at 91 degrees: no tetragonal group at 1 mÅ, and its strain is reported where it is one."""
    sheared = Structure(Lattice.from_parameters(4.594, 4.594, 2.959, 90, 90, 91), RUTILE.species, RUTILE.frac_coords)
    ladder = climb(sheared)
    assert 136 not in numbers(ladder.groups[LIBRARY])[:2]
    tetragonal = [one for one in ladder.reached if one.number == 136]
    assert len(tetragonal) == 1
    # A shear by 1 degree has the principal strains +- tan(1 degree) / 2.
    assert tetragonal[0].strain == pytest.approx(np.tan(np.radians(1)) / 2, rel=0.02)
    assert tetragonal[0].max_displacement_A < 1e-6


def test_translations_of_a_supercell_are_no_symmetry() -> None:
    lone = rattled(Structure(Lattice([[3, 0.1, 0.3], [0.4, 4, 0.2], [0.1, 0.7, 5]]), ["Si"] * 3, np.eye(3) / 3), 0.3)
    ladder = climb(lone * [2, 1, 1], RUNGS[:3])
    assert numbers(ladder.groups[LIBRARY]) == [1, 1, 1]
    assert ladder.reached == ()
    assert ladder.smallest_displacement_A() is None


def test_failures_are_rows() -> None:
    broken = Structure(Lattice.cubic(4), ["Li", "O"], [[0, 0, 0], [float("nan"), 0, 0]])
    ladder = climb(broken)
    assert {one.reason for one in ladder.groups[LIBRARY] if isinstance(one, SymmetryFailure)} == {"not_finite"}
    assert ladder.as_json()["groups"][LIBRARY][0] == {"failure": "not_finite"}
    with pytest.raises(InputError, match="positive"):
        climb(PEROVSKITE, ((0.0, 1.0),))


def test_shares_count_all_that_were_started() -> None:
    pm = Structure.from_spacegroup(
        "Pm", Lattice.monoclinic(4.1, 3.3, 5.2, 97), ["Si", "O"], [[0.1, 0, 0.2], [0.43, 0.5, 0.61]]
    )
    ladders = [climb(one, name=str(n)) for n, one in enumerate([PEROVSKITE, pm, rattled(RUTILE, 0.5)])]
    report = SymmetryReport(ladders, missing={"files": 2, "inpainted": 1})
    assert report.sources == ["files", "inpainted"]
    first, second = EXCLUSIONS.values()
    assert (report.share("files", LIBRARY, 2, first).count, report.share("files", LIBRARY, 2, first).of) == (2, 5)
    assert report.share("files", LIBRARY, 2, second).count == 1
    nothing = report.share("inpainted", LIBRARY, 0, first)
    assert (nothing.count, nothing.of) == (0, 1)
    plain = report.as_json()
    assert plain["shares"][0]["missing"] == 2
    assert plain["shares"][0]["by_rung"][2]["rate"] == 0.4
    assert len(plain["structures"]) == 3


@needs_moyopy
def test_moyopy_agrees_on_exact_crystals() -> None:
    with MoyopyProcess(60) as moyopy:
        for crystal, group in ((RUTILE, 136), (PEROVSKITE, 221)):
            ladder = climb(crystal, RUNGS[:4], moyopy=moyopy)
            assert numbers(ladder.groups[moyopy.library]) == [group] * 4
        failed = climb(Structure(Lattice.cubic(4), ["Li"], [[float("nan"), 0, 0]]), RUNGS[:1], moyopy=moyopy)
        assert isinstance(failed.groups[moyopy.library][0], SymmetryFailure)


@needs_moyopy
def test_moyopy_is_ended_when_its_time_is_over() -> None:
    with MoyopyProcess(1e-4) as moyopy:
        ladder = climb(RUTILE, RUNGS[:3], moyopy=moyopy)
        reasons = [one.reason for one in ladder.groups[moyopy.library] if isinstance(one, SymmetryFailure)]
        assert reasons == ["moyopy_timeout"] * 3
        moyopy._time_limit_s = 60
        assert numbers(climb(RUTILE, RUNGS[:1], moyopy=moyopy).groups[moyopy.library]) == [136]
    report = SymmetryReport([replace(ladder, source="files")])
    assert report.share("files", moyopy.library, 0, EXCLUSIONS["above P-1"]).count == 0
