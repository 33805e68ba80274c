"""Sampling within a symmetry against laws that are known exactly, and the state that never leaves the subspace.

A mixture of normals of equal width, all modes on the symmetric subspace S, has on S the mixture of the same shares with
the same modes: exp(-|x - mu|^2 / 2 s^2) with x in S. A displacement that is made of m equivalent ones has |x - mu|^2
= m |d|^2 for the first atom's d in Å, so that d spreads by s / sqrt(m) along each direction that is free to it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure
from scipy.stats import kstest, norm

from chggen_kit.errors import InputError
from chggen_kit.interfaces import SampleResult, SamplingTask
from chggen_kit.interfaces.processes import NoiseProcess
from chggen_kit.io.convert import to_batch
from chggen_kit.processes import FractionalTorusTable
from chggen_kit.samplers.inpaint import build_repaint
from chggen_kit.samplers.options import SamplerOptions
from chggen_kit.samplers.predictor_corrector import build
from chggen_kit.state import CrystalBatch, Fields, Known
from chggen_kit.symmetry import SymmetryOperations, find_operations
from chggen_kit.testing.analytic import WrappedGaussianMixture

SPREAD = 0.3
OPTIONS = SamplerOptions(steps=40, corrector_steps=1, align="none")
SHARES = (0.7, 0.3)
TOLERANCE = 0.07
"""Discretisation at 40 levels, relative, for spreads (tests/samplers/test_laws.py)."""

CENTRED = Lattice.from_parameters(6, 6.5, 7, 80, 95, 105)
"""P-1: a pair of O at general positions, Ti on the centre."""
POLAR = Lattice.monoclinic(6.5, 6, 7, 97)
"""Pm: a pair of O at general positions, Ti on the mirror plane (two coordinates free)."""
HEXAGONAL = Lattice.hexagonal(7, 6.5)
"""P3 (polar): three O at general positions, Ti on the axis (one coordinate free)."""


def _crystal(group: str, lattice: Lattice, o: Sequence[float], ti: Sequence[float]) -> Structure:
    """The model tells atoms apart by their atomic numbers, lowest first."""
    return Structure.from_spacegroup(group, lattice, ["O", "Ti"], [list(o), list(ti)])


CASES = {
    "centrosymmetric": [
        _crystal("P-1", CENTRED, (0.2, 0.3, 0.15), (0, 0, 0)),
        _crystal("P-1", CENTRED, (0.3, -0.2, 0.4), (0, 0, 0)),
    ],
    "polar": [
        _crystal("Pm", POLAR, (0.1, 0.2, 0.4), (0.5, 0, 0.1)),
        _crystal("Pm", POLAR, (0.7, 0.3, 0.8), (0.2, 0, 0.6)),
    ],
    "hexagonal": [
        _crystal("P3", HEXAGONAL, (0.25, 0.05, 0.3), (0, 0, 0.1)),
        _crystal("P3", HEXAGONAL, (0.3, 0.45, 0.7), (0, 0, 0.6)),
    ],
}
FREE = {"centrosymmetric": 0, "polar": 2, "hexagonal": 1}
"""Free coordinates of Ti."""


class FractionalMixture(WrappedGaussianMixture):
    """The mixture in fractional coordinates with a process that is isotropic there (as that of DiffCSP)."""

    def __init__(self, weights: torch.Tensor, means: torch.Tensor, spread: float) -> None:
        super().__init__(weights, means, torch.full((len(weights),), spread))
        # A displacement of three equivalent atoms spreads by a third of the variance: uniform needs a larger sigma.
        sigmas = np.concatenate([[0], np.geomspace(0.004, 0.8, 60)])
        squares = np.concatenate([[1], sigmas[1:] ** -2.0])
        self._table = FractionalTorusTable(sigmas.tolist(), squares.tolist())

    @property
    def processes(self) -> dict[str, NoiseProcess]:
        return {**super().processes, "frac_coords": self._table}

    def times(self, num_steps: int) -> list[float]:
        return [float(t) for t in np.linspace(60, 0, num_steps + 1).round()]

    def predict(self, fields: Fields, t: torch.Tensor) -> Fields:
        cube = fields.updated(lattice=torch.eye(3, dtype=torch.float64).repeat(fields.context.n_crystals, 1, 1))
        sigma = torch.full_like(t, self._table.sigmas[round(float(t[0]))])
        scaled = super().predict(cube, sigma)["frac_coords"]
        return Fields({"frac_coords": -scaled}, fields.context)


def _modes(case: str) -> tuple[list[Structure], SymmetryOperations, torch.Tensor]:
    """Both modes with exactly the symmetry of the first, and the fractional means `[2, atoms, 3]`."""
    first, second = CASES[case]
    exact, group = find_operations(first, 0.01)
    means = []
    for mode in (exact, second):
        frac = mode.frac_coords.copy()
        for _ in range(3):
            frac = frac + group.correction(frac)
        assert group.offset_A(frac, exact.lattice.matrix) < 1e-6
        means.append(frac)
    return [exact, second], group, torch.tensor(np.array(means))


def _task(structure: Structure, group: SymmetryOperations, copies: int, given: Sequence[bool]) -> SamplingTask:
    batch = to_batch([structure] * copies)
    known = Known.coordinates_only(batch, torch.tensor(list(given) * copies))
    return SamplingTask(batch, known, symmetry=(group,) * copies)


def _displacements(result: SampleResult, mean: torch.Tensor, lattice: np.ndarray) -> torch.Tensor:
    """Å, from the mode `[copies, atoms, 3]`."""
    offset = result.crystals.frac_coords.reshape(-1, *mean.shape) - mean
    return (offset - offset.round()) @ torch.tensor(lattice)


def _check_spread(values: torch.Tensor, spread: float) -> None:
    error = 3 / np.sqrt(2 * values.numel())
    assert float(values.std()) == pytest.approx(spread, rel=TOLERANCE + error)
    assert kstest(values.numpy(), norm(0, spread).cdf).statistic < 0.02 + 1.63 / np.sqrt(values.numel())


@pytest.mark.parametrize("case", CASES)
def test_samples_in_angstrom_follow_the_constrained_law(case: str) -> None:
    (first, _), group, means = _modes(case)
    model = WrappedGaussianMixture(torch.tensor(SHARES), means, torch.full((2,), SPREAD), sigma_min=0.02, sigma_max=3.0)
    copies = 400
    result = build(OPTIONS).sample(model, _task(first, group, copies, [False] * len(first)), seed=3)
    assert result.reasons == (None,) * copies
    lattice = first.lattice.matrix
    for crystal in result.crystals.frac_coords.reshape(copies, -1, 3).numpy():
        assert group.offset_A(crystal, lattice) < 1e-9
    ti = [site.specie.symbol for site in first].index("Ti")
    o = [site.specie.symbol for site in first].index("O")
    both = torch.stack([_displacements(result, mean, lattice) for mean in means])
    nearest = both.flatten(2).norm(dim=-1).argmin(dim=0)
    share = float((nearest == 0).double().mean())
    assert share == pytest.approx(SHARES[0], abs=3 * np.sqrt(0.21 / copies) + 0.02)
    mine = both[0][nearest == 0]
    equivalent = int((group.orbits() == group.orbits()[o]).sum())
    _check_spread(mine[:, o].flatten(), SPREAD / np.sqrt(equivalent))
    free = mine[:, ti]
    assert np.linalg.matrix_rank(free.numpy(), tol=1e-6) == FREE[case]
    if FREE[case]:
        _, _, directions = np.linalg.svd(free.numpy(), full_matrices=False)
        _check_spread(torch.tensor((free.numpy() @ directions[: FREE[case]].T).ravel()), SPREAD)


def test_fractional_noise_has_its_own_constrained_law_on_a_hexagonal_cell() -> None:
    """v of the first O has the covariance s^2 (sum_g W_g^T W_g)^-1, which is not isotropic in any usual frame."""
    (first, _), group, means = _modes("hexagonal")
    spread, copies = 0.04, 400
    model = FractionalMixture(torch.tensor(SHARES), means, spread)
    result = build(OPTIONS).sample(model, _task(first, group, copies, [False] * len(first)), seed=5)
    offset = result.crystals.frac_coords.reshape(copies, -1, 3)[None] - means[:, None]
    offset = offset - offset.round()
    distance = offset.flatten(2).norm(dim=-1)
    # Images of a mode that are off the subspace hold a few samples back (docs/samplers.md).
    good = distance.amin(dim=0) < 10 * spread
    assert float(good.double().mean()) > 0.97
    nearest = torch.where(good, distance.argmin(dim=0), -1)
    assert float((nearest == 0).double().mean()) == pytest.approx(0.7, abs=3 * np.sqrt(0.21 / copies) + 0.02)
    o = [site.specie.symbol for site in first].index("O")
    mine = offset[0][nearest == 0][:, o].numpy()
    turns = group.rotations.astype(float)
    exact = spread**2 * np.linalg.inv(np.einsum("gji,gjk->ik", turns, turns))
    whitened = mine @ np.linalg.inv(np.linalg.cholesky(exact)).T
    _check_spread(torch.tensor(whitened.ravel()), 1.0)
    # The projector that is orthogonal in Å would give another law: the test can tell them apart.
    wrong = spread**2 / 3 * np.eye(3)
    assert np.abs(exact - wrong).max() > 0.3 * wrong[0, 0]


def test_what_a_mode_off_the_subspace_does() -> None:
    """Its weight on S, exp(-d^2 / 2 (s^2 + t^2)), is gone when the noise t is; trapped samples are not (docs).

    The score within S no longer knows of the mode: at its projection the gradient points towards the mode that is on S.
    Samples that were near the projection while t was large do not get away from it if the other mode is far, however.
    """
    (first, _), group, means = _modes("centrosymmetric")
    off = means[0].clone()
    o = [site.specie.symbol for site in first].index("O")
    off[o] += torch.tensor([0.0, 0.0, 0.35])
    model = WrappedGaussianMixture(
        torch.tensor([0.5, 0.5]), torch.stack([means[1], off]), torch.full((2,), SPREAD), sigma_min=0.02, sigma_max=3.0
    )
    lattice = first.lattice.matrix
    split = (off - means[0])[o].numpy() @ lattice / np.sqrt(2)
    d2 = float(split @ split)
    middle = means[0] + torch.from_numpy(group.average_displacements((off - means[0]).numpy()))
    batch = CrystalBatch(
        torch.cat([middle, means[1]]),
        torch.tensor(lattice).repeat(2, 1, 1),
        torch.tensor([site.specie.Z for site in first] * 2),
        torch.tensor([len(first)] * 2),
    )
    for sigma in (2.0, 0.02):
        fields = model.encode(batch, Known.coordinates_only(batch))
        x = fields["frac_coords"].reshape(2, -1, 3)
        weights = []
        for mode in model.means:
            _, log = model._wrapped_normal(fields, x - mode, torch.full((2,), float(np.hypot(sigma, SPREAD))))
            weights.append(log.sum(dim=1))
        on, ghost = weights[0][1], weights[1][0]
        if sigma < SPREAD:  # no image of a mode counts
            assert float(ghost - on) == pytest.approx(-d2 / 2 / (SPREAD**2 + sigma**2), rel=1e-3)
    result = build(OPTIONS).sample(model, _task(first, group, 100, [False] * len(first)), seed=1)
    near = [_displacements(result, mean, lattice).flatten(1).norm(dim=1) < 4 * SPREAD for mean in (means[1], middle)]
    assert int((near[0] | near[1]).sum()) >= 97
    trapped = 100 - int(near[0].sum())
    assert 25 <= trapped <= 50, "docs/samplers.md says 40"


def test_the_prior_is_uniform_on_every_free_coordinate() -> None:
    """Also where the axis of the group is the first row of the cell, and fractional and Å directions differ."""
    standard = Structure.from_spacegroup("P4", Lattice.tetragonal(5, 6), ["Na", "O"], [[0, 0, 0], [0.1, 0.2, 0.3]])
    turned = Structure(
        Lattice(standard.lattice.matrix[[2, 0, 1]]), standard.species, standard.frac_coords[:, [2, 0, 1]]
    )
    exact, group = find_operations(turned, 0.01)
    copies = 300
    task = _task(exact, group, copies, [False] * len(exact))
    model = WrappedGaussianMixture(
        torch.tensor([1.0]), torch.tensor(exact.frac_coords)[None], torch.tensor([50.0]), sigma_min=40.0, sigma_max=50.0
    )
    result = build(SamplerOptions(steps=2, corrector_steps=0)).sample(model, task, seed=1)
    frac = result.crystals.frac_coords.reshape(copies, -1, 3)
    means = torch.exp(2j * torch.pi * frac).mean(dim=0).abs()
    sodium = [site.specie.symbol for site in exact].index("Na")
    assert means[sodium].tolist()[1:] == pytest.approx([1, 1])  # on the axis, along which it is free
    free = [means[sodium, 0], *means[[site.specie.symbol == "O" for site in exact]].flatten()]
    assert max(map(float, free)) < 4 / copies**0.5


def test_a_host_orbit_is_kept_while_guests_are_drawn_in_its_symmetry() -> None:
    (first, _), group, means = _modes("hexagonal")
    model = WrappedGaussianMixture(
        torch.tensor([1.0]), means[:1], torch.tensor([SPREAD]), sigma_min=0.02, sigma_max=3.0
    )
    host = [site.specie.symbol == "Ti" for site in first]
    task = _task(first, group, 40, host)
    result = build_repaint(SamplerOptions(steps=30, align="none", passes=2, jump_length=5)).sample(model, task, seed=2)
    rows = torch.tensor(host * 40)
    assert torch.equal(result.crystals.frac_coords[rows], task.templates.frac_coords[rows])
    for crystal in result.crystals.frac_coords.reshape(40, -1, 3).numpy():
        assert group.offset_A(crystal, first.lattice.matrix) < 1e-6
    again = build_repaint(SamplerOptions(steps=30, align="none", passes=2, jump_length=5)).sample(model, task, seed=2)
    assert torch.equal(again.crystals.frac_coords, result.crystals.frac_coords)


def test_a_template_that_does_not_fit_is_refused() -> None:
    (first, _), group, means = _modes("centrosymmetric")
    model = WrappedGaussianMixture(torch.tensor([1.0]), means[:1], torch.tensor([SPREAD]))
    atoms = len(first)
    bent = first.copy()
    bent.translate_sites([0], [0.05, 0, 0], to_unit_cell=False)
    with pytest.raises(InputError, match=r"off by 0\.\d+ Å"):
        build(OPTIONS).sample(model, _task(bent, group, 1, [False] * atoms), seed=0)
    o = [site.specie.symbol for site in first].index("O")
    given = [index == o for index in range(atoms)]
    with pytest.raises(InputError, match="known coordinates are not alike"):
        build_repaint(OPTIONS).sample(model, _task(first, group, 1, given), seed=0)
    lone = Structure(first.lattice, ["Ti"], [[0, 0, 0]])
    single = WrappedGaussianMixture(torch.tensor([1.0]), means[:1, :1], torch.tensor([SPREAD]))
    with pytest.raises(InputError, match="permute 3 atoms, it has 1"):
        build(OPTIONS).sample(single, _task(lone, group, 1, [False]), seed=0)
