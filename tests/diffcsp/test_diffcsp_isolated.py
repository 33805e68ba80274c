"""DiffCSP in another interpreter: cells that move, integer times and a gauge's notes cross the pipe unchanged."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from diffcsp_runs import write_run

import chggen_diffcsp.plugin
from chggen_kit.interfaces import SamplingTask
from chggen_kit.plugins import Registry, get_registry
from chggen_kit.state import CrystalBatch, Known
from chggen_kit.testing.crystals import disturbed, perovskite, rocksalt


def test_samples_of_the_twin_are_equal_bit_for_bit(tmp_path: Path) -> None:
    registry = Registry.from_modules([chggen_diffcsp.plugin])
    options = {"checkpoint": str(write_run(tmp_path / "run"))}
    here = registry.create_score_model("diffcsp", options)
    twin = registry.create_score_model(f"diffcsp@{sys.executable}", options)
    assert twin.capabilities == here.capabilities
    batch = disturbed(
        CrystalBatch.concatenate([perovskite(38, 22, 8, 3.9), rocksalt(12, 8, 4.2)]), rattle_A=0.1, strain=0.1, seed=1
    )
    nothing = torch.zeros(batch.n_atoms, dtype=torch.bool)
    task = SamplingTask(batch, Known(nothing, ~nothing, torch.zeros(2, dtype=torch.bool)))
    sampler = get_registry().create_sampler("predictor-corrector", {"steps": 5})
    expected, result = (sampler.sample(model, task, seed=2) for model in (here, twin))
    for name in ("frac_coords", "lattice", "species"):
        assert torch.equal(getattr(result.crystals, name), getattr(expected.crystals, name)), name
    formulas = {"MgO", "NaCl"}
    assert twin.never_trained_on(formulas) == here.never_trained_on(formulas)
