"""The network: recorded outputs, the split first layer, its gradients, and the graph of all pairs."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from diffcsp_runs import GOLDEN, named_weights
from numpy.typing import NDArray
from torch import Tensor

from chggen_diffcsp.network import CSPNet, CSPNetConfig, time_embedding
from chggen_diffcsp.pairs import PairCache, PairGraph

CASES = {
    "csp_small": CSPNetConfig(hidden_dim=32, latent_dim=16, num_layers=2, num_freqs=4),
    "csp_noln_noemb": CSPNetConfig(hidden_dim=24, latent_dim=10, num_layers=3, dis_emb="none", ln=False),
    "wtype_small": CSPNetConfig(hidden_dim=32, latent_dim=16, num_layers=2, num_freqs=4, smooth=True, pred_type=True),
}


def _network(config: CSPNetConfig) -> CSPNet:
    network = CSPNet(config)
    weights = {name.removeprefix("decoder."): tensor for name, tensor in named_weights(network).items()}
    network.load_state_dict(weights)
    return network


@pytest.fixture(scope="module")
def speed_script() -> ModuleType:
    """The literal evaluation that the speed is measured against."""
    path = Path(__file__).parents[2] / "scripts" / "measure_diffcsp_speed.py"
    spec = importlib.util.spec_from_file_location("measure_diffcsp_speed", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("sample", [1, 3])
@pytest.mark.parametrize("case", list(CASES))
def test_outputs_are_those_of_the_published_code(case: str, sample: int) -> None:
    with np.load(GOLDEN / "outputs.npz") as recorded:
        data = {key.removeprefix(f"{case}/"): recorded[key] for key in recorded.files if key.startswith(case)}

    def get(name: str) -> NDArray[np.float32]:
        return data[f"s{sample}_{name}"]

    config = CASES[case]
    numbers = torch.from_numpy(data["num_atoms"].astype(np.int64))
    species = get("types") if config.smooth else data["atom_types"].astype(np.int64)
    with torch.no_grad():
        output = _network(config)(
            time_embedding(torch.from_numpy(get("t")), config.latent_dim),
            torch.from_numpy(species),
            torch.from_numpy(get("frac_coords")),
            torch.from_numpy(get("lattices")),
            PairGraph.build(numbers),
        )
    pairs = [(output.lattice, "pred_l"), (output.coords, "pred_x")]
    if config.pred_type:
        pairs.append((output.types, "pred_t"))
    for mine, name in pairs:
        reference = get(name)
        assert np.abs(mine.numpy() - reference).max() <= 1e-5 * max(1.0, np.abs(reference).max()), name


def _inputs(config: CSPNetConfig, counts: list[int], dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    n_atoms = sum(counts)
    time = time_embedding(torch.arange(1, len(counts) + 1), config.latent_dim).to(dtype)
    species = torch.randint(1, 100, (n_atoms,), generator=generator)
    if config.smooth:
        species = torch.randn(n_atoms, config.max_atoms, generator=generator, dtype=dtype)
    coords = torch.rand(n_atoms, 3, generator=generator, dtype=dtype)
    lattice = 4 * torch.randn(len(counts), 3, 3, generator=generator, dtype=dtype)
    return time, species, coords, lattice


@pytest.mark.parametrize("case", list(CASES))
def test_split_evaluation_has_the_literal_numbers_and_gradients(case: str, speed_script: ModuleType) -> None:
    config, counts = CASES[case], [3, 1, 5]
    network = _network(config).double()
    numbers = torch.tensor(counts)
    results = []
    for literal in (False, True):
        time, species, coords, lattice = _inputs(config, counts, torch.float64)
        coords.requires_grad_()
        network.zero_grad()
        if literal:
            output = speed_script.literal_forward(network, time, species, coords, lattice, numbers)
        else:
            output = network(time, species, coords, lattice, PairGraph.build(numbers))
        loss = output.coords.square().sum() + output.lattice.square().sum()
        loss = loss if output.types is None else loss + output.types.square().sum()
        loss.backward()
        gradients = [coords.grad, *(p.grad for p in network.parameters() if p.grad is not None)]
        results.append([output.coords, output.lattice, *gradients])
    assert len(results[0]) == len(results[1])
    for mine, reference in zip(*results, strict=True):
        assert torch.allclose(mine, reference, rtol=1e-9, atol=1e-9 * float(reference.detach().abs().max()))


def test_training_and_sampling_give_the_same_numbers() -> None:
    """Where nothing is differentiated, sums over pairs and activations work in place."""
    config = CASES["csp_small"]
    network, graph = _network(config), PairGraph.build(torch.tensor([4, 2]))
    inputs = _inputs(config, [4, 2], torch.float32)
    with torch.no_grad():
        quiet = network(*inputs, graph)
    again = network(*inputs, graph)
    assert torch.allclose(quiet.coords, again.coords.detach(), rtol=1e-5, atol=1e-6)
    assert torch.allclose(quiet.lattice, again.lattice.detach(), rtol=1e-5, atol=1e-5)


def test_graph_holds_every_ordered_pair_once() -> None:
    graph = PairGraph.build(torch.tensor([3, 1, 2]))
    pairs = set(zip(graph.centre.tolist(), graph.neighbour.tolist(), strict=True))
    expected = {(i, j) for crystal in ([0, 1, 2], [3], [4, 5]) for i in crystal for j in crystal}
    assert pairs == expected
    assert len(graph.centre) == len(expected)
    ordered = list(zip(graph.centre.tolist(), graph.neighbour.tolist(), strict=True))
    first, itself, mirrored = ordered[:4], ordered[4:10], ordered[10:]
    assert graph.n_unordered == 4
    assert itself == [(i, i) for i in range(6)]
    assert mirrored == [(j, i) for i, j in first]


def test_graph_of_many_crystals_is_linear_in_their_number() -> None:
    """Never all atoms against all: that would be 4e8 pairs here."""
    graph = PairGraph.build(torch.full((5000,), 4))
    assert len(graph.centre) == 5000 * 16


def test_graphs_are_remembered() -> None:
    cache = PairCache()
    cpu = torch.device("cpu")
    assert cache.get([2, 3], cpu) is cache.get([2, 3], cpu)
    assert cache.get([2, 3], cpu) is not cache.get([3, 2], cpu)


@pytest.mark.parametrize(
    "bad",
    [{"hidden_dim": 0}, {"num_layers": 2.5}, {"num_freqs": 10**6}, {"dis_emb": "cos"}, {"ln": "yes"}],
)
def test_impossible_networks_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        CSPNetConfig(**bad)  # type: ignore[arg-type]  # that is the point
