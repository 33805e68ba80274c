"""check_relaxer passes every built-in relaxer and catches each kind of wrong one by the law that it breaks."""

from __future__ import annotations

import pytest
from mutants.relaxer_mutants import LAWS, Correct

from chggen_kit.errors import PluginError
from chggen_kit.interfaces import Potential, Relaxer
from chggen_kit.plugins import get_registry
from chggen_kit.testing import check_relaxer


def test_no_built_in_relaxer_is_left_out() -> None:
    assert [entry.name for entry in get_registry().entries("relaxer")] == ["ase-fire", "fire", "torch-sim"]


@pytest.mark.parametrize(
    "name",
    [
        "fire",
        pytest.param("ase-fire", marks=pytest.mark.slow),
        pytest.param("torch-sim", marks=pytest.mark.slow),
    ],
)
def test_built_in_relaxers_pass(name: str) -> None:
    entry = get_registry().get("relaxer", name)
    if entry.missing:
        pytest.skip(f"not installed: {entry.hint}")

    def make(potential: Potential) -> Relaxer:
        return get_registry().create_relaxer(name, potential=potential)

    check_relaxer(make).raise_if_failed()


@pytest.mark.parametrize("mutant", LAWS, ids=lambda mutant: mutant.__name__)
def test_each_mutant_is_caught(mutant: type[Correct]) -> None:
    law = LAWS[mutant]
    report = check_relaxer(mutant, only=[law])
    assert law in {result.law for result in report.failures}, report.table()
    with pytest.raises(PluginError, match=law):
        report.raise_if_failed()
