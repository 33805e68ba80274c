"""The kernels of the torus VE process: moments, composition, and the published slips."""

from __future__ import annotations

import math

import pytest
import torch

from chggen_kit.draws import Draws
from chggen_kit.errors import PluginError
from chggen_kit.interfaces import CrystalId, FieldDraws, KernelOptions, Step
from chggen_kit.processes import Fixed, TorusVE, from_spec, to_spec
from chggen_kit.state import BatchContext, Fields
from chggen_kit.torus import to_cartesian

# Geometric grid of 50 levels from 10 to 0.001 Å, as the paper's noise range.
PAPER_RANGE = TorusVE(0.001, 10.0)


def _fields(n_crystals: int, atoms: int, *, edge: float = 400.0) -> Fields:
    """Crystals in a cell so large that nothing wraps."""
    counts = torch.full((n_crystals,), atoms)
    index = torch.repeat_interleave(torch.arange(n_crystals), counts)
    tensors = {
        "frac_coords": torch.full((n_crystals * atoms, 3), 0.5, dtype=torch.float64),
        "lattice": edge * torch.eye(3, dtype=torch.float64).repeat(n_crystals, 1, 1),
    }
    return Fields(tensors, BatchContext(counts, index))


def _draws(fields: Fields, number: int) -> FieldDraws:
    counts = fields.context.num_atoms.tolist()
    return Draws(3, [CrystalId("t", c) for c in range(len(counts))], counts).at(number, 0, "frac_coords", "atom")


def _spread(x: torch.Tensor, fields: Fields) -> float:
    offset = x - fields["frac_coords"]
    cart = to_cartesian(offset, fields["lattice"], fields.context.crystal_index)
    return float(cart.square().mean().sqrt())


def test_grid_is_geometric_and_ends_clean() -> None:
    times = PAPER_RANGE.times(200)
    assert len(times) == 201
    assert times[-1] == 0.0
    assert times[0] == pytest.approx(10.0)
    assert times[-2] == pytest.approx(0.001)
    assert times[1] / times[0] == pytest.approx(times[100] / times[99])


def test_marginal_has_the_levels_spread_and_is_the_identity_at_the_clean_level() -> None:
    fields, times = _fields(1, 20_000), PAPER_RANGE.times(50)
    x0 = fields["frac_coords"]
    x = PAPER_RANGE.forward_marginal(x0, Step(times, 10, 10, fields), _draws(fields, 1))
    assert _spread(x, fields) == pytest.approx(times[10], rel=0.015)
    assert torch.equal(PAPER_RANGE.forward_marginal(x0, Step(times, 50, 50, fields), _draws(fields, 1)), x0)


@pytest.mark.parametrize(("level", "target"), [(11, 10), (20, 10), (49, 30), (50, 40)])
def test_exact_jump_composes(level: int, target: int) -> None:
    """Also over ten levels: the original code lost the square root there."""
    fields, times = _fields(1, 20_000), PAPER_RANGE.times(50)
    low = PAPER_RANGE.forward_marginal(fields["frac_coords"], Step(times, level, level, fields), _draws(fields, 1))
    high = PAPER_RANGE.renoise(low, Step(times, level, target, fields), _draws(fields, 2), KernelOptions())
    assert _spread(high, fields) == pytest.approx(times[target], rel=0.015)


def test_paper_jump_under_noises_at_50_levels() -> None:
    fields, times = _fields(1, 20_000), PAPER_RANGE.times(50)
    step = Step(times, 21, 20, fields)
    exact = PAPER_RANGE.renoise(fields["frac_coords"], step, _draws(fields, 1), KernelOptions())
    paper = PAPER_RANGE.renoise(fields["frac_coords"], step, _draws(fields, 1), KernelOptions(jump="paper"))
    # One index lower on a geometric grid: the ratio of neighbouring levels, 0.83.
    assert _spread(paper, fields) / _spread(exact, fields) == pytest.approx(times[21] / times[20], rel=1e-9)
    assert 1 - times[21] / times[20] == pytest.approx(0.17, abs=0.005)


def test_predictor_with_the_exact_score_reaches_the_target_level() -> None:
    """x ~ N(0, sigma_t^2) has score -x / sigma_t^2; eq. (4) must turn it into N(0, sigma_s^2)."""
    fields, times = _fields(1, 20_000), PAPER_RANGE.times(50)
    x = PAPER_RANGE.forward_marginal(fields["frac_coords"], Step(times, 10, 10, fields), _draws(fields, 1))
    cart = (x - fields["frac_coords"]) * 400.0
    moved = PAPER_RANGE.reverse_step(x, -cart / times[10], Step(times, 10, 11, fields), _draws(fields, 2))
    assert _spread(moved, fields) == pytest.approx(times[11], rel=0.015)
    clean = PAPER_RANGE.reverse_step(x, -cart / times[10], Step(times, 10, 50, fields), _draws(fields, 2))
    assert _spread(clean, fields) < 1e-9


def _stationary_spread(atoms: int, kernel: KernelOptions, *, calls: int = 40) -> float:
    """Spread over sigma after many corrector calls on atoms whose score is that of N(0, sigma^2)."""
    fields = _fields(max(40, 3000 // atoms), atoms)
    times = (1.0, 0.5, 0.0)
    step = Step(times, 0, 0, fields)
    moving = torch.ones(fields.context.n_atoms, dtype=torch.bool)
    x = PAPER_RANGE.forward_marginal(fields["frac_coords"], step, _draws(fields, 0))
    for call in range(1, calls + 1):
        score = -(x - fields["frac_coords"]) * 400.0
        corrected = PAPER_RANGE.correct(x, score, step, moving, _draws(fields, call), kernel)
        assert corrected is not None
        x = corrected
    return _spread(x, fields)


@pytest.mark.parametrize("atoms", [1, 2, 4, 16])
def test_default_corrector_keeps_the_levels_spread(atoms: int) -> None:
    spread = _stationary_spread(atoms, KernelOptions())
    assert abs(spread - 1) < 0.15
    assert spread == pytest.approx(1 / math.sqrt(1 - 0.4**2), rel=0.03)


@pytest.mark.parametrize(("atoms", "expected"), [(1, 1.45), (2, 1.26), (4, 1.17), (16, 1.10)])
def test_langevin_norm_corrector_spreads_with_few_atoms(atoms: int, expected: float) -> None:
    """The original's norm per atom is the one-atom case for every atom: even with the cap it is 45 % too wide."""
    kernel = KernelOptions(corrector="langevin-norm")
    assert _stationary_spread(atoms, kernel) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("bad", [0.0, math.nan, math.inf])
def test_a_zero_or_non_finite_norm_means_no_step(bad: float) -> None:
    fields = _fields(2, 3)
    prediction = torch.ones(6, 3, dtype=torch.float64)
    prediction[:3] = bad
    moving = torch.ones(6, dtype=torch.bool)
    x = PAPER_RANGE.correct(
        fields["frac_coords"],
        prediction,
        Step((1.0, 0.5, 0.0), 0, 0, fields),
        moving,
        _draws(fields, 1),
        KernelOptions(corrector="langevin-norm"),
    )
    assert x is not None
    assert torch.equal(x[:3], fields["frac_coords"][:3])
    assert not torch.equal(x[3:], fields["frac_coords"][3:])


def test_corrector_moves_only_what_may_move() -> None:
    fields = _fields(1, 4)
    moving = torch.tensor([False, True, True, False])
    x = PAPER_RANGE.correct(
        fields["frac_coords"],
        torch.ones(4, 3, dtype=torch.float64),
        Step((1.0, 0.5, 0.0), 0, 0, fields),
        moving,
        _draws(fields, 1),
        KernelOptions(),
    )
    assert x is not None
    assert torch.equal((x != fields["frac_coords"]).any(dim=1), moving)


def test_align_is_exact_for_one_known_atom_and_leaves_directionless_cases() -> None:
    fields = _fields(1, 2, edge=5.0)
    x = torch.tensor([[0.9, 0.1, 0.2], [0.4, 0.4, 0.4]], dtype=torch.float64)
    y = torch.tensor([[0.1, 0.1, 0.1], [0.0, 0.0, 0.0]], dtype=torch.float64)
    step = Step((1.0, 0.0), 0, 0, fields)
    known = torch.tensor([True, False])
    moved = PAPER_RANGE.align(x, y, known, step)
    assert torch.allclose(moved[0], y[0])
    assert torch.allclose(moved[1], torch.tensor([0.6, 0.4, 0.3], dtype=torch.float64))
    assert torch.equal(PAPER_RANGE.align(x, y, torch.tensor([False, False]), step), x)
    # Two known atoms that ask for opposite slides: no direction, no slide.
    opposite = torch.tensor([[0.4, 0.1, 0.2], [0.4, 0.4, 0.4]], dtype=torch.float64)
    far = opposite + torch.tensor([[0.25, 0, 0], [-0.25, 0, 0]], dtype=torch.float64)
    assert torch.allclose(PAPER_RANGE.align(opposite, far, torch.tensor([True, True]), step), opposite)


@pytest.mark.parametrize(("edge", "sigma"), [(400.0, 0.5), (4.0, 0.3), (4.0, 3.0)])
def test_the_denoising_target_is_sigma_times_the_wrapped_score(edge: float, sigma: float) -> None:
    """By differences of the log density of the wrapped normal, which is a sum over images."""
    fields = _fields(1, 5, edge=edge)
    x0, step = fields["frac_coords"], Step((sigma, 0.0), 0, 0, fields)
    x = PAPER_RANGE.forward_marginal(x0, step, _draws(fields, 1))
    target = PAPER_RANGE.denoising_target(x0, x, step)
    assert target is not None
    images = edge * torch.cartesian_prod(*[torch.arange(-6.0, 7.0, dtype=torch.float64)] * 3)
    offset = (edge * (x - x0 - (x - x0).round())).requires_grad_()
    distances = (offset[:, None] + (images[None] if edge < 100 else 0 * images[None, :1])).square().sum(dim=-1)
    log_density = torch.logsumexp(-distances / (2 * sigma**2), dim=1)
    (score,) = torch.autograd.grad(log_density.sum(), offset)
    assert torch.allclose(target, sigma * score, rtol=1e-6, atol=1e-9)
    assert PAPER_RANGE.denoising_target(x0, x0, Step((sigma, 0.0), 1, 1, fields)) is None


def test_specs_rebuild_processes() -> None:
    for process in (PAPER_RANGE, Fixed("atom"), Fixed("crystal")):
        again = from_spec(to_spec(process))
        assert type(again) is type(process)
        assert again.parameters() == process.parameters()
        assert again.scope == process.scope


def test_bad_processes_are_refused() -> None:
    with pytest.raises(PluginError, match="sigma_min"):
        TorusVE(1.0, 0.5)
    with pytest.raises(PluginError, match="torus-ve-cartesian"):
        from_spec({"kind": "torus-ve-cartesiam"})
    with pytest.raises(PluginError, match="cannot be built"):
        from_spec({"kind": "fixed", "scoop": "atom"})
