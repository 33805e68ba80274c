"""The score model: laws, gauge, masks, guidance, and crystals that cannot be evaluated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mattergen_toys import Kind, make_checkpoint
from pydantic import ValidationError

from chggen_kit.errors import CheckpointError, InputError
from chggen_kit.interfaces.sampler import SampleResult, SamplingTask
from chggen_kit.samplers.inpaint import Inpainter
from chggen_kit.samplers.options import SamplerOptions
from chggen_kit.samplers.predictor_corrector import PredictorCorrector
from chggen_kit.state import CrystalBatch, Fields, Known
from chggen_kit.testing import check_score_model
from chggen_kit.testing.crystals import covered, disturbed, textbook_crystals
from chggen_kit.torus import Neighbours, heights, neighbours
from chggen_mattergen import network
from chggen_mattergen.gauge import Gauge
from chggen_mattergen.guidance import FORBIDDEN, make_guidance
from chggen_mattergen.model import MatterGenScoreModel, load
from chggen_mattergen.options import MatterGenOptions

pytestmark = pytest.mark.usefixtures("mattergen_installed")

Make = Callable[..., MatterGenScoreModel]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Models with random weights; each kind is written once."""
    folder, made = tmp_path_factory.mktemp("models"), dict[tuple[Kind, bool], Path]()

    def build(kind: Kind = "base", *, calm: bool = True, **options: Any) -> MatterGenScoreModel:
        path = made.setdefault((kind, calm), folder / "unset")
        if path.name == "unset":
            path = made[(kind, calm)] = make_checkpoint(folder, kind, calm=calm)
        return load(MatterGenOptions(checkpoint=str(path), **options))

    return build


def batch_of(lattice: Any, frac: Any, species: list[int]) -> CrystalBatch:
    return CrystalBatch(
        torch.tensor(frac, dtype=torch.float64),
        torch.tensor([lattice], dtype=torch.float64),
        torch.tensor(species),
        torch.tensor([len(species)]),
    )


def skewed() -> CrystalBatch:
    """Rocksalt's primitive cell described by needlessly long vectors, left-handed, turned anyhow."""
    primitive = 2.82 * np.array([[0.0, 1, 1], [1, 0, 1], [1, 1, 0]])
    lattice = np.array([[1, 0, 3], [0, 1, 0], [-2, 1, -5]]) @ primitive[[1, 0, 2]]
    turned = lattice @ np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    return batch_of(turned.tolist(), [[0.1, 0.2, 0.9], [0.4, 0.7, 0.3]], [11, 17])


@pytest.mark.parametrize("kind", ["base", "csp", "chemical_system"])
def test_laws_hold(make: Make, kind: Kind) -> None:
    model = make(kind, calm=False)
    crystals = covered(textbook_crystals(), model.capabilities.elements).select([0, 1, 2])
    check_score_model(model, disturbed(crystals, rattle_A=0.1, strain=0.0, seed=0)).raise_if_failed()


def test_cell_comes_in_reduced_and_goes_out_as_it_was(make: Make) -> None:
    model, batch = make(), skewed()
    fields = model.encode(batch, Known.coordinates_only(batch))
    cell = fields["lattice"][0].double()
    assert torch.allclose(cell, cell.T, atol=1e-5)
    # Niggli-reduced rocksalt: three edges of 3.99 Å; the volume and the number of atoms are the user's.
    assert torch.allclose(cell.norm(dim=1), torch.full((3,), 2.82 * 2**0.5, dtype=torch.float64), atol=1e-4)
    assert abs(abs(float(torch.linalg.det(cell))) - float(batch.volumes)) < 1e-2
    back = model.decode(fields)
    assert torch.equal(back.lattice, batch.lattice)
    assert torch.equal(back.frac_coords, batch.frac_coords)
    # A generated cell and generated coordinates go through the inverse of the same transformation.
    moved = model.decode(fields.updated(lattice=fields["lattice"] * 1.5, frac_coords=fields["frac_coords"] + 1e-3))
    assert torch.allclose(moved.lattice, 1.5 * batch.lattice, atol=1e-4)
    shift = (moved.frac_coords - batch.frac_coords).abs()
    assert torch.all((shift > 1e-4) | (shift < 1e-6))


def test_gauge_keeps_distances() -> None:
    rng = torch.Generator().manual_seed(0)
    lattice = torch.randn(20, 3, 3, generator=rng, dtype=torch.float64) * 4
    gauge, factor = Gauge.of(lattice, torch.ones(20, dtype=torch.bool))
    index, frac = torch.arange(20), torch.rand(20, 3, generator=rng, dtype=torch.float64)
    assert torch.equal(gauge.transformation, gauge.transformation.round())
    assert torch.allclose(torch.linalg.det(gauge.rotation), torch.ones(20, dtype=torch.float64))
    assert torch.allclose(gauge.lattice_out(factor), lattice, atol=1e-10)
    back = gauge.frac_out(gauge.frac_in(frac, index), index) - frac
    assert (back - back.round()).abs().max() < 1e-10


def test_supercells_are_not_made_primitive(make: Make) -> None:
    """Guests that are still unknown are counted in the user's cell."""
    edge = 4.2
    batch = batch_of(np.diag([edge, edge, 2 * edge]).tolist(), [[0, 0, 0], [0, 0, 0.5]], [29, 29])
    fields = make().encode(batch, Known.coordinates_only(batch))
    assert fields.context.num_atoms.tolist() == [2]
    assert abs(float(torch.linalg.det(fields["lattice"][0])) - 2 * edge**3) < 1e-2


def inpaint(model: MatterGenScoreModel, batch: CrystalBatch, known: Known, steps: int = 6) -> SampleResult:
    sampler = Inpainter(SamplerOptions(steps=steps, passes=2, jump_length=2), "noised", resample=True)
    return sampler.sample(model, SamplingTask(batch, known), seed=1)


MASKS = {
    "guests": ([True, True, False, False], [True] * 4, True),
    "types": ([True] * 4, [True, True, False, True], True),
    "cell": ([True] * 4, [True] * 4, False),
    "guests and their types": ([True, True, False, False], [True, True, False, False], True),
    "all but the composition": ([False] * 4, [True] * 4, False),
    "all but the host's types": ([False] * 4, [True, True, False, False], False),
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("kind", ["base", "csp"])
def test_known_values_stay_exactly(make: Make, kind: Kind, mask: str) -> None:
    coords, species, lattice = MASKS[mask]
    if kind == "csp" and not all(species):
        pytest.skip("this kind keeps all species")
    rows = [[5.1, 0.2, -0.4], [0.7, 6.0, 0.3], [0.1, -0.5, 5.5]]
    one = batch_of(rows, [[0.1, 0.2, 0.3], [0.6, 0.7, 0.8], [0.5, 0.1, 0.9], [0.2, 0.9, 0.6]], [30, 15, 16, 16])
    batch = CrystalBatch.concatenate([one, one])
    known = Known(torch.tensor(coords * 2), torch.tensor(species * 2), torch.tensor([lattice] * 2))
    result = inpaint(make(kind, elements="Zn-P-S"), batch, known)
    assert result.reasons == (None, None)
    drawn = result.crystals
    assert torch.equal(drawn.frac_coords[known.frac_coords], batch.frac_coords[known.frac_coords])
    assert torch.equal(drawn.species[known.species], batch.species[known.species])
    assert torch.equal(drawn.lattice[known.lattice], batch.lattice[known.lattice])
    assert set(drawn.species.tolist()) <= {15, 16, 30}
    generated = drawn.frac_coords[~known.frac_coords]
    if len(generated):
        assert (generated - batch.frac_coords[~known.frac_coords]).abs().max() > 1e-3
        assert not torch.equal(drawn.frac_coords[:4], drawn.frac_coords[4:])
    if not lattice:
        assert (drawn.lattice - batch.lattice).abs().max() > 1e-3


def de_novo(model: MatterGenScoreModel, sizes: list[int], steps: int = 8) -> SampleResult:
    n = sum(sizes)
    batch = CrystalBatch(
        torch.zeros(n, 3).double(),
        torch.eye(3).double().repeat(len(sizes), 1, 1) * 4,
        torch.ones(n, dtype=torch.int64),
        torch.tensor(sizes),
    )
    nothing = torch.zeros(n, dtype=torch.bool)
    task = SamplingTask(batch, Known(nothing, nothing, torch.zeros(len(sizes), dtype=torch.bool)))
    return PredictorCorrector(SamplerOptions(steps=steps)).sample(model, task, seed=0)


def test_unguided_species_are_elements_that_were_trained_on(make: Make) -> None:
    model = make()
    result = de_novo(model, [20, 20])
    assert result.reasons == (None, None)
    # Element 101 is the mask; without the package's own filter, noble gases and it would appear.
    assert set(result.crystals.species.tolist()) <= model.capabilities.elements
    assert len(set(result.crystals.species.tolist())) > 5


def test_guidance_and_restriction_bound_the_elements(make: Make) -> None:
    guided = de_novo(make("chemical_system", chemical_system="Zn-P-S"), [6, 4])
    assert set(guided.crystals.species.tolist()) <= {15, 16, 30}
    restricted = de_novo(make(elements=["Li", "O"]), [6, 4])
    assert set(restricted.crystals.species.tolist()) <= {3, 8}


def test_guidance_changes_scores_and_costs_two_calls(make: Make) -> None:
    batch = skewed()
    outputs: dict[float, Fields] = {}
    for factor in (1.0, 2.0):
        model = make("chemical_system", properties={"energy_above_hull": 0.05}, guidance_factor=factor)
        calls = []
        handle = model._network._module.model.register_forward_pre_hook(lambda *_, calls=calls: calls.append(1))
        fields = model.encode(batch, Known.coordinates_only(batch))
        outputs[factor] = model.predict(fields, torch.tensor([0.5]))
        handle.remove()
        assert len(calls) == (1 if factor == 1 else 2)
    plain = make("chemical_system")
    unguided = plain.predict(plain.encode(batch, Known.coordinates_only(batch)), torch.tensor([0.5]))
    expected = torch.lerp(unguided["lattice"], outputs[1.0]["lattice"], 2.0)
    assert torch.allclose(outputs[2.0]["lattice"], expected, atol=1e-5)


def test_a_property_is_never_ignored_silently(make: Make) -> None:
    with pytest.raises(InputError, match="factor of 0 would ignore chemical_system"):
        make("chemical_system", chemical_system="Zn-P-S", guidance_factor=0)
    with pytest.raises(InputError, match=r"cannot be guided by 'chemical_system'.*option `elements`"):
        make("base", chemical_system="Zn-P-S")
    with pytest.raises(InputError, match="trained on chemical_system, energy_above_hull"):
        make("chemical_system", properties={"dft_band_gap": 1.0})
    with pytest.raises(InputError, match="not an element symbol"):
        make("chemical_system", chemical_system="Zn-Px")
    with pytest.raises(InputError, match="not trained on He: leave it out of `elements`"):
        make(elements="He-O")
    with pytest.raises(InputError, match="not trained on He: leave it out of `chemical_system`"):
        make("chemical_system", chemical_system="He-O")
    with pytest.raises(InputError, match=r"\(Li-O\) and chemical_system \(Zn-S\) have no element in common"):
        make("chemical_system", chemical_system="Zn-S", elements="Li-O")
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        make("chemical_system", chemical_system="Zn-P-S", guidance_factor=-1)


def test_values_that_no_property_has(make: Make) -> None:
    with pytest.raises(InputError, match="by the option chemical_system"):
        make("chemical_system", properties={"chemical_system": 1.0})
    for value in (float("nan"), float("inf")):
        with pytest.raises(InputError, match=f"energy_above_hull is {value}"):
            make("chemical_system", properties={"energy_above_hull": value})
        with pytest.raises(InputError, match=f"space_group is {value}"):
            make_guidance([], {"space_group": value}, 2.0, ["space_group"])


@pytest.mark.parametrize("factor", [0.001, 1.0, 1000.0])
def test_the_restriction_holds_whatever_the_guidance_says(make: Make, factor: float) -> None:
    """Guidance mixes logits of -1e10, so that a restriction must be far below them."""
    model = make("chemical_system", chemical_system="Zn-P-S", elements="P-S-O", guidance_factor=factor)
    fields = model.encode(skewed(), Known.coordinates_only(skewed()))
    logits = model.predict(fields, torch.tensor([0.5]))["species"]
    inside = logits[:, [7, 14, 15]]
    outside = logits[:, [k for k in range(101) if k not in (7, 14, 15)]]
    assert bool((outside == FORBIDDEN).all())
    assert float(inside.amin()) > FORBIDDEN / 1e6


def test_elements_and_masks_that_cannot_be(make: Make) -> None:
    batch = batch_of(np.diag([4.0, 4, 4]).tolist(), [[0, 0, 0], [0.5, 0.5, 0.5]], [2, 8])
    with pytest.raises(InputError, match="not trained on He"):
        make().encode(batch, Known.coordinates_only(batch))
    nothing = Known(torch.zeros(2, dtype=torch.bool), torch.zeros(2, dtype=torch.bool), torch.ones(1, dtype=torch.bool))
    assert make().encode(batch, nothing)["species"].shape == (2, 101)
    batch = batch_of(np.diag([4.0, 4, 4]).tolist(), [[0, 0, 0], [0.5, 0.5, 0.5]], [3, 8])
    with pytest.raises(InputError, match="predicts structures of a given composition"):
        make("csp").encode(batch, nothing)


BAD_CELLS = {
    "no neighbours": np.diag([40.0, 40, 40]),
    "exploded": np.diag([4e4, 4e4, 4e4]),
    "flat": np.array([[4.0, 4, 0], [4, 4, 0], [0, 0, 4]]),
    "not a number": np.full((3, 3), np.nan),
}


@pytest.mark.parametrize("bad", BAD_CELLS)
@pytest.mark.parametrize("kind", ["base", "csp"])
def test_a_crystal_without_a_graph_does_not_harm_the_others(make: Make, kind: Kind, bad: str) -> None:
    model = make(kind)
    good = batch_of(np.diag([4.0, 4.1, 4.2]).tolist(), [[0, 0, 0], [0.5, 0.5, 0.45]], [3, 8])
    batch = CrystalBatch.concatenate([good, good, good])
    fields = model.encode(batch, Known.coordinates_only(batch))
    cell = fields["lattice"].clone()
    cell[1] = torch.tensor(BAD_CELLS[bad], dtype=torch.float32)
    frac = fields["frac_coords"].clone()
    frac[2:4] = torch.tensor([[0.0, 0, 0], [0.5, 0.5, 0.5]])
    t = torch.full((3,), 0.3)
    broken = model.predict(fields.updated(lattice=cell, frac_coords=frac), t)
    fine = model.predict(fields, t)
    for name, process in model.processes.items():
        if not process.moves:
            continue
        rows = [0, 2] if process.scope == "crystal" else [0, 1, 4, 5]
        lost = [1] if process.scope == "crystal" else [2, 3]
        assert torch.allclose(broken[name][rows], fine[name][rows], rtol=1e-3, atol=1e-5)
        assert bool(torch.isnan(broken[name][lost]).all())


THIN_CELLS = {
    "sheared": [[20.0, 10, 0], [10, 5.001, 0], [0, 0, 8]],
    "three vectors around a point": [[20.0, 0, 0], [-10, 17.32, 0], [-10, -17.32, 1e-3]],
}


@pytest.mark.parametrize("thin", THIN_CELLS)
def test_long_thin_cells_are_looked_at_in_short_vectors(make: Make, thin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of images goes with the inverse of the heights: 10^8 for these cells as they are."""
    lowest: list[float] = []

    def watched(frac: torch.Tensor, lattice: torch.Tensor, num_atoms: torch.Tensor, cutoff: float) -> Neighbours:
        lowest.append(float(heights(lattice).min()))
        assert lowest[-1] > 1
        return neighbours(frac, lattice, num_atoms, cutoff)

    monkeypatch.setattr(network, "neighbours", watched)
    cells = torch.tensor([THIN_CELLS[thin], np.diag([30.0, 30, 30]).tolist(), np.full((3, 3), np.nan).tolist()])
    usable = make()._network._usable(torch.zeros(3, 3), cells, torch.tensor([1, 1, 1]))
    assert usable.tolist() == [True, False, False]
    assert len(lowest) == 1


def test_a_pair_is_found_in_another_basis_of_the_lattice(make: Make) -> None:
    """Two atoms 1.8 Å apart, and 15 Å apart, in a cube of 30 Å described by long vectors."""
    cell = torch.tensor([[30.0, 0, 0], [90, 30, 0], [-60, 30, 30]])
    for distance, near in ((1.8, True), (15.0, False)):
        cart = torch.tensor([[1.0, 2, 3], [1, 2, 3 + distance]])
        usable = make()._network._usable(cart @ torch.linalg.inv(cell), cell[None], torch.tensor([2]))
        assert usable.tolist() == [near]


def test_two_atoms_that_see_only_each_other(make: Make) -> None:
    """No triplets in the whole batch: the package raises, the crystal ends, and nothing else does."""
    model = make()
    pair = batch_of(np.diag([30.0, 30, 30]).tolist(), [[0, 0, 0], [0.06, 0, 0]], [3, 8])
    fields = model.encode(pair, Known.coordinates_only(pair))
    out = model.predict(fields, torch.tensor([0.3]))
    finite = {name: bool(torch.isfinite(out[name]).all()) for name in out}
    assert len(set(finite.values())) == 1


def test_the_sampler_ends_an_exploding_crystal_with_a_reason(make: Make) -> None:
    """Wild random weights throw cells about: some crystals end with a reason, and the run goes on."""
    result = de_novo(make(calm=False), [3, 5, 8], steps=20)
    assert set(result.reasons) <= {None, "non-finite", "exploded"}
    assert any(result.reasons)
    assert bool(torch.isfinite(result.crystals.lattice).all())
    assert set(result.crystals.species.tolist()) <= set(range(1, 101))


def test_a_device_that_does_not_exist(make: Make) -> None:
    with pytest.raises(CheckpointError, match="cannot be moved to the device 'cuda:99'"):
        make(device="cuda:99")
