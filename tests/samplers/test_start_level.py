"""Starts at an intermediate noise, for processes in Å and in fractional units."""

from __future__ import annotations

import math

import pytest
import torch

from chggen_kit.errors import InputError
from chggen_kit.interfaces import SamplingTask
from chggen_kit.plugins import get_registry
from chggen_kit.processes import FractionalTorusTable, TorusVE
from chggen_kit.samplers.options import SamplerOptions
from chggen_kit.samplers.predictor_corrector import build
from chggen_kit.samplers.start import levels_of_noise
from chggen_kit.state import BatchContext, CrystalBatch, Fields, Known
from chggen_kit.testing.analytic import WrappedGaussianMixture

EDGE = 6.0


def _batch(copies: int) -> CrystalBatch:
    return CrystalBatch(
        torch.tensor([[0.5, 0.5, 0.5]], dtype=torch.float64).repeat(copies, 1),
        EDGE * torch.eye(3, dtype=torch.float64).repeat(copies, 1, 1),
        torch.full((copies,), 8),
        torch.ones(copies, dtype=torch.int64),
    )


def test_the_level_has_about_the_noise_that_was_asked_for() -> None:
    batch = _batch(1)
    fields = Fields({"frac_coords": batch.frac_coords, "lattice": batch.lattice}, BatchContext.of(batch))
    torus = TorusVE(0.01, 3.0)
    times = torus.times(60)
    assert times[levels_of_noise(torus, times, fields, 0.5)[0]] == pytest.approx(0.5, rel=0.06)
    table = FractionalTorusTable([0, 0.01, 0.05, 0.1, 0.5], [1, 1, 1, 1, 1])
    assert levels_of_noise(table, [4.0, 3.0, 2.0, 1.0, 0.0], fields, 0.3)[0] == 2  # 0.05 of 6 Å
    assert levels_of_noise(table, [4.0, 3.0, 2.0, 1.0, 0.0], fields, 1e-6)[0] == 3  # never the clean level


def test_a_start_stays_near_its_template_and_costs_less() -> None:
    """Two modes 3 Å apart: from 0.4 Å around one of them hardly a sample gets to the other."""
    means = torch.tensor([[[0.5, 0.5, 0.5]], [[0.0, 0.5, 0.5]]])
    model = WrappedGaussianMixture(torch.tensor([0.5, 0.5]), means, torch.full((2,), 0.2), sigma_min=0.02)
    batch = _batch(200)
    known = Known.coordinates_only(batch)
    sampler = build(SamplerOptions(steps=40))
    whole = sampler.sample(model, SamplingTask(batch, known), seed=1)
    part = sampler.sample(model, SamplingTask(batch, known, start_sigma_A=0.4), seed=1)
    assert part.network_calls < 0.7 * whole.network_calls

    def share(frac: torch.Tensor) -> float:
        return float(((frac[:, 0] - 0.5).abs() < 0.25).double().mean())

    assert share(part.crystals.frac_coords) > 0.97
    assert share(whole.crystals.frac_coords) == pytest.approx(0.5, abs=3 * math.sqrt(0.25 / 200))
    again = sampler.sample(model, SamplingTask(batch, known, start_sigma_A=0.4).select([3, 7]), seed=1)
    assert torch.equal(again.crystals.frac_coords, part.crystals.frac_coords[[3, 7]])


def test_every_crystal_starts_at_its_own_level() -> None:
    """Fractional noise reaches 0.5 Å at another level in a large cell, whatever shares the batch."""
    table = FractionalTorusTable([0, *(0.004 * 1.1**k for k in range(50))], [1.0] * 51)
    batch = CrystalBatch(
        torch.full((2, 3), 0.5, dtype=torch.float64),
        torch.stack([3.0 * torch.eye(3), 9.0 * torch.eye(3)]).double(),
        torch.tensor([8, 8]),
        torch.tensor([1, 1]),
    )
    fields = Fields({"frac_coords": batch.frac_coords, "lattice": batch.lattice}, BatchContext.of(batch))
    times = [float(t) for t in range(50, -1, -1)]
    small, large = levels_of_noise(table, times, fields, 0.5)
    assert 3.0 * table.sigmas[round(times[small])] == pytest.approx(0.5, rel=0.06)
    assert 9.0 * table.sigmas[round(times[large])] == pytest.approx(0.5, rel=0.06)


def test_starts_that_contradict_are_refused() -> None:
    batch = _batch(1)
    known = Known.coordinates_only(batch)
    with pytest.raises(InputError, match="one of them"):
        SamplingTask(batch, known, start_level=3, start_sigma_A=0.4)
    for wrong in (0.0, math.inf, math.nan):
        with pytest.raises(InputError, match="must be positive"):
            SamplingTask(batch, known, start_sigma_A=wrong)
    with pytest.raises(InputError, match="places atoms afresh"):
        get_registry().create_sampler("random", {}).sample(None, SamplingTask(batch, known, start_sigma_A=0.3), seed=0)


def test_a_fraction_of_the_grid() -> None:
    """The whole of it is a start from the noised template at the prior's level; little of it costs few calls."""
    means = torch.tensor([[[0.5, 0.5, 0.5]], [[0.0, 0.5, 0.5]]])
    model = WrappedGaussianMixture(torch.tensor([0.5, 0.5]), means, torch.full((2,), 0.2), sigma_min=0.02)
    batch = _batch(3)
    known = Known.coordinates_only(batch)
    sampler = build(SamplerOptions(steps=40, corrector_steps=0))
    calls = {
        fraction: sampler.sample(model, SamplingTask(batch, known, start_fraction=fraction), seed=1).network_calls
        for fraction in (1.0, 0.5, 0.25, 1e-6)
    }
    assert calls == {1.0: 40, 0.5: 20, 0.25: 10, 1e-6: 1}
    assert SamplingTask(batch, known, start_fraction=0.5).select([1]).start_fraction == 0.5
    for wrong in (0.0, 1.5):
        with pytest.raises(InputError, match="above 0 and at most 1"):
            SamplingTask(batch, known, start_fraction=wrong)
    with pytest.raises(InputError, match="one of them"):
        SamplingTask(batch, known, start_fraction=0.5, start_sigma_A=0.4)
