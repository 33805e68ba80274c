"""The shared loop: determinism, batching, known values, failures, options."""

from __future__ import annotations

import pytest
import torch

from chggen_kit.errors import InputError
from chggen_kit.interfaces import CrystalId, Sampler, SampleResult, SamplingTask
from chggen_kit.samplers.inpaint import build_clean_host, build_repaint, build_replace
from chggen_kit.samplers.options import PAPER, ResolvedOptions, SamplerOptions, resolve
from chggen_kit.samplers.predictor_corrector import build
from chggen_kit.samplers.random_placement import RandomOptions, RandomPlacement
from chggen_kit.samplers.schedule import repaint_schedule
from chggen_kit.state import CrystalBatch, Fields, Known
from chggen_kit.testing.analytic import RelativePair
from chggen_kit.torus import neighbours

MODEL = RelativePair(torch.tensor([0.4, 0.3, 0.2]), 0.3)
FEW = SamplerOptions(steps=12, corrector_steps=1, jump_length=3)
COORDS = [[0.123456789, 0.5, 0.999999999], [0.0, 0, 0]]


class Brittle(RelativePair):
    """Predicts NaN for the crystals whose first atom's cell has been marked by a longer a axis."""

    def predict(self, fields: Fields, t: torch.Tensor) -> Fields:
        out = super().predict(fields, t)["frac_coords"].clone()
        broken = fields["lattice"][:, 0, 0] > 6.5
        out[broken[fields.context.crystal_index]] = torch.nan
        return Fields({"frac_coords": out}, fields.context)


@pytest.mark.parametrize("sampler", [build_repaint(FEW), build_replace(FEW), build_clean_host(FEW)])
def test_same_seed_same_crystals_and_known_bits_kept(make_task, sampler: Sampler) -> None:  # noqa: ANN001
    task = make_task(3, COORDS, [True, False])
    first = sampler.sample(MODEL, task, seed=4)
    again = sampler.sample(MODEL, task, seed=4)
    other = sampler.sample(MODEL, task, seed=5)
    assert torch.equal(first.crystals.frac_coords, again.crystals.frac_coords)
    assert not torch.equal(first.crystals.frac_coords, other.crystals.frac_coords)
    known = task.known.frac_coords
    assert torch.equal(first.crystals.frac_coords[known], task.templates.frac_coords[known])
    guests = first.crystals.frac_coords[~known]
    assert len(torch.unique(guests, dim=0)) == 3  # copies of one template differ
    assert bool(((guests >= 0) & (guests < 1)).all())


def test_draws_do_not_depend_on_the_batch(make_task) -> None:  # noqa: ANN001
    task = make_task(5, COORDS, [True, False])
    sampler = build_repaint(FEW)
    together = sampler.sample(MODEL, task, seed=0).crystals.select([3])
    alone = sampler.sample(MODEL, task.select([3]), seed=0).crystals
    assert torch.allclose(together.frac_coords, alone.frac_coords, atol=1e-9)


def test_a_crystal_that_turns_non_finite_stops_alone(make_task) -> None:  # noqa: ANN001
    task = make_task(4, COORDS, [True, False])
    lattice = task.templates.lattice.clone()
    lattice[2, 0, 0] = 7.0
    templates = CrystalBatch(task.templates.frac_coords, lattice, task.templates.species, task.templates.num_atoms)
    marked = SamplingTask(templates, task.known, task.ids)
    brittle = Brittle(MODEL.difference, 0.3)
    result = build_repaint(FEW).sample(brittle, marked, seed=0)
    assert result.reasons == (None, None, "non-finite", None)
    assert bool(torch.isfinite(result.crystals.frac_coords).all())
    whole = build_repaint(FEW).sample(MODEL, marked, seed=0)
    for crystal in (0, 1, 3):
        assert torch.equal(result.crystals.select([crystal]).frac_coords, whole.crystals.select([crystal]).frac_coords)


def test_start_level_stays_near_the_template(make_task) -> None:  # noqa: ANN001
    task = make_task(50, [[0.2, 0.2, 0.2], [0.6, 0.5, 0.4]], [False, False])
    late = SamplingTask(task.templates, task.known, task.ids, start_level=9)  # 0.05 Å on this grid
    moved = build(FEW).sample(MODEL, late, seed=0).crystals.frac_coords - task.templates.frac_coords
    assert float((6.0 * (moved - moved.round())).abs().max()) < 0.6


def test_unconditional_sampling_refuses_known_coordinates(make_task) -> None:  # noqa: ANN001
    with pytest.raises(InputError, match="repaint"):
        build(FEW).sample(MODEL, make_task(1, COORDS, [True, False]), seed=0)


def test_passes_belong_to_repaint(make_task) -> None:  # noqa: ANN001
    for sampler in (build(SamplerOptions(passes=3)), build_replace(SamplerOptions(passes=3))):
        with pytest.raises(InputError, match="repaint"):
            sampler.sample(MODEL, make_task(1, COORDS, [False, False]), seed=0)


def test_every_call_is_told_the_level_that_the_state_is_at(make_task) -> None:  # noqa: ANN001
    """The original's corrector asks for the score one level late."""
    asked: list[float] = []

    class Listening(RelativePair):
        def predict(self, fields: Fields, t: torch.Tensor) -> Fields:
            asked.append(float(t[0]))
            return super().predict(fields, t)

    options = SamplerOptions(steps=6, corrector_steps=2, passes=2, jump_length=2)
    build_repaint(options).sample(Listening(MODEL.difference, 0.3), make_task(1, COORDS, [True, False]), seed=0)
    times = MODEL.times(6)
    expected: list[float] = []
    for level, target in repaint_schedule(7, 2, 2):
        if target > level:
            expected += [times[level]] + [times[target]] * (2 if target < 6 else 0)
    assert asked == pytest.approx(expected)


def test_a_fixed_field_cannot_be_generated(make_task) -> None:  # noqa: ANN001
    task = make_task(1, COORDS, [True, False])
    known = Known(task.known.frac_coords, torch.tensor([True, False]), task.known.lattice)
    with pytest.raises(InputError, match="species"):
        build_repaint(FEW).sample(MODEL, SamplingTask(task.templates, known), seed=0)


def test_alignment_needs_translation_invariance(make_task) -> None:  # noqa: ANN001
    model = RelativePair(MODEL.difference, 0.3)
    model._capabilities = model._capabilities.__class__(**{**vars(model._capabilities), "translation_invariant": False})
    with pytest.raises(InputError, match="translation"):
        build_repaint(SamplerOptions(align="mean")).sample(model, make_task(1, COORDS, [True, False]), seed=0)


def test_trajectory_only_when_asked(make_task) -> None:  # noqa: ANN001
    task = make_task(1, COORDS, [True, False])
    assert build_replace(FEW).sample(MODEL, task, seed=0).trajectory == ()
    kept = build_replace(SamplerOptions(steps=12, trajectory_every=5)).sample(MODEL, task, seed=0).trajectory
    assert [level for level, _ in kept] == [5, 10, 12]


def test_options_take_the_users_word_then_the_preset_then_the_model() -> None:
    assert resolve(SamplerOptions(), {}) == ResolvedOptions()
    assert resolve(SamplerOptions(steps=7), {"steps": 50, "snr": 0.2}) == ResolvedOptions(steps=7, snr=0.2)
    paper = resolve(SamplerOptions(preset="paper", passes=5), {"steps": 50})
    assert paper.steps == PAPER["steps"]
    assert paper.passes == 5
    with pytest.raises(InputError, match="stepz"):
        resolve(SamplerOptions(), {"stepz": 3})


def test_the_papers_cost(make_task) -> None:  # noqa: ANN001
    """200 levels, 5 corrector calls, jump 10, 3 passes: the original's 3,474 calls, but none at the clean level."""

    class Counting(RelativePair):
        def predict(self, fields: Fields, t: torch.Tensor) -> Fields:
            del t
            return Fields({"frac_coords": torch.zeros_like(fields["frac_coords"])}, fields.context)

    options = SamplerOptions(preset="paper", jump_length=10)
    result: SampleResult = build_repaint(options).sample(
        Counting(MODEL.difference, 0.3), make_task(1, COORDS, [True, False]), seed=0
    )
    assert result.network_calls == 579 * 6 - 5


def test_random_placement_keeps_its_distance_and_its_host(make_task) -> None:  # noqa: ANN001
    task = make_task(6, [[0.9, 0.9, 0.9], [0, 0, 0], [0, 0, 0], [0, 0, 0]], [True, False, False, False])
    result = RandomPlacement(RandomOptions(min_distance_A=2.2)).sample(None, task, seed=0)
    assert result.reasons == (None,) * 6
    found = neighbours(result.crystals.frac_coords, result.crystals.lattice, result.crystals.num_atoms, 2.2)
    assert len(found.source) == 0
    known = task.known.frac_coords
    assert torch.equal(result.crystals.frac_coords[known], task.templates.frac_coords[known])
    assert len(torch.unique(result.crystals.frac_coords[~known], dim=0)) == 18


def test_random_placement_says_when_there_is_no_room(make_task) -> None:  # noqa: ANN001
    task = make_task(2, [[0.9, 0.9, 0.9], [0, 0, 0], [0, 0, 0], [0, 0, 0]], [True, False, False, False])
    result = RandomPlacement(RandomOptions(min_distance_A=5.0, restarts=2)).sample(None, task, seed=0)
    assert result.reasons == ("no-room", "no-room")


def test_ids_count_equal_templates(make_task) -> None:  # noqa: ANN001
    task = make_task(2, COORDS, [True, False])
    assert [i.copy for i in task.ids] == [0, 1]
    assert task.ids[0].template == task.ids[1].template
    assert task.select([1]).ids == (CrystalId(task.ids[1].template, 1),)
