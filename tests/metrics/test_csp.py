"""Match rate, RMSE, METRe and cRMSE on cases small enough to work out by hand."""

from __future__ import annotations

import math

import pytest
from pymatgen.core import Lattice, Structure

from chggen_kit.errors import InputError
from chggen_kit.metrics.csp import ReferenceScore, composition_of, lowest, match_everyone, terms, values
from chggen_kit.metrics.matching import CspMatcher

ROCKSALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
CSCL_TYPE = Structure(Lattice.cubic(3.5), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
KCL = Structure.from_spacegroup("Fm-3m", Lattice.cubic(6.29), ["K", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])

OUTCOMES = (
    ReferenceScore("a", "Na1Cl1", (0.3, None, 0.1), (True, True, False), 0.1),
    ReferenceScore("b", "Na1Cl1", (None, None, None), (True, True, True), 0.2),
    ReferenceScore("c", "K1Cl1", (None, None, None), (True, True, True), None),
    ReferenceScore("d", "Mg1O1", (0.0, 0.0, 0.0), (False, False, False), 0.0),
)


def test_scores_worked_out_by_hand() -> None:
    assert values(OUTCOMES) == pytest.approx(
        {
            "match_rate": 2 / 4,  # a and d
            "rmse": (0.1 + 0.0) / 2,
            "gated_match_rate": 1 / 4,  # a, by its worse prediction
            "gated_rmse": 0.3,
            "metre": 3 / 4,  # b as well, by a prediction for a
            "crmse": (0.1 + 0.2 + 0.5 + 0.0) / 4,
            "sample_match_rate": (2 / 3 + 0 + 0 + 1) / 4,
        }
    )
    assert values(OUTCOMES, stol=0.3)["crmse"] == pytest.approx((0.1 + 0.2 + 0.3) / 4)


def test_no_match_at_all_has_no_rmse_and_the_full_cost() -> None:
    scores = values(OUTCOMES[2:3])
    assert (scores["match_rate"], scores["metre"], scores["crmse"]) == (0, 0, 0.5)
    assert math.isnan(scores["rmse"])


def test_nothing_to_score_is_refused() -> None:
    with pytest.raises(InputError, match="no reference"):
        terms([])
    with pytest.raises(InputError, match="no predictions for x"):
        terms([ReferenceScore("x", "Na1Cl1", (), (), None)])


def test_lowest() -> None:
    assert lowest((None, 0.4, 0.2)) == 0.2
    assert lowest((0.0, None)) == 0.0
    assert lowest((None,)) is None


def test_compositions_do_not_depend_on_the_cell() -> None:
    assert composition_of(ROCKSALT) == composition_of(CSCL_TYPE) == "Na1Cl1"
    assert composition_of(KCL) != composition_of(ROCKSALT)


def test_everyone_is_matched_within_a_composition_and_references_count_once() -> None:
    """Both predictions for rocksalt NaCl are of the CsCl type: METRe finds the latter, once, and not the former."""
    references = {"rocksalt": ROCKSALT, "cscl": CSCL_TYPE, "kcl": KCL}
    predictions = {"rocksalt": [CSCL_TYPE, CSCL_TYPE], "cscl": [], "kcl": [ROCKSALT]}
    own = {"rocksalt": None, "cscl": None, "kcl": None}
    best = match_everyone(references, predictions, own, CspMatcher())
    assert best["rocksalt"] is None
    assert best["cscl"] == pytest.approx(0, abs=1e-6)
    assert best["kcl"] is None  # the same structure of another composition
    assert own == {"rocksalt": None, "cscl": None, "kcl": None}


def test_own_matches_count_without_being_compared_again() -> None:
    best = match_everyone({"a": ROCKSALT, "b": ROCKSALT}, {"a": [], "b": []}, {"a": 0.25, "b": None}, CspMatcher())
    assert best == {"a": 0.25, "b": None}
