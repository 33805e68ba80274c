"""check_host_refiner passes every built-in refiner and catches each kind of wrong one by the law that it breaks."""

from __future__ import annotations

import pytest
from mutants.refiner_mutants import LAWS, Correct

from chggen_kit.errors import PluginError
from chggen_kit.plugins import get_registry
from chggen_kit.testing import check_host_refiner


def test_no_built_in_refiner_is_left_out() -> None:
    assert [entry.name for entry in get_registry().entries("host-refiner")] == ["ladder", "projection"]


@pytest.mark.parametrize("name", ["ladder", pytest.param("projection", marks=pytest.mark.slow)])
def test_built_in_refiners_pass(name: str) -> None:
    check_host_refiner(get_registry().create_host_refiner(name)).raise_if_failed()


@pytest.mark.parametrize("mutant", LAWS, ids=lambda mutant: mutant.__name__)
def test_each_mutant_is_caught(mutant: type[Correct]) -> None:
    law = LAWS[mutant]
    report = check_host_refiner(mutant(), only=[law])
    assert law in {result.law for result in report.failures}, report.table()
    with pytest.raises(PluginError, match=law):
        report.raise_if_failed()
