"""The training objective: noise, exact targets, and the loss."""

from __future__ import annotations

import pytest
import torch

from chggen_diffcsp.network import CSPNetConfig
from chggen_diffcsp.objective import Denoiser, add_noise, losses, minus_wrapped_score
from chggen_kit.state import CrystalBatch
from chggen_kit.testing.crystals import textbook_crystals

CONFIG = CSPNetConfig(hidden_dim=16, latent_dim=8, num_layers=2, num_freqs=4)


@pytest.fixture(scope="module")
def denoiser() -> Denoiser:
    torch.manual_seed(0)
    return Denoiser(CONFIG)


@pytest.fixture(scope="module")
def crystals() -> CrystalBatch:
    return textbook_crystals().to(dtype=torch.float32)


def many(crystals: CrystalBatch, copies: int) -> CrystalBatch:
    return CrystalBatch.concatenate([crystals] * copies)


@pytest.mark.parametrize("sigma", [0.005, 0.05, 0.2, 0.5])
def test_the_score_is_the_slope_of_the_wrapped_density(sigma: float) -> None:
    x = torch.linspace(-3 * sigma, 3 * sigma, 41, dtype=torch.float64, requires_grad=True)
    images = torch.arange(-20, 21, dtype=torch.float64)
    density = torch.logsumexp(-((x[:, None] + images) ** 2) / (2 * sigma**2), dim=1)
    (slope,) = torch.autograd.grad(density.sum(), x)
    found = minus_wrapped_score(x.detach(), torch.full_like(x, sigma))
    torch.testing.assert_close(found, -slope, rtol=1e-9, atol=1e-9)
    far = torch.tensor([0.3, 7.3, -11.7], dtype=torch.float64)
    torch.testing.assert_close(
        minus_wrapped_score(far, torch.full_like(far, sigma)),
        found.new_tensor([float(minus_wrapped_score(far[:1], far.new_tensor([sigma])))] * 3),
    )


@pytest.mark.parametrize("time", [1, 300, 800, 1000])
def test_targets_have_unit_variance(denoiser: Denoiser, crystals: CrystalBatch, time: int) -> None:
    batch = many(crystals, 300)
    noised = add_noise(
        denoiser.noise_levels(), batch, torch.full((batch.n_crystals,), time), torch.Generator().manual_seed(1)
    )
    assert float(noised.coords_target.square().mean()) == pytest.approx(1, abs=0.02)
    assert float(noised.lattice_target.square().mean()) == pytest.approx(1, abs=0.05)
    assert float(noised.coords_target.mean()) == pytest.approx(0, abs=0.02)


def test_noised_fields_follow_their_schedules(denoiser: Denoiser, crystals: CrystalBatch) -> None:
    levels = denoiser.noise_levels()
    time = torch.full((crystals.n_crystals,), 400)
    noised = add_noise(levels, crystals, time, torch.Generator().manual_seed(2), one_hot=100)
    kept = levels.kept[400]
    torch.testing.assert_close(
        noised.lattice, kept.sqrt() * crystals.lattice + (1 - kept).sqrt() * noised.lattice_target
    )
    assert noised.species_target is not None
    clean = (noised.species - (1 - kept).sqrt() * noised.species_target) / kept.sqrt()
    assert torch.equal(clean.argmax(dim=1) + 1, crystals.species)
    torch.testing.assert_close(clean.amax(dim=1), torch.ones(crystals.n_atoms))
    # At a spread this small the target is the displacement over the spread.
    sigma = levels.sigmas[1]
    noised = add_noise(levels, crystals, torch.ones_like(time), torch.Generator().manual_seed(2))
    moved = noised.frac_coords - crystals.frac_coords
    moved = moved - torch.round(moved)
    torch.testing.assert_close(noised.coords_target, moved / sigma, rtol=1e-3, atol=1e-3)
    assert float(noised.frac_coords.min()) >= 0
    assert float(noised.frac_coords.max()) < 1


def test_the_loss_is_the_mean_square_of_each_field(denoiser: Denoiser, crystals: CrystalBatch) -> None:
    time = torch.full((crystals.n_crystals,), 500)
    noised = add_noise(denoiser.noise_levels(), crystals, time, torch.Generator().manual_seed(3))
    exact = losses((noised.lattice_target, noised.coords_target, None), noised)
    assert (float(exact.lattice), float(exact.coords), exact.species) == (0, 0, None)
    off = losses((noised.lattice_target + 2, noised.coords_target - 3, None), noised)
    assert (float(off.lattice), float(off.coords)) == pytest.approx((4, 9), rel=1e-5)


def test_the_loss_ignores_a_rotated_cell_and_shifted_coordinates(denoiser: Denoiser, crystals: CrystalBatch) -> None:
    """So rotated copies of the training set would teach nothing."""
    time = torch.full((crystals.n_crystals,), 500)
    noised = add_noise(denoiser.noise_levels(), crystals, time, torch.Generator().manual_seed(3))
    turn, _ = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(4)))
    moved = noised._replace(
        lattice=noised.lattice @ turn,
        lattice_target=noised.lattice_target @ turn,
        frac_coords=noised.frac_coords + 0.37,
    )
    with torch.no_grad():
        before, after = (losses(denoiser(*x[:5]), x) for x in (noised, moved))
    assert float(after.lattice) == pytest.approx(float(before.lattice), rel=1e-4)
    assert float(after.coords) == pytest.approx(float(before.coords), rel=1e-4)
