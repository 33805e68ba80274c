"""The sentences of a model card follow from the run."""

from __future__ import annotations

from typing import Any

from chggen_kit.training.card import selection_sentence, source_sentence
from chggen_kit.training.held_out import fingerprint, read_held_out


def selection(**request: object) -> dict[str, Any]:
    asked = {"data": [["/data/mine.csv", 5]], "split": "all", "max_atoms": 7, "max_above_hull": 0.3}
    return {
        "request": {**asked, "held_out_formulas": 2, **request},
        "volume_per_atom_A3": [4.0, 50.0],
        "sources": {"measured": 1200, "not stated": 3},
    }


def test_the_source_is_that_of_the_rows() -> None:
    assert source_sentence(selection(), "") == ("structures of mine.csv (sources: measured 1,200, not stated 3)")
    assert source_sentence(selection(), "my own words") == "my own words"


def test_the_selection_is_that_of_the_run() -> None:
    own = selection_sentence(selection(held_out_sha256="0" * 64))
    for part in ("split all", "at most 7 atoms", "below 0.3 eV", "4 to 50 Å^3", "the run's own list"):
        assert part in own
    assert "shipped list" in selection_sentence(selection(held_out_sha256=fingerprint(read_held_out())))
    assert "no formula left out" in selection_sentence(selection(held_out_formulas=0))
