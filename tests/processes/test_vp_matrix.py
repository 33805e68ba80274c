"""Variance-preserving noise: moments, jumps and reverse steps over any number of times."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from chggen_kit.draws import Draws
from chggen_kit.errors import PluginError
from chggen_kit.interfaces import CrystalId, FieldDraws, KernelOptions, Step
from chggen_kit.processes import VPMatrix, from_spec, to_spec
from chggen_kit.state import BatchContext, Fields

T = 50
BETAS = [0.0, *(0.001 + 0.4 * (i / T) ** 3 for i in range(1, T + 1))]
CELLS = VPMatrix("crystal", BETAS)
TIMES = (50, 41, 33, 25, 17, 9, 4, 1, 0)
N = 4000
CELL = torch.tensor([[5.0, 0, 0], [-2.0, 4, 0], [0, 1, 9]], dtype=torch.float64)


def _fields() -> Fields:
    context = BatchContext(torch.ones(N, dtype=torch.int64), torch.arange(N))
    return Fields({"lattice": CELL.repeat(N, 1, 1)}, context)


def _draws(number: int) -> FieldDraws:
    return Draws(5, [CrystalId("t", c) for c in range(N)], [1] * N).at(number, 0, "lattice", "crystal")


def _check_law(x: Tensor, time: int) -> None:
    abar = math.prod(1 - beta for beta in BETAS[: time + 1])
    assert torch.allclose(x.mean(dim=0), math.sqrt(abar) * CELL, atol=4 * math.sqrt((1 - abar) / N))
    assert float(x.std(dim=0).square().mean().sqrt()) == pytest.approx(math.sqrt(1 - abar), rel=0.02)


@pytest.mark.parametrize("level", [1, 3, 7])
def test_marginals_have_the_declared_law(level: int) -> None:
    fields = _fields()
    step = Step(TIMES, level, level, fields)
    _check_law(CELLS.forward_marginal(fields["lattice"], step, _draws(1)), TIMES[level])
    assert CELLS.marginal_std(step) == pytest.approx(
        math.sqrt(1 - math.prod(1 - beta for beta in BETAS[: TIMES[level] + 1]))
    )


@pytest.mark.parametrize(("level", "target"), [(7, 6), (6, 2), (7, 1)])
def test_jumps_compose_with_marginals(level: int, target: int) -> None:
    fields = _fields()
    low = CELLS.forward_marginal(fields["lattice"], Step(TIMES, level, level, fields), _draws(1))
    _check_law(CELLS.renoise(low, Step(TIMES, level, target, fields), _draws(2), KernelOptions()), TIMES[target])


@pytest.mark.parametrize(("level", "target"), [(1, 2), (1, 5), (6, 7), (2, 7)])
def test_reverse_steps_with_the_exact_noise_have_the_law_of_the_target(level: int, target: int) -> None:
    fields = _fields()
    step = Step(TIMES, level, target, fields)
    x = CELLS.forward_marginal(fields["lattice"], Step(TIMES, level, level, fields), _draws(1))
    noise = CELLS.denoising_target(fields["lattice"], x, step)
    assert noise is not None
    _check_law(CELLS.reverse_step(x, noise, step, _draws(2)), TIMES[target])


def test_the_last_step_returns_the_clean_value_and_the_clean_level_is_exact() -> None:
    fields = _fields()
    clean = len(TIMES) - 1
    step = Step(TIMES, clean - 1, clean, fields)
    x = CELLS.forward_marginal(fields["lattice"], Step(TIMES, clean - 1, clean - 1, fields), _draws(1))
    noise = CELLS.denoising_target(fields["lattice"], x, step)
    assert noise is not None
    assert torch.allclose(CELLS.reverse_step(x, noise, step, _draws(2)), fields["lattice"], atol=1e-12)
    at_clean = Step(TIMES, clean, clean, fields)
    assert torch.equal(CELLS.forward_marginal(fields["lattice"], at_clean, _draws(1)), fields["lattice"])
    assert CELLS.denoising_target(fields["lattice"], x, at_clean) is None


def test_one_hot_rows_are_drawn_by_crystal() -> None:
    species = VPMatrix("atom", BETAS)
    counts = [2, 3]
    context = BatchContext(torch.tensor(counts), torch.tensor([0, 0, 1, 1, 1]))
    one_hot = torch.eye(5, dtype=torch.float64)
    fields = Fields({"species": one_hot}, context)
    both = Draws(1, [CrystalId("a", 0), CrystalId("b", 0)], counts).at(1, 0, "species", "atom")
    alone = Draws(1, [CrystalId("b", 0)], [3]).at(1, 0, "species", "atom")
    step = Step(TIMES, 3, 3, fields)
    together = species.forward_marginal(one_hot, step, both)
    assert torch.equal(together[2:], species.forward_marginal(one_hot[2:], step, alone))
    assert species.prior(step, one_hot, both).shape == one_hot.shape


def test_spec_rebuilds_the_process_and_bad_schedules_are_refused() -> None:
    again = from_spec(to_spec(CELLS))
    assert isinstance(again, VPMatrix)
    assert again.parameters() == CELLS.parameters()
    assert again.scope == "crystal"
    with pytest.raises(PluginError, match="betas"):
        VPMatrix("crystal", [0.1, 0.2])
    with pytest.raises(PluginError, match="betas"):
        VPMatrix("crystal", [0.0, math.nan])
    with pytest.raises(PluginError, match="alphas_cumprod"):
        VPMatrix("crystal", [0.0, 0.2], [1.0, 1.1])
