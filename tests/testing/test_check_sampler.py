"""check_sampler passes every built-in sampler and catches each kind of wrong one by the law that it breaks."""

from __future__ import annotations

import pytest
from mutants.sampler_mutants import LAWS, Correct

from chggen_kit.errors import InputError, PluginError
from chggen_kit.plugins import get_registry
from chggen_kit.testing import check_sampler

NAMES = ("predictor-corrector", "repaint", "replace", "clean-host", "random", "voronoi", "random-symmetric")


def test_no_built_in_sampler_is_left_out() -> None:
    assert {entry.name for entry in get_registry().entries("sampler")} == set(NAMES)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_built_in_samplers_pass(name: str) -> None:
    check_sampler(get_registry().create_sampler(name)).raise_if_failed()


@pytest.mark.parametrize("mutant", LAWS, ids=lambda mutant: mutant.__name__)
def test_each_mutant_is_caught(mutant: type[Correct]) -> None:
    law = LAWS[mutant]
    # One law alone keeps this fast; `same-seed` stands for one that a drawing mutant is allowed to pass or fail.
    report = check_sampler(mutant(), only=["same-seed-same-crystals" if law == "global-random-state" else law])
    assert law in {result.law for result in report.failures}, report.table()
    with pytest.raises(PluginError, match=law):
        report.raise_if_failed()


def test_the_right_one_passes_every_law() -> None:
    check_sampler(Correct()).raise_if_failed()


def test_an_unknown_law_is_refused() -> None:
    with pytest.raises(InputError, match="Did you mean 'copies-differ'"):
        check_sampler(Correct(), only=["copies-difer"])
