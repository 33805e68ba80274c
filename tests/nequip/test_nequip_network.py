"""The network's symmetries, its cutoff, and the neighbour sum against e3nn's own tensor product."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch_geometric.utils import scatter

from chggen_kit.state import CrystalBatch
from chggen_kit.testing.crystals import disturbed, perovskite, rocksalt, textbook_crystals, zincblende
from chggen_kit.torus import neighbours, wrap
from chggen_nequip.compat import o3
from chggen_nequip.convolution import NeighbourSum, SelfProduct
from chggen_nequip.graph import build_graph, pad_neighbours
from chggen_nequip.network import Architecture, ScoreNetwork
from chggen_nequip.radial import smooth_envelope

CUTOFF = 5.0
TOLERANCE = 2e-5  # float32, relative to the largest component; measured: 3e-6


@pytest.fixture(scope="module", params=[0, 6], ids=["plain", "products"])
def network(request: pytest.FixtureRequest) -> ScoreNetwork:
    torch.manual_seed(0)
    network = ScoreNetwork(Architecture(hidden=(16, 8, 4), layers=2, product_channels=request.param)).eval()
    for name, parameter in network.named_parameters():
        if ".product.weights" in name:  # they start at zero
            torch.nn.init.normal_(parameter)
    return network


def rattled(batch: CrystalBatch) -> CrystalBatch:
    return disturbed(batch, rattle_A=0.2, strain=0.02, seed=0)


def predict(network: ScoreNetwork, batch: CrystalBatch) -> Tensor:
    batch = batch.to(dtype=torch.float32)
    graph = build_graph(batch.frac_coords, batch.lattice, batch.num_atoms, CUTOFF)
    sigma = torch.linspace(0.1, 0.5, 10)[: batch.n_crystals]
    with torch.no_grad():
        return network(batch.species, batch.crystal_index, graph, sigma)


def test_the_noise_level_decides_what_is_predicted(network: ScoreNetwork) -> None:
    batch = rattled(perovskite(38, 22, 8, 3.91)).to(dtype=torch.float32)
    graph = build_graph(batch.frac_coords, batch.lattice, batch.num_atoms, CUTOFF)
    with torch.no_grad():
        low, high = (network(batch.species, batch.crystal_index, graph, torch.tensor([sigma])) for sigma in (0.05, 1.0))
        embedded = network.noise(torch.tensor([0.05, 1.0]))
    assert float((low - high).norm()) > 0.01 * float(low.norm())
    assert float((embedded[0] - embedded[1]).norm()) > 0.1 * float(embedded[0].norm())


def assert_equal(a: Tensor, b: Tensor) -> None:
    assert float((a - b).abs().max()) < TOLERANCE * float(a.abs().max())


@pytest.mark.parametrize("handedness", [1.0, -1.0], ids=["rotation", "with inversion"])
def test_vectors_turn_with_the_crystal(network: ScoreNetwork, handedness: float) -> None:
    batch = rattled(textbook_crystals())
    turn = torch.linalg.matrix_exp(torch.tensor([[0, 0.4, -0.9], [-0.4, 0, 0.3], [0.9, -0.3, 0]]).double())
    turned = CrystalBatch(batch.frac_coords, handedness * batch.lattice @ turn.T, batch.species, batch.num_atoms)
    expected = handedness * predict(network, batch) @ turn.T.float()
    assert float(expected.abs().max()) > 1e-3
    assert_equal(expected, predict(network, turned))


def test_a_common_shift_changes_nothing(network: ScoreNetwork) -> None:
    batch = rattled(textbook_crystals())
    frac = wrap(batch.frac_coords + torch.tensor([0.31, 0.77, 0.52], dtype=torch.float64))
    moved = CrystalBatch(frac, batch.lattice, batch.species, batch.num_atoms)
    assert_equal(predict(network, batch), predict(network, moved))


def test_permuted_atoms_give_permuted_vectors(network: ScoreNetwork) -> None:
    batch = rattled(perovskite(38, 22, 8, 3.91))
    order = torch.tensor([3, 0, 4, 2, 1])
    permuted = CrystalBatch(batch.frac_coords[order], batch.lattice, batch.species[order], batch.num_atoms)
    assert_equal(predict(network, batch)[order], predict(network, permuted))


def test_one_crystal_alone_is_one_in_a_batch(network: ScoreNetwork) -> None:
    batch = rattled(textbook_crystals())
    together = predict(network, batch)
    single = batch.select([0])
    assert_equal(together[: single.n_atoms], predict(network, single))


def test_supercell_repeats_the_vectors(network: ScoreNetwork) -> None:
    batch = rattled(zincblende(30, 16, 5.41))
    half = batch.frac_coords / torch.tensor([2, 1, 1])
    frac = torch.cat([half, half + torch.tensor([0.5, 0, 0])])
    lattice = batch.lattice * torch.tensor([2, 1, 1])[:, None]
    double = CrystalBatch(wrap(frac), lattice, batch.species.repeat(2), 2 * batch.num_atoms)
    assert_equal(predict(network, batch).repeat(2, 1), predict(network, double))


def test_perfect_crystal_with_inversion_at_every_site_has_no_force(network: ScoreNetwork) -> None:
    assert float(predict(network, rocksalt(11, 17, 5.64)).abs().max()) < 1e-5


@pytest.mark.parametrize("distance", [0.0, 6.0], ids=["atoms on one place", "atoms out of reach"])
def test_extreme_distances_stay_finite(network: ScoreNetwork, distance: float) -> None:
    frac = torch.tensor([[0.0, 0.0, 0.0], [distance / 20, 0.0, 0.0]])
    batch = CrystalBatch(frac, 20 * torch.eye(3)[None], torch.tensor([11, 17]), torch.tensor([2]))
    assert bool(torch.isfinite(predict(network, batch)).all())


def test_envelope_ends_with_zero_value_and_slope() -> None:
    length = torch.tensor([CUTOFF - 1e-4, CUTOFF, CUTOFF + 1], dtype=torch.float64, requires_grad=True)
    value = smooth_envelope(length, CUTOFF)
    (slope,) = torch.autograd.grad(value.sum(), length)
    assert float(value.detach().abs().max()) < 1e-12
    assert float(slope.abs().max()) < 1e-8
    middle = smooth_envelope(torch.tensor([0.0, CUTOFF / 2]), CUTOFF)
    torch.testing.assert_close(middle, torch.tensor([1.0, 0.5]))


def test_an_atom_crosses_the_cutoff_smoothly() -> None:
    torch.manual_seed(1)
    network = ScoreNetwork(Architecture(hidden=(16, 8, 4), layers=2)).double()
    species, index, sigma = torch.tensor([11, 17]), torch.zeros(2, dtype=torch.int64), torch.tensor([0.3]).double()

    def response(distance: float) -> Tensor:
        frac = torch.tensor([[0.0, 0.0, 0.0], [distance / 20, 0.0, 0.0]]).double()
        graph = build_graph(frac, 20 * torch.eye(3)[None].double(), torch.tensor([2]), CUTOFF)
        with torch.no_grad():
            return network(species, index, graph, sigma)

    step = 1e-2
    outside, near = response(CUTOFF + step), response(CUTOFF - step)
    inside = response(CUTOFF / 2)
    # The envelope rises as the third power of the distance to the cutoff: 10 (step / cutoff)^3 = 8e-8.
    assert float((near - outside).abs().max()) < 1e-5 * float((inside - outside).abs().max())
    assert float((inside - outside).abs().max()) > 1e-4


def test_neighbour_sum_is_a_weighted_tensor_product_over_edges() -> None:
    """Against e3nn's 'uvu' tensor product edge by edge, with the radial network's last layer as its weights."""
    torch.manual_seed(2)
    batch = rattled(perovskite(38, 22, 8, 3.91)).to(dtype=torch.float32)
    edges = neighbours(batch.frac_coords, batch.lattice, batch.num_atoms, CUTOFF)
    graph = pad_neighbours(edges, n_atoms=batch.n_atoms)
    n_radial, l_max = 3, 2
    irreps, out = o3.Irreps("5x0e+4x1o+2x2e"), o3.Irreps("3x0e+2x1o+1x2e")
    layer = NeighbourSum(irreps, out, l_max=l_max, n_radial=n_radial, mean_neighbours=7.0)
    x = irreps.randn(batch.n_atoms, -1)
    harmonics = o3.Irreps.spherical_harmonics(l_max)

    def radial(vector: Tensor) -> Tensor:
        return torch.stack([torch.exp(-k * vector.norm(dim=-1) / 3) for k in range(n_radial)], dim=-1)

    rows = []
    for bucket in graph.buckets:
        sphere = o3.spherical_harmonics(harmonics, bucket.vector, normalize=True, normalization="component")
        edge = torch.einsum("iwm,iwk,iw->imkw", sphere, radial(bucket.vector), bucket.filled.float())
        rows.append(edge.reshape(edge.shape[0], -1, edge.shape[-1]))
    ours = layer(x, graph, rows)

    sphere = o3.spherical_harmonics(harmonics, edges.vector, normalize=True, normalization="component")
    features = layer.linear_in(x)[edges.source]
    total = torch.zeros(batch.n_atoms, out.dim)
    for name, weight in layer.weights.items():
        l1, l2, l3 = (int(part) for part in name.split("_"))
        block = irreps[l1]
        middle = o3.Irreps([(block.mul, (l3, (-1) ** l3))])
        product = o3.TensorProduct(
            irreps, harmonics, middle, [(l1, l2, 0, "uvu", True)],
            internal_weights=False, shared_weights=False, path_normalization="none",
        )  # fmt: skip
        mixing = weight.view(n_radial, block.mul, -1)
        for column in range(out[l3].mul):
            # The product's weights on an edge and channel are sum_k W[k, u, v] h_k, for one output channel v.
            on_edges = radial(edges.vector) @ mixing[:, :, column]
            message = product(features, sphere, on_edges).view(-1, block.mul, 2 * l3 + 1).sum(dim=1)
            place = out.slices()[l3].start + column * (2 * l3 + 1)
            total[:, place : place + 2 * l3 + 1] += (
                scatter(message, edges.target, dim_size=batch.n_atoms) * layer.fan_in[l3] ** -0.5
            )
    torch.testing.assert_close(ours, total * 7.0**-0.5, rtol=1e-4, atol=1e-5)


def test_self_product_is_the_coupled_square_of_its_factors() -> None:
    torch.manual_seed(0)
    irreps, channels = o3.Irreps("5x0e + 4x1o + 3x2e"), 3
    product = SelfProduct(irreps, irreps, l_max=2, channels=channels)
    x = irreps.randn(7, -1)
    assert float(product(x).abs().max()) == 0  # until it is trained
    for parameter in product.weights.values():
        torch.nn.init.normal_(parameter)
    blocks = torch.split(product.linear_in(x), [channels * (2 * order + 1) for order in range(3)], dim=1)
    factors = [block.view(7, channels, -1) for block in blocks]
    square = sum(factor.square().sum(dim=2) for factor in factors) / 9
    length = (1 + square.mean(dim=1)).sqrt()[:, None, None]
    factors = [factor / length for factor in factors]
    expected = []
    for multiplicity, ir in irreps:
        rows = []
        for l1 in range(3):
            for l2 in range(l1, 3):
                if abs(l1 - l2) <= ir.l <= l1 + l2 and (l1 + l2 + ir.l) % 2 == 0:
                    coupling = o3.wigner_3j(l1, l2, ir.l) * (2 * ir.l + 1) ** 0.5
                    rows.append(torch.einsum("nci,ncj,ijk->nck", factors[l1], factors[l2], coupling))
        mixed = torch.stack(rows, dim=2).flatten(1, 2)  # [atoms, channels * paths, 2 l + 1]
        weights = product.weights[str(ir.l)] * mixed.shape[1] ** -0.5
        expected.append(torch.einsum("npk,pm->nmk", mixed, weights).reshape(7, multiplicity * (2 * ir.l + 1)))
    assert_equal(product(x), torch.cat(expected, dim=1))
