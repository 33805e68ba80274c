"""The prior of symmetric starts: it chooses what known crystals have, and leaves the rest possible."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from chggen_kit.symmetry.prior import SymmetryPrior
from chggen_kit.symmetry.random_crystals import ABOVE_TRICLINIC, hosting_groups, random_symmetric_crystal
from chggen_kit.symmetry.wyckoff import primitive_group


def test_shipped_statistics_are_those_of_known_crystals() -> None:
    oxide, alloy = SymmetryPrior.load(("Ti", "O")), SymmetryPrior.load(("Ni", "Al"))
    assert oxide.groups[14] > oxide.groups[225]  # monoclinic oxides are common,
    assert alloy.groups[225] > alloy.groups.get(14, 0)  # close-packed alloys cubic
    for shares in oxide.sites.values():
        assert sum(shares) == pytest.approx(1)
    assert oxide.sites["Ti"][0] > oxide.sites["O"][0]  # cations sit on points more often than oxygen does


def test_groups_come_as_often_as_the_family_has_them() -> None:
    prior = SymmetryPrior({5: 30.0, 12: 60.0, 15: 0.0}, {})
    rng = np.random.default_rng(0)
    drawn = Counter(prior.choose_group((5, 12, 15, 20), rng) for _ in range(4000))
    expected = {5: 30.5, 12: 60.5, 15: 0.5, 20: 0.5}
    for number, weight in expected.items():
        assert drawn[number] / 4000 == pytest.approx(weight / 92, abs=0.025)
    assert drawn[15] + drawn[20] > 0


def test_assignments_come_by_the_sites_that_elements_like() -> None:
    places = primitive_group(12).positions
    point = next(index for index, one in enumerate(places) if one.dof == 0 and one.multiplicity == 1)
    plane = next(index for index, one in enumerate(places) if one.dof == 2)
    prior = SymmetryPrior({}, {"Ti": (0.9, 0.05, 0.04, 0.01)})
    rng = np.random.default_rng(1)
    both = [(("Ti", point),), (("Ti", plane),)]
    chosen = Counter(prior.choose_assignment(both, places, rng) for _ in range(2000))
    assert chosen[both[0]] / 2000 == pytest.approx(0.9 / 0.94, abs=0.02)


def test_crystals_with_the_prior_keep_counts_and_groups() -> None:
    counts = {"Zn": 1, "P": 2, "S": 6}
    prior = SymmetryPrior.load(tuple(counts))
    able = set(hosting_groups(counts, ABOVE_TRICLINIC))
    rng = np.random.default_rng(2)
    for _ in range(5):
        found = random_symmetric_crystal(counts, rng, volume_A3=220.0, prior=prior)
        assert found is not None
        assert found.number in able
        assert found.structure.composition.get_el_amt_dict() == counts
        assert found.operations.residual_A(found.structure) < 1e-6
