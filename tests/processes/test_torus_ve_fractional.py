"""The torus process with noise in fractional units: kernels, hooks, and the exact denoising target."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from chggen_kit.draws import Draws
from chggen_kit.errors import PluginError
from chggen_kit.interfaces import CrystalId, FieldDraws, KernelOptions, Step
from chggen_kit.processes import FractionalTorusTable, FractionalTorusVE, from_spec, to_spec
from chggen_kit.state import BatchContext, Fields

T = 40
SIGMAS = [0.0, *(0.002 * 10 ** (i / (T - 1)) for i in range(T))]
NORMS = [1.0, *(1 / sigma**2 for sigma in SIGMAS[1:])]
"""Far below the cell's size the score's mean square is 1 / sigma^2."""
TABLE = FractionalTorusTable(SIGMAS, NORMS)
TIMES = (*range(T, 0, -3), 0)


def _fields(counts: list[int]) -> Fields:
    numbers = torch.tensor(counts)
    index = torch.repeat_interleave(torch.arange(len(counts)), numbers)
    # A skewed cell: fractional noise knows nothing of it.
    cell = torch.tensor([[5.0, 0, 0], [2.0, 4, 0], [0, 1, 9]], dtype=torch.float64)
    tensors = {
        "frac_coords": torch.full((sum(counts), 3), 0.5, dtype=torch.float64),
        "lattice": cell.repeat(len(counts), 1, 1),
    }
    return Fields(tensors, BatchContext(numbers, index))


def _draws(fields: Fields, number: int) -> FieldDraws:
    counts = fields.context.num_atoms.tolist()
    return Draws(5, [CrystalId("t", c) for c in range(len(counts))], counts).at(number, 0, "frac_coords", "atom")


def _spread(x: Tensor, fields: Fields) -> Tensor:
    """Root mean square along each axis."""
    return (x - fields["frac_coords"]).square().mean(dim=0).sqrt()


def test_marginal_and_jump_compose_on_every_axis() -> None:
    fields = _fields([20_000])
    x0 = fields["frac_coords"]
    direct = TABLE.forward_marginal(x0, Step(TIMES, 3, 3, fields), _draws(fields, 1))
    sigma = SIGMAS[TIMES[3]]
    assert _spread(direct, fields) / sigma == pytest.approx([1, 1, 1], rel=0.02)
    low = TABLE.forward_marginal(x0, Step(TIMES, 11, 11, fields), _draws(fields, 1))
    high = TABLE.renoise(low, Step(TIMES, 11, 3, fields), _draws(fields, 2), KernelOptions())
    assert _spread(high, fields) / sigma == pytest.approx([1, 1, 1], rel=0.02)
    clean = Step(TIMES, len(TIMES) - 1, len(TIMES) - 1, fields)
    assert torch.equal(TABLE.forward_marginal(x0, clean, _draws(fields, 1)), x0)


def test_predictor_with_the_exact_score_reaches_the_target_level() -> None:
    fields = _fields([20_000])
    x = TABLE.forward_marginal(fields["frac_coords"], Step(TIMES, 2, 2, fields), _draws(fields, 1))
    step = Step(TIMES, 2, 6, fields)
    # The network's output has unit variance and the sign of the noise.
    prediction = TABLE.denoising_target(fields["frac_coords"], x, step)
    assert prediction is not None
    assert float(prediction.square().mean()) == pytest.approx(1, rel=0.02)
    assert torch.allclose(TABLE.score(prediction, step), -(x - fields["frac_coords"]) / SIGMAS[TIMES[2]] ** 2)
    moved = TABLE.reverse_step(x, prediction, step, _draws(fields, 2))
    assert _spread(moved, fields) / SIGMAS[TIMES[6]] == pytest.approx([1, 1, 1], rel=0.02)
    clean = TABLE.reverse_step(x, prediction, Step(TIMES, 2, len(TIMES) - 1, fields), _draws(fields, 2))
    assert float(_spread(clean, fields).max()) < 1e-12


def test_corrector_takes_the_published_step() -> None:
    """eps = step_lr (sigma_t / sigma_1)^2 is 2 (delta sigma_t)^2 with delta^2 = step_lr / (2 sigma_1^2)."""
    fields = _fields([3, 2])
    step_lr = 4e-7
    kernel = KernelOptions(snr=math.sqrt(step_lr / (2 * SIGMAS[1] ** 2)))
    moving = torch.tensor([True, False, True, True, True])
    prediction = torch.linspace(-1, 1, 15, dtype=torch.float64).reshape(5, 3)
    step = Step(TIMES, 4, 4, fields)
    moved = TABLE.correct(fields["frac_coords"], prediction, step, moving, _draws(fields, 7), kernel)
    assert moved is not None
    t = TIMES[4]
    eps = step_lr * (SIGMAS[t] / SIGMAS[1]) ** 2
    noise = _draws(fields, 7).normal("corrector", fields["frac_coords"])
    expected = fields["frac_coords"] - eps * math.sqrt(NORMS[t]) * prediction + math.sqrt(2 * eps) * noise
    assert torch.allclose(moved[moving], expected[moving], atol=1e-14)
    assert torch.equal(moved[1], fields["frac_coords"][1])
    # No noise at the last level before the clean one.
    last = Step(TIMES, len(TIMES) - 2, len(TIMES) - 2, fields)
    quiet = TABLE.correct(fields["frac_coords"], torch.zeros_like(prediction), last, moving, _draws(fields, 7), kernel)
    assert quiet is not None
    assert torch.equal(quiet, fields["frac_coords"])


class _SmallerForMoreAtoms(FractionalTorusVE):
    """Levels that depend on the number of atoms, prediction = score times the level."""

    kind = "test"

    def parameters(self) -> dict[str, object]:
        return {}

    def sigma(self, time: float, context: BatchContext) -> Tensor:
        return 0.05 * time * context.num_atoms.double() ** (-1 / 3)

    def score(self, prediction: Tensor, step: Step) -> Tensor:
        return prediction / self.sigma(step.t, step.context)[step.context.crystal_index][:, None]

    def prediction(self, score: Tensor, step: Step) -> Tensor:
        return score * self.sigma(step.t, step.context)[step.context.crystal_index][:, None]


@pytest.mark.parametrize("corrector", ["fixed", "langevin-norm"])
def test_levels_may_differ_between_crystals(corrector: str) -> None:
    process, fields = _SmallerForMoreAtoms(), _fields([1000, 8000])
    times = (1.0, 0.4, 0.0)
    x0 = fields["frac_coords"]
    low = process.forward_marginal(x0, Step(times, 1, 1, fields), _draws(fields, 1))
    high = process.renoise(low, Step(times, 1, 0, fields), _draws(fields, 2), KernelOptions())
    expected = [0.05 / 10, 0.05 / 20]
    parts = [high[:1000], high[1000:]]
    assert [float((p - 0.5).square().mean().sqrt()) for p in parts] == pytest.approx(expected, rel=0.04)
    step = Step(times, 0, 1, fields)
    prediction = process.denoising_target(x0, high, step)
    assert prediction is not None
    moved = process.reverse_step(high, prediction, step, _draws(fields, 3))
    parts = [moved[:1000], moved[1000:]]
    assert [float((p - 0.5).square().mean().sqrt()) for p in parts] == pytest.approx(
        [0.4 * e for e in expected], rel=0.04
    )
    kernel = KernelOptions(corrector=corrector)  # type: ignore[arg-type]  # the parameter's values are the literals
    moving = torch.ones(9000, dtype=torch.bool)
    corrected = process.correct(high, prediction, step, moving, _draws(fields, 4), kernel)
    assert corrected is not None
    parts = [corrected[:1000], corrected[1000:]]
    assert [float((p - 0.5).square().mean().sqrt()) for p in parts] == pytest.approx(expected, rel=0.1)


def test_denoising_target_holds_at_any_distance() -> None:
    """Also where the published code's sum in float32 is 0 / 0 (15 spreads away)."""
    fields = _fields([2])
    step = Step(TIMES, len(TIMES) - 2, len(TIMES) - 2, fields)
    x = fields["frac_coords"] + torch.tensor([[0.3, 0.0, -0.3], [0.499, 0.0, 0.7]], dtype=torch.float64)
    target = TABLE.denoising_target(fields["frac_coords"], x, step)
    assert target is not None
    nearest = torch.tensor([[0.3, 0.0, -0.3], [0.499, 0.0, -0.3]], dtype=torch.float64)
    sigma = SIGMAS[TIMES[-2]]
    assert torch.allclose(target, nearest / sigma**2 / math.sqrt(NORMS[TIMES[-2]]), rtol=1e-9)
    clean = Step(TIMES, len(TIMES) - 1, len(TIMES) - 1, fields)
    assert TABLE.denoising_target(fields["frac_coords"], x, clean) is None


def test_spec_rebuilds_the_table_and_bad_ones_are_refused() -> None:
    again = from_spec(to_spec(TABLE))
    assert isinstance(again, FractionalTorusTable)
    assert again.parameters() == TABLE.parameters()
    with pytest.raises(PluginError, match="must be 0, then rise"):
        FractionalTorusTable([0.0, 0.2, 0.1], [1.0, 1.0, 1.0])
    with pytest.raises(PluginError, match="as many positive"):
        FractionalTorusTable([0.0, 0.1, 0.2], [1.0, 1.0])
    with pytest.raises(PluginError, match="as many positive"):
        FractionalTorusTable([0.0, 0.1, 0.2], [1.0, math.nan, 1.0])
