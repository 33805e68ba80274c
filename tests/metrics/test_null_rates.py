"""Null rates: random frameworks that are what they claim, and a ladder that finds symmetry where there is none."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pytest
from pymatgen.core import Structure

from chggen_kit.errors import InputError
from chggen_kit.interfaces import HostRefiner, RefinedHost
from chggen_kit.metrics.geometry import minimum_distance
from chggen_kit.metrics.null_rates import null_rate, random_framework
from chggen_kit.refiners.ladder import LadderOptions, LadderRefiner


def test_a_random_framework_has_what_was_asked_for() -> None:
    species = ["P", "P", "S", "S", "S", "S"]
    first = random_framework(species, 150.0, seed=1, number=0)
    again = random_framework(species, 150.0, seed=1, number=0)
    other = random_framework(species, 150.0, seed=1, number=1)
    assert first is not None
    assert again is not None
    assert other is not None
    assert [site.specie.symbol for site in first] == species
    assert first.volume == pytest.approx(150.0)
    assert minimum_distance(first) >= 1.6
    assert np.array_equal(first.frac_coords, again.frac_coords)
    assert np.array_equal(first.lattice.matrix, again.lattice.matrix)
    assert not np.allclose(first.lattice.abc, other.lattice.abc)
    assert random_framework(["Si"] * 8, 8 * 2.0, seed=0) is None


def test_the_ladder_manufactures_symmetry_in_small_frameworks_only() -> None:
    """ARCHITECTURE's numbers for the ladder: 25 to 85 % of 4 atoms, at most a quarter of 8; few of 12."""
    small = null_rate(LadderRefiner(), ["P", "S", "S", "S"], 27.0, n=20)
    large = null_rate(LadderRefiner(), ["P"] * 3 + ["S"] * 9, 27.0, n=20)
    assert small.share.count >= 10
    assert large.share.count <= 3
    strict = null_rate(LadderRefiner(LadderOptions(rungs=((0.01, 1.0),))), ["P", "S", "S", "S"], 27.0, n=10)
    assert strict.share.count == 0
    assert strict.share.high == pytest.approx(0.278, abs=1e-3)
    assert (strict.n_atoms, strict.no_room) == (4, 0)


def test_frameworks_without_room_are_not_counted_as_failures_of_the_refiner() -> None:
    nothing = null_rate(LadderRefiner(), ["Si"] * 8, 2.0, n=3)
    assert (nothing.share.of, nothing.share.rate, nothing.no_room) == (0, None, 3)


def test_time_ends_the_measurement_and_the_share_is_over_what_was_done() -> None:
    class Slow(HostRefiner):
        def refine(self, structure: Structure, guests: Collection[str]) -> list[RefinedHost]:
            return []

    rate = null_rate(Slow(), ["Si"] * 4, 20.0, n=1000, seconds=0.2)
    assert 0 < rate.share.of < 1000
    assert rate.as_json()["share"]["of"] == rate.share.of


def test_nothing_to_draw_is_refused() -> None:
    for species, volume in (([], 10.0), (["Si"], 0.0), (["Si"], float("nan"))):
        with pytest.raises(InputError, match="cannot be made"):
            random_framework(species, volume, seed=0)
