"""Denoising errors against models whose error is known in closed form; intervals; going on after a kill."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from evaluation_data import write_data
from torch import Tensor

from chggen_kit.errors import InputError, RunDirectoryError
from chggen_kit.evaluation.denoising import SIGMAS_A, evaluate_denoising, squared_errors, standard_levels
from chggen_kit.evaluation.rows import read_rows, shuffled, to_batch
from chggen_kit.interfaces.processes import NoiseProcess
from chggen_kit.io.readers import StructureRecord
from chggen_kit.processes import Fixed
from chggen_kit.state import CrystalBatch, Fields
from chggen_kit.testing.analytic import WrappedGaussianMixture

PLACES = torch.tensor([[[0.1, 0.2, 0.3], [0.6, 0.7, 0.5]]], dtype=torch.float64)


class Broadened(WrappedGaussianMixture):
    """Believes that both atoms of every crystal lie within `spread` Å of `PLACES`; counts its calls."""

    def __init__(self, spread: float) -> None:
        super().__init__(torch.ones(1), PLACES, torch.tensor([spread]))
        self.calls = 0

    def predict(self, fields: Fields, t: Tensor) -> Fields:
        self.calls += 1
        return super().predict(fields, t)


class Silent(Broadened):
    """Predicts zero."""

    def predict(self, fields: Fields, t: Tensor) -> Fields:
        return Fields({"frac_coords": torch.zeros_like(fields["frac_coords"])}, fields.context)


def pairs(count: int) -> CrystalBatch:
    edges = torch.linspace(9.0, 12.0, count, dtype=torch.float64)
    return CrystalBatch(
        PLACES[0].repeat(count, 1),
        edges[:, None, None] * torch.eye(3, dtype=torch.float64),
        torch.tensor([11, 17]).repeat(count),
        torch.full((count,), 2),
    )


def records(count: int) -> list[StructureRecord]:
    batch = pairs(count)
    return [
        StructureRecord(f"pair-{i}", batch.lattice[i].numpy(), batch.species[:2].numpy(), PLACES[0].numpy())
        for i in range(count)
    ]


def test_the_error_of_a_broadened_belief_is_the_closed_form_one() -> None:
    """A belief of spread s at the true place predicts -sigma d / (sigma^2 + s^2): (s^2 / (sigma^2 + s^2))^2."""
    sums = squared_errors(Broadened(0.3), pairs(20), [str(i) for i in range(20)], [0.1, 0.3, 0.6])["frac_coords"]
    for sigma, (wrong, exact) in zip([0.1, 0.3, 0.6], sums, strict=True):
        assert sum(wrong) / sum(exact) == pytest.approx((0.09 / (sigma**2 + 0.09)) ** 2, rel=1e-3)
        assert sum(exact) / 120 == pytest.approx(1, abs=0.4)  # sigma times the score of a normal has variance 1


def test_predicting_zero_has_an_error_of_one(tmp_path: Path) -> None:
    report = evaluate_denoising(Silent(0.3), records(4), out=tmp_path / "d", levels=[0.2, 2.0])
    for level in range(2):
        found = report.error("frac_coords", level)
        assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)


def test_noise_belongs_to_the_crystal_and_not_to_the_batch() -> None:
    model, batch = Broadened(0.3), pairs(6)
    (together, _), *_ = squared_errors(model, batch, list("abcdef"), [0.3])["frac_coords"]
    (alone, _), *_ = squared_errors(model, batch.select([4]), ["e"], [0.3])["frac_coords"]
    assert alone[0] == pytest.approx(together[4], rel=1e-9)
    (reseeded, _), *_ = squared_errors(model, batch, list("abcdef"), [0.3], seed=1)["frac_coords"]
    assert reseeded != together


def test_families_and_the_file(tmp_path: Path) -> None:
    report = evaluate_denoising(Broadened(0.3), records(5), out=tmp_path / "d", levels=[0.3], facts={"backend": "toy"})
    report.write(tmp_path)
    content = report.as_json()
    assert content["families"] == {"halide": 5}
    errors = content["relative_errors"]["frac_coords"]
    assert errors["all"] == errors["halide"]
    assert errors["all"]["0.3"]["value"] == pytest.approx(0.25, rel=1e-3)
    assert content["facts"]["backend"] == "toy"
    assert (tmp_path / "denoising.json").is_file()


def test_it_goes_on_after_a_kill_and_refuses_another_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chggen_kit.evaluation.denoising._MAX_ATOMS_AT_A_TIME", 4)  # two crystals a piece
    rows, levels = records(6), [0.1, 0.6]
    whole = evaluate_denoising(Broadened(0.3), rows, out=tmp_path / "whole", levels=levels)

    class Dying(Broadened):
        def predict(self, fields: Fields, t: Tensor) -> Fields:
            if self.calls == 3:
                raise KeyboardInterrupt
            return super().predict(fields, t)

    with pytest.raises(KeyboardInterrupt):
        evaluate_denoising(Dying(0.3), rows, out=tmp_path / "killed", levels=levels)
    model = Broadened(0.3)
    again = evaluate_denoising(model, rows, out=tmp_path / "killed", levels=levels)
    assert model.calls == 4  # the first of three pieces was kept
    assert again.as_json() == whole.as_json()
    with pytest.raises(RunDirectoryError, match="levels"):
        evaluate_denoising(model, rows, out=tmp_path / "killed", levels=[0.1])


def test_a_model_whose_processes_cannot_say_is_refused() -> None:
    class Mute(Broadened):
        @property
        def processes(self) -> Mapping[str, NoiseProcess]:
            class Plain(type(self._torus)):  # type: ignore[misc]  # the process of the model, without a target
                denoising_target = NoiseProcess.denoising_target

            return {**super().processes, "frac_coords": Plain(0.01, 5.0), "lattice": Fixed("crystal")}

    with pytest.raises(InputError, match="denoising_target"):
        squared_errors(Mute(0.3), pairs(1), ["a"], [0.1])


def test_standard_levels_are_in_angstrom_or_from_the_models_grid() -> None:
    model = Broadened(0.3)
    assert standard_levels(model) == SIGMAS_A
    changed = {**vars(model.capabilities), "time_unit": "discrete step"}
    model._capabilities = model.capabilities.__class__(**changed)
    grid = model.times(60)
    levels = standard_levels(model)
    assert len(levels) == 6
    assert (levels[0], levels[-1]) == (grid[0], grid[59])
    assert set(levels) <= set(grid)


def test_rows_are_those_of_the_split_in_an_order_of_the_seed(tmp_path: Path) -> None:
    data = write_data(tmp_path / "d.jsonl", ["LiF", "MgO", "CaF2", "ZnS"])
    rows = read_rows(data, "test")
    assert [row.id for row in rows] == ["LiF-test", "MgO-test", "CaF2-test", "ZnS-test"]
    assert shuffled(rows, 1) == shuffled(rows, 1)
    assert {row.id for row in shuffled(rows, 1)} == {row.id for row in rows}
    assert len({tuple(row.id for row in shuffled(rows, seed)) for seed in range(8)}) > 2
    assert torch.equal(to_batch(rows).num_atoms, torch.tensor([2, 2, 3, 2]))
    with pytest.raises(InputError, match="train: 1"):
        read_rows(data, "val")
