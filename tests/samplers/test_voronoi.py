"""The Voronoi baseline: its voids are voids, none is missed, and it keeps the laws of samplers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial import KDTree

from chggen_kit.errors import InputError
from chggen_kit.interfaces import SamplingTask
from chggen_kit.plugins import get_registry
from chggen_kit.samplers.voronoi import VoronoiOptions, VoronoiPlacement, voids
from chggen_kit.state import CrystalBatch, Known
from chggen_kit.torus import neighbours

FCC = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
EDGE = 5.64


def cluster(frac: np.ndarray, lattice: np.ndarray, reach: int = 5) -> np.ndarray:
    """All images of the atoms within `reach` cells, in Å."""
    axes = [np.arange(-reach, reach + 1)] * 3
    images = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    return (frac[None] + images[:, None]).reshape(-1, 3) @ lattice


def test_face_centred_packing_has_octahedral_and_tetrahedral_holes() -> None:
    centres, radii = voids(FCC, EDGE * np.eye(3), merge_A=0.1)
    assert radii[:4] == pytest.approx(EDGE / 2)
    assert radii[4:] == pytest.approx(EDGE * np.sqrt(3) / 4)
    assert len(radii) == 12
    octahedral = {tuple(np.round(4 * c).astype(int) % 4) for c in centres[:4]}
    assert octahedral == {(2, 2, 2), (2, 0, 0), (0, 2, 0), (0, 0, 2)}
    assert ((centres >= 0) & (centres < 1)).all()


@pytest.mark.parametrize("seed", range(6))
def test_voids_are_empty_touch_four_atoms_and_none_is_missed(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lattice = np.diag([5.0, 6.0, 7.0]) + rng.normal(scale=2.5, size=(3, 3))
    frac = rng.random((int(rng.integers(1, 10)), 3))
    centres, radii = voids(frac, lattice)
    tree = KDTree(cluster(frac, lattice))
    nearest = tree.query(centres @ lattice, k=4)[0]
    assert np.abs(nearest - radii[:, None]).max() < 1e-9
    somewhere = rng.random((4000, 3)) @ lattice
    assert tree.query(somewhere)[0].max() <= radii[0] + 1e-9
    # Euler: as many vertices as the tessellation of another cell of the same crystal has.
    sheared = np.array([[1, 0, 0], [2, 1, 0], [-1, 3, 1]]) @ lattice
    again, same = voids(frac @ lattice @ np.linalg.inv(sheared), sheared)
    assert same == pytest.approx(radii, abs=1e-9)
    assert len(again) == len(centres)


def test_close_vertices_are_one_void() -> None:
    shaken = FCC + 0.002 * np.random.default_rng(0).normal(size=FCC.shape)
    many, _ = voids(shaken, EDGE * np.eye(3))
    few, _ = voids(shaken, EDGE * np.eye(3), merge_A=0.3)
    assert len(few) == 12 < len(many)


def packing_task(copies: int, guests: int) -> SamplingTask:
    """`copies` of the face-centred packing of Cl with room for `guests` Na."""
    atoms = 4 + guests
    coords = torch.zeros(atoms, 3, dtype=torch.float64)
    coords[:4] = torch.from_numpy(FCC)
    batch = CrystalBatch(
        coords.repeat(copies, 1),
        EDGE * torch.eye(3, dtype=torch.float64).repeat(copies, 1, 1),
        torch.tensor([17] * 4 + [11] * guests).repeat(copies),
        torch.full((copies,), atoms),
    )
    given = torch.tensor([True] * 4 + [False] * guests)
    return SamplingTask(batch, Known.coordinates_only(batch, given.repeat(copies)))


def test_a_void_is_drawn_by_its_volume() -> None:
    found = VoronoiPlacement(VoronoiOptions()).sample(None, packing_task(600, 1), seed=0)
    guests = found.crystals.frac_coords.reshape(600, 5, 3)[:, 4]
    octahedral = ((4 * guests).round().remainder(4).sum(dim=1).remainder(2) == 0).double().mean()
    expected = 4 / (4 + 8 * (np.sqrt(3) / 2) ** 3)
    assert float(octahedral) == pytest.approx(expected, abs=3 * np.sqrt(0.25 / 600))


def test_guests_keep_their_distance_and_their_host() -> None:
    task = packing_task(5, 4)
    result = VoronoiPlacement(VoronoiOptions(min_distance_A=2.0)).sample(None, task, seed=1)
    assert result.reasons == (None,) * 5
    assert result.network_calls == 0
    close = neighbours(result.crystals.frac_coords, result.crystals.lattice, result.crystals.num_atoms, 2.0 - 1e-9)
    assert len(close.source) == 0
    known = task.known.frac_coords
    assert torch.equal(result.crystals.frac_coords[known], task.templates.frac_coords[known])


def test_no_room_is_said() -> None:
    result = VoronoiPlacement(VoronoiOptions(min_distance_A=2.9)).sample(None, packing_task(2, 1), seed=0)
    assert result.reasons == ("no-room", "no-room")
    crowded = VoronoiPlacement(VoronoiOptions(min_distance_A=2.3, restarts=2)).sample(None, packing_task(1, 30), seed=0)
    assert crowded.reasons == ("no-room",)
    assert bool(torch.isfinite(crowded.crystals.frac_coords).all())


def test_same_seed_same_crystals_in_any_batch(make_task) -> None:  # noqa: ANN001 - a fixture
    sampler = get_registry().create_sampler("voronoi", {})
    task = make_task(4, [[0.1, 0.5, 0.9], [0, 0, 0], [0, 0, 0]], [True, False, False])
    first, again = (sampler.sample(None, task, seed=3).crystals for _ in range(2))
    assert torch.equal(first.frac_coords, again.frac_coords)
    alone = sampler.sample(None, task.select([2]), seed=3).crystals
    assert torch.equal(alone.frac_coords, first.select([2]).frac_coords)
    other = sampler.sample(None, task, seed=4).crystals
    assert not torch.equal(first.frac_coords, other.frac_coords)


def test_a_crystal_of_which_nothing_is_known_begins_anywhere(make_task) -> None:  # noqa: ANN001 - a fixture
    result = VoronoiPlacement(VoronoiOptions()).sample(None, make_task(3, [[0.0] * 3] * 2, [False, False]), seed=0)
    assert result.reasons == (None,) * 3
    apart = result.crystals.frac_coords.reshape(3, 2, 3).diff(dim=1)
    assert float((apart - apart.round()).abs().amin()) == pytest.approx(0.5)  # the body centre of the cubic cell


def test_unknown_species_are_refused(make_task) -> None:  # noqa: ANN001 - a fixture
    task = make_task(1, [[0.1] * 3, [0.0] * 3], [True, False])
    open_species = Known(task.known.frac_coords, torch.tensor([True, False]), task.known.lattice)
    with pytest.raises(InputError, match="voronoi"):
        VoronoiPlacement(VoronoiOptions()).sample(None, SamplingTask(task.templates, open_species), seed=0)
