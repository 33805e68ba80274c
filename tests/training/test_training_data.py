"""Training data of all backends: selection, lists of formulas to leave out, and batches by size."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from chggen_kit.errors import InputError
from chggen_kit.io.readers import StructureRecord, parse_formula
from chggen_kit.state import CrystalBatch
from chggen_kit.testing.crystals import rocksalt
from chggen_kit.training.dataset import BatchPlan, Selection
from chggen_kit.training.held_out import read_held_out


def test_batches_are_full_but_never_above_the_size() -> None:
    sizes = torch.randint(1, 20, (200,), generator=torch.Generator().manual_seed(0))
    plan = BatchPlan(sizes, max_size=50, seed=1)
    seen: list[int] = []
    step = 0
    while len(seen) < 200:
        batch = plan.crystals(step)
        assert sizes[batch].sum() <= 50
        seen += batch
        step += 1
    assert sorted(seen) == list(range(200))
    assert sizes.sum() / step > 40
    assert BatchPlan(sizes, max_size=50, seed=1).crystals(step + 5) == plan.crystals(step + 5)
    assert BatchPlan(sizes, max_size=50, seed=2).crystals(0) != plan.crystals(0)
    assert plan.crystals(0) != plan.crystals(step)  # another order in the second pass


def test_a_crystal_above_the_size_is_a_batch_of_its_own() -> None:
    plan = BatchPlan(torch.tensor([100, 3, 100]), max_size=50, seed=0)
    batches = [plan.crystals(step) for step in range(3)]
    assert sorted(map(tuple, batches)) == [(0,), (1,), (2,)]


def test_batches_may_be_bounded_by_crystals_too() -> None:
    plan = BatchPlan(torch.full((10,), 4), max_size=40, max_crystals=3, seed=0)
    assert [len(plan.crystals(step)) for step in range(5)] == [3, 3, 3, 1, 3]
    assert [plan.pass_of(step) for step in (0, 3, 4, 7, 8, 4)] == [0, 0, 1, 1, 2, 1]


def record(batch: CrystalBatch, **metadata: object) -> StructureRecord:
    return StructureRecord("r", batch.lattice[0].numpy(), batch.species.numpy(), batch.frac_coords.numpy(), metadata)


def test_selection_names_its_reasons() -> None:
    salt = rocksalt(11, 17, 5.64)
    selection = Selection(held_out=frozenset({parse_formula("MgO")}), max_atoms=8)
    assert selection.reason_against(record(salt)) is None
    assert selection.reason_against(record(salt, suggested_split="train", e_above_hull=None)) is None
    assert selection.reason_against(record(rocksalt(12, 8, 4.21))) == "held-out formula"
    assert selection.reason_against(record(salt, suggested_split="test")) == "other split"
    assert selection.reason_against(record(salt, e_above_hull=0.2)) == "0.1 eV/atom or more above the hull"
    assert selection.reason_against(record(rocksalt(11, 17, 20.0))) == "implausible volume"
    assert Selection(max_atoms=7).reason_against(record(salt)) == "more than 7 atoms"
    assert Selection(named_split_only=True).reason_against(record(salt)) == "other split"


def test_rows_that_the_network_cannot_take_have_a_reason() -> None:
    selection = Selection(max_atomic_number=103)
    assert selection.reason_against(record(rocksalt(104, 8, 5.0))) == "element beyond Z = 103"
    assert selection.reason_against(record(rocksalt(103, 8, 5.0))) is None
    for energy in ("unknown", [], {}, "0,02"):
        reason = selection.reason_against(record(rocksalt(11, 17, 5.64), e_above_hull=energy))
        assert reason == "e_above_hull is not a number", energy
    assert selection.reason_against(record(rocksalt(11, 17, 5.64), e_above_hull="0.02")) is None


def test_shipped_list_holds_the_showcase_and_benchmark_formulas() -> None:
    formulas = read_held_out()
    assert len(formulas) > 10_000
    for formula in ("Li5Si2", "Li2Si", "Li4Si", "Li13Si4", "ZnP2S6", "Zn2P2S7", "YMg3", "KZnF3", "Bi4S4Cl4"):
        assert parse_formula(formula) in formulas
    assert all(parse_formula(formula) == formula for formula in sorted(formulas)[::500])


def test_lists_of_formulas_are_read_in_any_notation(tmp_path: Path) -> None:
    path = tmp_path / "formulas.txt"
    path.write_text("# kept apart\nZn(PS3)2\n\nCl2Na2\n")
    assert read_held_out(path) == {parse_formula("ZnP2S6"), parse_formula("NaCl")}
    path.write_text("Xx2\n")
    with pytest.raises(InputError, match="Xx2"):
        read_held_out(path)
    with pytest.raises(InputError, match="no list"):
        read_held_out(tmp_path / "nothing.txt")
