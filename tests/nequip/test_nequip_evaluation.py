"""The shipped checkpoint through the evaluations that every backend goes through."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from chggen_kit.evaluation.denoising import SIGMAS_A, squared_errors
from chggen_kit.interfaces import CrystalId
from chggen_kit.testing.crystals import textbook_crystals
from chggen_kit.training.held_out import read_held_out
from chggen_nequip.checkpoint import load_checkpoint
from chggen_nequip.model import SHIPPED, NequipScoreModel, load
from chggen_nequip.objective import EVALUATION_SIGMAS, relative_errors
from chggen_nequip.options import NequipOptions


@pytest.fixture(scope="module")
def model() -> NequipScoreModel:
    return load(NequipOptions())


def test_denoising_errors_are_those_of_the_training_objective(model: NequipScoreModel) -> None:
    """With the same noise: what `chggen train nequip` logs and what `chggen evaluate` measures is one quantity."""
    batch = textbook_crystals().to(dtype=torch.float32)
    network = load_checkpoint(SHIPPED).network
    expected = relative_errors(network, batch, cutoff=network.architecture.cutoff)
    noise = torch.randn(batch.n_atoms, 3, generator=torch.Generator().manual_seed(0)).double().numpy()
    names = [str(crystal) for crystal in range(batch.n_crystals)]
    bounds = batch.offsets.tolist()
    replayed = {
        (CrystalId(name, 0), 0, 0, "frac_coords", "marginal"): noise[low:high]
        for name, low, high in zip(names, bounds, bounds[1:], strict=False)
    }
    found = squared_errors(model, batch, names, SIGMAS_A, noise=replayed)["frac_coords"]
    assert SIGMAS_A == EVALUATION_SIGMAS
    for sigma, (wrong, exact) in zip(SIGMAS_A, found, strict=True):
        # The displacement is read back from float32 coordinates: 1e-6 Å of 0.03 Å at the lowest level.
        assert sum(wrong) / sum(exact) == pytest.approx(expected[sigma], rel=2e-3)


def test_the_shipped_checkpoint_says_what_it_was_not_trained_on(model: NequipScoreModel) -> None:
    held_out = next(iter(read_held_out()))
    assert model.never_trained_on([held_out, "Xe7Au1"]) == {held_out}
    other = replace(load_checkpoint(SHIPPED), sha256="0" * 64)
    assert NequipScoreModel(other, name="mine").never_trained_on([held_out]) is None
