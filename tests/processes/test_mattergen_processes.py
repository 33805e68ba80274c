"""Kernel laws of the three processes of MatterGen: noising in two stages is noising in one, for cells of any size."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from chggen_kit.draws import Draws
from chggen_kit.errors import PluginError
from chggen_kit.interfaces.processes import FieldDraws, KernelOptions, NoiseProcess, Step
from chggen_kit.interfaces.sampler import CrystalId
from chggen_kit.processes import AbsorbingCategorical, LatticeVP, NumAtomsTorusVE, from_spec, to_spec
from chggen_kit.processes.lattice_vp import symmetric_factor, symmetric_noise
from chggen_kit.state import BatchContext, Fields

TIMES = (1.0, 0.9, 0.7, 0.5, 0.3, 0.1, 0.02, 0.0)
CLEAN = len(TIMES) - 1
DENSITY = 0.05771451654022283
LATTICE = LatticeVP(0.1, 20.0, DENSITY, 0.25, snr_ratio=0.5)
TORUS = NumAtomsTorusVE(0.01, 5.0)
TYPES = AbsorbingCategorical(101)
COPIES = 4000
JUMPS = [(6, 4), (5, 2), (4, 3), (6, 1)]
"""From level to noisier target."""


def context(num_atoms: int, copies: int) -> BatchContext:
    sizes = torch.full((copies,), num_atoms)
    return BatchContext(sizes, torch.repeat_interleave(torch.arange(copies), sizes))


def fields(num_atoms: int, copies: int, **values: Tensor) -> Fields:
    return Fields(values, context(num_atoms, copies))


def draws(process: NoiseProcess, f: Fields, number: int) -> FieldDraws:
    ids = [CrystalId("test", copy) for copy in range(f.context.n_crystals)]
    return Draws(0, ids, f.context.num_atoms.tolist()).at(number, 0, "field", process.scope)


def noised(process: NoiseProcess, x0: Tensor, f: Fields, level: int, target: int) -> tuple[Tensor, Tensor]:
    """At `target`: in one stage, and in two by way of `level`."""
    once = process.forward_marginal(x0, Step(TIMES, target, target, f), draws(process, f, 1))
    first = process.forward_marginal(x0, Step(TIMES, level, level, f), draws(process, f, 2))
    twice = process.renoise(first, Step(TIMES, level, target, f), draws(process, f, 3), KernelOptions())
    return once, twice


@pytest.mark.parametrize(("level", "target"), JUMPS)
@pytest.mark.parametrize("num_atoms", [1, 2, 7, 20])
def test_cells(level: int, target: int, num_atoms: int) -> None:
    cell = torch.tensor([[4.0, 0.5, -0.2], [0.5, 5.0, 0.9], [-0.2, 0.9, 6.0]], dtype=torch.float64)
    x0 = cell.repeat(COPIES, 1, 1)
    f = fields(num_atoms, COPIES, lattice=x0)
    share = math.exp(-(TIMES[target] ** 2) * 19.9 / 4 - TIMES[target] * 0.05)
    limit = (num_atoms / DENSITY) ** (1 / 3)
    mean = share * cell + (1 - share) * limit * torch.eye(3, dtype=torch.float64)
    spread = math.sqrt((1 - share**2) * 0.25) * num_atoms ** (1 / 3)
    for x in noised(LATTICE, x0, f, level, target):
        assert torch.equal(x, x.transpose(1, 2))
        assert (x.mean(dim=0) - mean).abs().max() < 4.5 * spread / math.sqrt(COPIES)
        assert (x.std(dim=0) / spread - 1).abs().max() < 4.5 / math.sqrt(2 * COPIES)
        # The six entries are independent.
        flat = x[:, *torch.triu_indices(3, 3)].T
        correlation = torch.corrcoef(flat) - torch.eye(6, dtype=torch.float64)
        assert correlation.abs().max() < 4.5 / math.sqrt(COPIES)


@pytest.mark.parametrize(("level", "target"), [(6, 4), (6, 5), (5, 4)])
@pytest.mark.parametrize("num_atoms", [1, 3, 20])
def test_positions(level: int, target: int, num_atoms: int) -> None:
    copies = COPIES // num_atoms
    x0 = torch.full((copies * num_atoms, 3), 0.4, dtype=torch.float64)
    f = fields(num_atoms, copies, frac_coords=x0)
    spread = 0.01 * 500 ** TIMES[target] * num_atoms ** (-1 / 3)
    count = x0.numel()
    for x in noised(TORUS, x0, f, level, target):
        offset = x - x0
        offset -= offset.round()
        assert abs(float(offset.mean())) < 4.5 * spread / math.sqrt(count)
        assert abs(float(offset.std()) / spread - 1) < 4.5 / math.sqrt(2 * count)


@pytest.mark.parametrize(("level", "target"), JUMPS)
def test_types(level: int, target: int) -> None:
    x0 = torch.nn.functional.one_hot(torch.full((COPIES,), 25), 101).float()
    f = fields(1, COPIES, species=x0)
    t = TIMES[target]
    for x in noised(TYPES, x0, f, level, target):
        assert set(x.argmax(dim=1).tolist()) == {25, 100}
        assert abs(float(x[:, -1].mean()) - t) < 4.5 * math.sqrt(t * (1 - t) / COPIES)


def test_clean_level_is_the_identity() -> None:
    f = fields(2, 3)
    step = Step(TIMES, CLEAN, CLEAN, f)
    for process, x in (
        (LATTICE, torch.eye(3).repeat(3, 1, 1)),
        (TORUS, torch.rand(6, 3, generator=torch.Generator().manual_seed(0))),
        (TYPES, torch.nn.functional.one_hot(torch.arange(6), 101).float()),
    ):
        assert torch.equal(process.forward_marginal(x, step, draws(process, f, 0)), x)


def test_priors() -> None:
    f = fields(8, COPIES)
    step = Step(TIMES, 0, 0, f)
    cells = LATTICE.prior(step, torch.zeros(COPIES, 3, 3), draws(LATTICE, f, 0))
    assert torch.allclose(cells.mean(dim=0), (8 / DENSITY) ** (1 / 3) * torch.eye(3), atol=0.08)
    assert torch.allclose(cells.std(dim=0), torch.ones(3, 3), atol=0.06)
    positions = TORUS.prior(step, torch.zeros(8 * COPIES, 3), draws(TORUS, f, 0))
    assert positions.min() >= 0
    assert positions.max() < 1
    assert abs(float(torch.cos(2 * math.pi * positions).mean())) < 0.01
    types = TYPES.prior(step, torch.zeros(8 * COPIES, 101), draws(TYPES, f, 0))
    assert bool((types.argmax(dim=1) == 100).all())


def descend(process: NoiseProcess, predict: object, x: Tensor, f: Fields, times: tuple[float, ...]) -> Tensor:
    for level in range(len(times) - 1):
        step = Step(times, level, level + 1, f)
        x = process.reverse_step(x, predict(x, times[level]), step, draws(process, f, 10 + level))  # type: ignore[operator]
    return x


def test_predictor_finds_a_gaussian_cell() -> None:
    """Data of known mean and spread: the ancestral sampler with the exact score must end in that law."""
    num_atoms, steps, copies = 5, 100, 800
    f = fields(num_atoms, copies)
    centre = 0.7 * (num_atoms / DENSITY) ** (1 / 3) * torch.eye(3, dtype=torch.float64)
    data_std = 0.3
    limit_std = 0.5 * num_atoms ** (1 / 3)
    mu = (num_atoms / DENSITY) ** (1 / 3) * torch.eye(3, dtype=torch.float64)

    def predict(x: Tensor, t: float) -> Tensor:
        share = LATTICE.mean_share(t)
        noise = (1 - share**2) * limit_std**2
        mean = share * centre + (1 - share) * mu
        return -(x - mean) / (share**2 * data_std**2 + noise) * math.sqrt(noise)

    times = (*(1 - i / steps for i in range(steps)), 0.0)
    start = LATTICE.prior(Step(times, 0, 0, f), torch.zeros(copies, 3, 3).double(), draws(LATTICE, f, 0))
    x = descend(LATTICE, predict, start, f, times)
    assert (x.mean(dim=0) - centre).abs().max() < 0.05
    assert (x.std(dim=0) / data_std - 1).abs().max() < 0.13


def test_predictor_of_types_has_the_posteriors_law() -> None:
    """From all mask through the levels, with fixed probabilities: types come out with those, revealed at 1 - t."""
    f = fields(1, COPIES)
    logits = torch.full((COPIES, 101), -1e10)
    logits[:, 7], logits[:, 15] = math.log(0.3), math.log(0.7)
    start = TYPES.prior(Step(TIMES, 0, 0, f), torch.zeros(COPIES, 101), draws(TYPES, f, 0))
    half = descend(TYPES, lambda *_: logits, start, f, TIMES[:4])
    # The last level of the shortened grid counts as clean: all are revealed there, at the latest the most probable.
    assert bool((half[:, 100] == 0).all())
    x = start
    for level in range(3):
        step = Step(TIMES, level, level + 1, f)
        x = TYPES.reverse_step(x, logits, step, draws(TYPES, f, 10 + level))
        kept = x.clone()
        masked = TIMES[level + 1]
        assert abs(float(x[:, 100].mean()) - masked) < 4.5 * math.sqrt(masked * (1 - masked) / COPIES)
    revealed = x[x[:, 100] == 0]
    assert abs(float(revealed[:, 7].mean()) - 0.3) < 4.5 * math.sqrt(0.21 / len(revealed))
    again = TYPES.reverse_step(kept, logits, Step(TIMES, 3, 4, f), draws(TYPES, f, 20))
    was = kept[:, 100] == 0
    assert torch.equal(again[was], kept[was])  # what has a type keeps it


def test_types_never_end_masked_and_bad_predictions_show() -> None:
    f = fields(1, 3)
    masked = TYPES.prior(Step(TIMES, 0, 0, f), torch.zeros(3, 101), draws(TYPES, f, 0))
    logits = torch.zeros(3, 101)
    logits[:, 100] = 50  # a network that insists on the mask
    logits[1, 3] = torch.nan
    last = TYPES.reverse_step(masked, logits, Step(TIMES, CLEAN - 1, CLEAN, f), draws(TYPES, f, 1))
    assert bool((last[[0, 2], 100] == 0).all())
    assert bool(torch.isnan(last[1]).all())


def test_corrector_keeps_the_spread_of_a_cell() -> None:
    """Langevin steps with the exact score of the level's law leave it nearly as it is, crystal by crystal."""
    f, level, copies = fields(6, 600), 4, 600
    step = Step(TIMES, level, level, f)
    share = LATTICE.mean_share(TIMES[level])
    sigma = math.sqrt(1 - share**2) * 0.5 * 6 ** (1 / 3)
    mean = 30 * torch.eye(3, dtype=torch.float64)  # far from cells with negative eigenvalues
    x = mean + sigma * symmetric_noise(torch.randn(copies, 3, 3, generator=torch.Generator().manual_seed(1)).double())
    moving = torch.ones(copies, dtype=torch.bool)
    # A cell has six free numbers: the norm of so few scatters, as it does for two atoms.
    for corrector, tolerance in (("langevin-norm", 0.2), ("fixed", 0.08)):
        kernel = KernelOptions(corrector=corrector, snr=0.4)  # type: ignore[arg-type]
        y = x
        for call in range(40):
            moved = LATTICE.correct(y, -(y - mean) / sigma, step, moving, draws(LATTICE, f, 30 + call), kernel)
            assert moved is not None
            y = moved
        assert abs(float((y - mean).std()) / sigma - 1) < tolerance, corrector


def test_corrector_norms_are_each_crystals_own() -> None:
    """A crystal moves alike whatever shares its batch, and one without a score, or that is known, stays."""
    alone, together = fields(4, 1), fields(4, 3)
    rng = torch.Generator().manual_seed(3)
    cells, scores = torch.eye(3).repeat(3, 1, 1) * 5, torch.randn(3, 3, 3, generator=rng)
    scores[1:] *= torch.tensor([100.0, 0.0])[:, None, None]
    kernel = KernelOptions(corrector="langevin-norm")
    step = Step(TIMES, 3, 3, together)
    moving = torch.ones(3, dtype=torch.bool)
    batch = LATTICE.correct(cells, scores, step, moving, draws(LATTICE, together, 1), kernel)
    one = LATTICE.correct(cells[:1], scores[:1], Step(TIMES, 3, 3, alone), moving[:1], draws(LATTICE, alone, 1), kernel)
    assert batch is not None
    assert one is not None
    assert torch.allclose(batch[0], one[0], atol=1e-6)
    assert torch.equal(batch[2], cells[2])
    still = LATTICE.correct(cells, scores, step, ~moving, draws(LATTICE, together, 1), kernel)
    assert still is not None
    assert torch.equal(still, cells)
    positions, pull = torch.rand(12, 3, generator=rng), torch.randn(12, 3, generator=rng)
    generated = torch.arange(12) % 4 > 1
    louder = torch.where(generated[:, None], pull, 1000 * pull)  # known atoms do not count
    results = [TORUS.correct(positions, p, step, generated, draws(TORUS, together, 1), kernel) for p in (pull, louder)]
    assert results[0] is not None
    assert results[1] is not None
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0][~generated], positions[~generated])


def test_published_kernels_couple_a_batch_and_draw_one_number_a_cell() -> None:
    published = LatticeVP(0.1, 20.0, DENSITY, 0.25, as_published=True)
    f = fields(4, 2)
    step = Step(TIMES, 3, 4, f)
    cells = torch.eye(3).repeat(2, 1, 1) * 5
    quiet = published.reverse_step(cells, torch.zeros(2, 3, 3), step, draws(published, f, 1))
    noise = quiet - cells
    assert torch.allclose(noise[:, 0, 1], noise[:, 1, 2])
    scores = torch.ones(2, 3, 3)
    kernel, moving = KernelOptions(), torch.ones(2, dtype=torch.bool)
    a = published.correct(cells, scores, step, moving, draws(published, f, 1), kernel)
    scores[1] = 50
    b = published.correct(cells, scores, step, moving, draws(published, f, 1), kernel)
    assert a is not None
    assert b is not None
    assert not torch.allclose(a[0], b[0])


def test_symmetric_factor_is_the_same_cell() -> None:
    rows = torch.randn(50, 3, 3, generator=torch.Generator().manual_seed(2)).double() * 4
    factor = symmetric_factor(rows)
    assert torch.allclose(factor, factor.transpose(1, 2), atol=1e-12)
    assert torch.allclose(factor @ factor.transpose(1, 2), rows @ rows.transpose(1, 2), atol=1e-9)
    broken = torch.full((1, 3, 3), torch.nan)
    assert bool(torch.isnan(symmetric_factor(broken)).all())


def test_an_exploded_cell_is_not_sane() -> None:
    cells = torch.eye(3).repeat(2, 1, 1) * torch.tensor([8.0, 5000.0])[:, None, None]
    assert LATTICE.is_sane(cells).tolist() == [True, False]


@pytest.mark.parametrize("process", [LATTICE, TORUS, TYPES])
def test_built_from_plain_parameters(process: NoiseProcess) -> None:
    assert to_spec(from_spec(to_spec(process))) == to_spec(process)


def test_impossible_parameters_are_refused() -> None:
    with pytest.raises(PluginError, match="beta_min"):
        LatticeVP(1.0, 0.5, DENSITY, 0.25)
    with pytest.raises(PluginError, match="positive"):
        LatticeVP(0.1, 20.0, 0.0, 0.25)
    with pytest.raises(PluginError, match="sigma_min"):
        NumAtomsTorusVE(0.0, 1.0)
    with pytest.raises(PluginError, match="beside the mask"):
        AbsorbingCategorical(1)
