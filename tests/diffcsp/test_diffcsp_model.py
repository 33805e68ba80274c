"""The score model: gauge, masks, grids, guards, and the conformance laws with models that break them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from diffcsp_runs import model, settings, write_run
from torch import Tensor

from chggen_diffcsp.checkpoint import build_checkpoint
from chggen_diffcsp.gauge import niggli_changes
from chggen_diffcsp.model import DiffCSPScoreModel
from chggen_diffcsp.options import DiffCSPOptions
from chggen_kit.draws import Draws
from chggen_kit.errors import InputError
from chggen_kit.interfaces import FieldDraws, KernelOptions, NoiseProcess, SamplingTask, Step
from chggen_kit.plugins import get_registry
from chggen_kit.processes import VPMatrix
from chggen_kit.samplers.inpaint import build_repaint
from chggen_kit.samplers.options import SamplerOptions
from chggen_kit.samplers.predictor_corrector import PredictorCorrector
from chggen_kit.state import CrystalBatch, Fields, Known
from chggen_kit.testing import check_score_model
from chggen_kit.testing.crystals import caesium_chloride, disturbed, perovskite, rocksalt
from chggen_kit.torus import to_cartesian

KINDS = {
    "csp": settings(),
    "species": settings(species=True),
    "clean-cell": settings(cost_lattice=0.0),
    "clean-coordinates": settings(species=True, cost_coord=0.0),
}


def _crystals() -> CrystalBatch:
    """A few textbook crystals, the last one in a skewed left-handed cell of its own."""
    batch = CrystalBatch.concatenate(
        [perovskite(38, 22, 8, 3.91), caesium_chloride(55, 17, 4.12), rocksalt(12, 8, 4.21)]
    )
    batch = disturbed(batch, rattle_A=0.05, strain=0.03, seed=1)
    change = torch.tensor([[1.0, 2, 0], [0, 1, 0], [3, -1, -1]], dtype=torch.float64)
    lattice = batch.lattice.clone()
    lattice[2] = change @ lattice[2]
    last = batch.crystal_index == 2
    coords = torch.where(last[:, None], batch.frac_coords @ torch.linalg.inv(change), batch.frac_coords)
    return CrystalBatch(coords - torch.floor(coords), lattice, batch.species, batch.num_atoms)


def _mask(batch: CrystalBatch, *, coords: bool | Tensor, species: bool = True, lattice: bool = True) -> Known:
    given = coords if isinstance(coords, Tensor) else torch.full((batch.n_atoms,), coords)
    return Known(given, torch.full((batch.n_atoms,), species), torch.full((batch.n_crystals,), lattice))


@pytest.mark.parametrize("kind", list(KINDS))
def test_conformance(kind: str) -> None:
    report = check_score_model(model(KINDS[kind]))
    assert report.ok, report.table()


class _Untransposed(DiffCSPScoreModel):
    """Its output for the cell does not turn with the cell."""

    def predict(self, fields: Fields, t: Tensor) -> Fields:
        output = super().predict(fields, t)
        return output.updated(lattice=output["lattice"].transpose(1, 2))


class _NoUnknownCells(DiffCSPScoreModel):
    """Refuses a mask that it declares."""

    def encode(self, batch: CrystalBatch, known: Known) -> Fields:
        if not bool(known.lattice.all()):
            raise ValueError("no unknown cells")
        return super().encode(batch, known)


class _Shrinking(VPMatrix):
    """A jump that forgets to scale what it adds noise to: right spread at low noise, wrong mean."""

    def renoise(self, x: Tensor, step: Step, draws: FieldDraws, kernel: KernelOptions) -> Tensor:
        return 1.2 * super().renoise(x, step, draws, kernel)


class _Squared(VPMatrix):
    """A variance taken for a deviation."""

    def forward_marginal(self, x0: Tensor, step: Step, draws: FieldDraws) -> Tensor:
        moved = super().forward_marginal(x0, step, draws)
        return x0 + (moved - x0) * (1.0 if step.target_is_clean else self.marginal_std(step))


class _OtherCells(DiffCSPScoreModel):
    """With another process for its cells."""

    process: type[VPMatrix]

    @property
    def processes(self) -> Mapping[str, NoiseProcess]:
        mine = super().processes
        right = mine["lattice"]
        assert isinstance(right, VPMatrix)
        return {**mine, "lattice": self.process("crystal", right.betas, right.alphas_cumprod)}


class _ShrinkingCells(_OtherCells):
    process = _Shrinking


class _SquaredCells(_OtherCells):
    process = _Squared


@pytest.mark.parametrize(
    ("mutant", "law"),
    [
        (_Untransposed, "rotation"),
        (_NoUnknownCells, "masks"),
        (_ShrinkingCells, "renoise-keeps-mean-lattice"),
        (_SquaredCells, "marginal-moments-lattice"),
    ],
)
def test_conformance_catches_broken_models(mutant: type[DiffCSPScoreModel], law: str) -> None:
    from diffcsp_runs import state_dict

    given = settings()
    broken = mutant(build_checkpoint(given, state_dict(given), Path("test.safetensors")))
    report = check_score_model(broken)
    assert law in {result.law for result in report.failures}, report.table()


def test_cells_are_reduced_on_the_way_in_and_come_back_on_the_way_out() -> None:
    batch = _crystals()
    score_model = model()
    fields = score_model.encode(batch, _mask(batch, coords=False))
    lengths = fields["lattice"].double().norm(dim=2)
    assert bool((lengths[:, 0] <= lengths[:, 1] + 1e-4).all())
    assert bool((lengths[:, 1] <= lengths[:, 2] + 1e-4).all())
    # The reduced cell holds the same lattice, and every atom is where it was.
    assert torch.allclose(fields["lattice"].double().det().abs(), batch.volumes, rtol=1e-5)
    before = to_cartesian(batch.frac_coords, batch.lattice, batch.crystal_index)
    inside = to_cartesian(fields["frac_coords"].double(), fields["lattice"].double(), batch.crystal_index)
    offset = torch.einsum("ai,aij->aj", inside - before, torch.linalg.inv(batch.lattice)[batch.crystal_index])
    assert float((offset - offset.round()).abs().max()) < 1e-5
    back = score_model.decode(fields)
    assert torch.equal(back.lattice, batch.lattice)
    assert torch.equal(back.frac_coords, batch.frac_coords)
    # An atom that moved inside is moved by the same vector outside.
    step = torch.tensor([0.1, 0.05, -0.2])
    moved = score_model.decode(fields.updated(frac_coords=fields["frac_coords"] + step))
    expected = to_cartesian(step.double().expand(batch.n_atoms, 3), fields["lattice"].double(), batch.crystal_index)
    found = moved.frac_coords - batch.frac_coords
    reached = to_cartesian(found, batch.lattice, batch.crystal_index)
    offset = torch.einsum("ai,aij->aj", reached - expected, torch.linalg.inv(batch.lattice)[batch.crystal_index])
    assert float((offset - offset.round()).abs().max()) < 1e-5


def test_the_same_crystal_in_another_cell_is_the_same_to_the_network() -> None:
    """The network itself is not invariant to a change of cell; the gauge makes the model so."""
    one = disturbed(perovskite(38, 22, 8, 3.91), rattle_A=0.1, strain=0.08, seed=3)
    change = torch.tensor([[1.0, 1, 0], [0, 1, 0], [0, -2, 1]], dtype=torch.float64)
    coords = one.frac_coords @ torch.linalg.inv(change)
    other = CrystalBatch(coords - torch.floor(coords), change @ one.lattice, one.species, one.num_atoms)
    score_model, t = model(), torch.tensor([17.0])
    outputs = [score_model.predict(score_model.encode(b, _mask(b, coords=False)), t) for b in (one, other)]
    for name in ("frac_coords", "lattice"):
        assert torch.allclose(outputs[0][name], outputs[1][name], rtol=1e-4, atol=1e-4)


def test_unknown_cells_are_not_reduced_and_flat_ones_are_refused() -> None:
    batch = _crystals()
    change = niggli_changes(batch.lattice, torch.tensor([True, True, False]))
    assert torch.equal(change[2], torch.eye(3, dtype=torch.float64))
    flat = torch.ones(1, 3, 3, dtype=torch.float64)
    assert torch.equal(niggli_changes(flat, torch.tensor([False]))[0], torch.eye(3, dtype=torch.float64))
    with pytest.raises(InputError, match="flat"):
        niggli_changes(flat, torch.tensor([True]))


def _volume(lattice: Tensor) -> Tensor:
    return torch.linalg.det(lattice)


def test_left_handed_cells_that_were_drawn_are_turned_round_not_mirrored() -> None:
    batch = _crystals()
    score_model = model()
    fields = score_model.encode(batch, _mask(batch, coords=False, lattice=False))
    mirror = torch.diag(torch.tensor([1.0, 1.0, -1.0]))
    drawn = fields.updated(lattice=1.1 * fields["lattice"].abs() @ mirror + torch.eye(3) @ mirror)
    assert bool((_volume(drawn["lattice"]) < 0).any())
    result = score_model.decode(drawn)
    assert bool((_volume(result.lattice) > 0).all())
    inside = to_cartesian(drawn["frac_coords"].double(), drawn["lattice"].double(), batch.crystal_index)
    outside = to_cartesian(result.frac_coords, result.lattice, batch.crystal_index)
    offset = torch.einsum("ai,aij->aj", inside - outside, torch.linalg.inv(result.lattice)[batch.crystal_index])
    assert float((offset - offset.round()).abs().max()) < 1e-5
    # With atoms given in the user's axes, the axes stay.
    fields = score_model.encode(batch, _mask(batch, coords=True, lattice=False))
    kept = score_model.decode(fields.updated(lattice=drawn["lattice"]))
    assert torch.allclose(kept.lattice, drawn["lattice"].double())


@pytest.mark.parametrize("kind", ["csp", "clean-cell"])
def test_inpainting_returns_the_host_bit_for_bit(kind: str) -> None:
    batch = _crystals()
    given = torch.arange(batch.n_atoms) % 2 == 0
    task = SamplingTask(batch, _mask(batch, coords=given))
    result = build_repaint(SamplerOptions(steps=8, passes=2, jump_length=3)).sample(model(KINDS[kind]), task, seed=0)
    assert result.reasons == (None,) * 3
    assert torch.equal(result.crystals.lattice, batch.lattice)
    assert torch.equal(result.crystals.species, batch.species)
    assert torch.equal(result.crystals.frac_coords[given], batch.frac_coords[given])
    assert not torch.equal(result.crystals.frac_coords[~given], batch.frac_coords[~given])


def test_which_element_sits_here() -> None:
    """Cell and coordinates known, some species to be found."""
    batch = _crystals()
    species = torch.arange(batch.n_atoms) % 3 != 0
    known = Known(torch.ones(batch.n_atoms, dtype=torch.bool), species, torch.ones(3, dtype=torch.bool))
    for kind in ("species", "clean-coordinates"):
        result = build_repaint(SamplerOptions(steps=8, passes=1)).sample(
            model(KINDS[kind]), SamplingTask(batch, known), seed=0
        )
        assert torch.equal(result.crystals.frac_coords, batch.frac_coords)
        assert torch.equal(result.crystals.lattice, batch.lattice)
        assert torch.equal(result.crystals.species[species], batch.species[species])
        assert bool(((result.crystals.species >= 1) & (result.crystals.species <= 100)).all())
        assert not torch.equal(result.crystals.species, batch.species)


def test_which_cell_goes_with_this_host() -> None:
    batch = _crystals()
    given = torch.arange(batch.n_atoms) % 2 == 0
    task = SamplingTask(batch, _mask(batch, coords=given, lattice=False))
    result = build_repaint(SamplerOptions(steps=8, passes=1)).sample(model(), task, seed=0)
    assert torch.equal(result.crystals.frac_coords[given], batch.frac_coords[given])
    assert not torch.allclose(result.crystals.lattice, batch.lattice)


def test_cell_and_coordinates_from_nothing_do_not_depend_on_the_placeholder() -> None:
    batch = _crystals()
    placeholder = CrystalBatch(
        torch.zeros_like(batch.frac_coords), 7 * torch.eye(3).double().repeat(3, 1, 1), batch.species, batch.num_atoms
    )
    results = [
        PredictorCorrector(SamplerOptions(steps=6)).sample(
            model(), SamplingTask(b, _mask(b, coords=False, lattice=False)), seed=5
        )
        for b in (batch, placeholder)
    ]
    assert torch.equal(results[0].crystals.lattice, results[1].crystals.lattice)
    assert torch.equal(results[0].crystals.frac_coords, results[1].crystals.frac_coords)


@pytest.mark.parametrize(
    ("kind", "mask", "field"),
    [
        ("csp", {"coords": False, "species": False}, "species"),
        ("clean-cell", {"coords": False, "lattice": False}, "lattice"),
        ("clean-coordinates", {"coords": False}, "frac_coords"),
    ],
)
def test_masks_that_a_checkpoint_does_not_serve_are_refused(kind: str, mask: dict[str, bool], field: str) -> None:
    batch = _crystals()
    score_model = model(KINDS[kind])
    assert field not in score_model.capabilities.masks
    with pytest.raises(InputError, match=field):
        score_model.encode(batch, _mask(batch, **mask))  # type: ignore[arg-type]  # flags by name


def test_elements_beyond_a_hundred_are_refused() -> None:
    batch = caesium_chloride(101, 17, 4.1)
    with pytest.raises(InputError, match="Md"):
        model().encode(batch, _mask(batch, coords=False))


def test_grids_hold_whole_times_and_may_start_below_the_top() -> None:
    score_model = model()
    assert score_model.times(40) == (*(float(t) for t in range(40, 0, -1)), 0.0)
    for steps in (2, 7, 39):
        times = score_model.times(steps)
        assert len(times) == steps + 1
        assert (times[0], times[-2], times[-1]) == (40.0, 1.0, 0.0)
        assert all(a > b for a, b in itertools.pairwise(times))
        assert all(t == int(t) for t in times)
    lower = model(start_below=30)
    assert lower.times(5)[0] == 30.0
    assert lower.capabilities.sampling_defaults["steps"] == 30
    with pytest.raises(InputError, match="from 2 to 30"):
        lower.times(31)
    with pytest.raises(InputError, match="start_below"):
        model(start_below=41)


class _Recording(DiffCSPScoreModel):
    """Remembers the times that it is told."""

    told: list[float]

    def predict(self, fields: Fields, t: Tensor) -> Fields:
        self.told.append(float(t[0]))
        return super().predict(fields, t)


def test_strided_runs_tell_the_network_its_own_times_corrector_first() -> None:
    from diffcsp_runs import state_dict

    given = settings()
    recording = _Recording(build_checkpoint(given, state_dict(given), Path("test.safetensors")))
    recording.told = []
    batch = caesium_chloride(55, 17, 4.1)
    PredictorCorrector(SamplerOptions(steps=4)).sample(
        recording, SamplingTask(batch, _mask(batch, coords=False, lattice=False)), seed=0
    )
    # Two calls at every time, the first of them for the corrector.
    assert recording.told == [40.0, 40.0, 27.0, 27.0, 14.0, 14.0, 1.0, 1.0]


def test_the_correctors_step_is_the_published_one() -> None:
    """step_lr of the data that it was trained on: eps = 2 (delta sigma_t)^2 = step_lr (sigma_t / sigma_1)^2."""
    for dataset, species, step_lr in (
        ("mp20", False, 1e-5),
        ("perovskite", False, 5e-7),
        ("carbon", False, 5e-6),
        ("perovskite", True, 1e-6),
        ("mp20", True, 5e-6),
    ):
        defaults = model(settings(dataset=dataset, species=species)).capabilities.sampling_defaults
        assert 2 * defaults["snr"] ** 2 == pytest.approx(step_lr / 0.005**2)
        assert defaults["corrector_first"]
        assert defaults["corrector_steps"] == 1
        assert defaults["corrector_moves"] == "all"


class _Exploding(DiffCSPScoreModel):
    """Its cell blows up in crystals of five atoms."""

    def predict(self, fields: Fields, t: Tensor) -> Fields:
        output = super().predict(fields, t)
        wild = torch.where(fields.context.num_atoms == 5, 1e3, 1.0)[:, None, None]
        return output.updated(lattice=output["lattice"] * wild)


def test_a_crystal_that_blows_up_is_given_up_alone() -> None:
    from diffcsp_runs import state_dict

    given = settings()
    checkpoint = build_checkpoint(given, state_dict(given), Path("test.safetensors"))
    batch = CrystalBatch.concatenate([perovskite(38, 22, 8, 3.91), caesium_chloride(55, 17, 4.12)])
    sampler = PredictorCorrector(SamplerOptions(steps=20))
    task = SamplingTask(batch, _mask(batch, coords=False, lattice=False))
    result = sampler.sample(_Exploding(checkpoint, largest_entry=1e5), task, seed=0)
    assert result.reasons == ("exploded", None)
    assert bool(torch.isfinite(result.crystals.lattice).all())
    alone = sampler.sample(DiffCSPScoreModel(checkpoint, largest_entry=1e5), task.select([1]), seed=0)
    assert torch.allclose(result.crystals.lattice[1], alone.crystals.lattice[0], rtol=1e-3, atol=1e-3)


def test_the_backend_is_registered_and_loads_a_run_directory(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    loaded = get_registry().create_score_model("diffcsp", {"checkpoint": str(run), "start_below": 30})
    assert loaded.capabilities.checkpoint == "run/epoch=7-step=99.ckpt"
    assert loaded.capabilities.lattice_gauge == "niggli"
    assert loaded.capabilities.max_atoms == 20
    assert loaded.times(3)[0] == 30.0
    with pytest.raises(InputError, match="start_below"):
        get_registry().create_score_model("diffcsp", {"checkpoint": str(run), "start_below": 1})
    assert DiffCSPOptions().checkpoint is None


def test_draws_do_not_depend_on_the_batch() -> None:
    batch = _crystals()
    task = SamplingTask(batch, _mask(batch, coords=False, lattice=False))
    draws = Draws(0, task.ids, batch.num_atoms.tolist()).at(1, 0, "lattice", "crystal")
    alone = Draws(0, task.select([2]).ids, [8]).at(1, 0, "lattice", "crystal")
    like = torch.zeros(3, 3, 3)
    assert torch.equal(draws.normal("predictor", like)[2:], alone.normal("predictor", like[2:]))
