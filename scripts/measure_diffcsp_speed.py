"""Measures DiffCSP's network: split against literal evaluation, the loop around it, and memory over many steps.

    python scripts/measure_diffcsp_speed.py [--atoms 20] [--crystals 8] [--hidden 512] [--layers 6] [--freqs 128]

The literal evaluation is the published layer as it is written down: one dense product over [h_i | h_j | G | e_ij] for
every ordered pair. Times are processor seconds of this process on one thread, the best of several rounds.
"""

from __future__ import annotations

import argparse
import cProfile
import math
import pstats
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from chggen_diffcsp.checkpoint import SCHEDULES, build_checkpoint
from chggen_diffcsp.hparams import Settings
from chggen_diffcsp.model import DiffCSPScoreModel
from chggen_diffcsp.network import CSPLayer, CSPNet, CSPNetConfig, CSPNetOutput, time_embedding
from chggen_diffcsp.schedules import cosine_schedule, exact_sigmas_norm, exponential_sigmas
from chggen_kit.interfaces import SamplingTask
from chggen_kit.samplers.options import SamplerOptions
from chggen_kit.samplers.predictor_corrector import PredictorCorrector
from chggen_kit.state import CrystalBatch, Fields, Known

PUBLISHED_MS_A_PAIR = 0.19
"""Processor milliseconds a directed pair of the published code at h = 512, on another machine."""


def literal_forward(
    network: CSPNet, embedded_time: Tensor, species: Tensor, coords: Tensor, lattice: Tensor, num_atoms: Tensor
) -> CSPNetOutput:
    """`CSPNet.forward` written down pair by pair."""
    config = network.config
    index = torch.repeat_interleave(torch.arange(len(num_atoms)), num_atoms)
    blocks = [
        torch.cartesian_prod(atoms, atoms).reshape(-1, 2)
        for atoms in torch.arange(len(index)).split(num_atoms.tolist())
    ]
    i, j = torch.cat(blocks).unbind(dim=1)
    h = network.node_embedding(species if config.smooth else species - 1)
    h = network.atom_latent_emb(torch.cat([h, embedded_time[index]], dim=1))
    offset = (coords[j] - coords[i]) % 1.0
    if config.dis_emb == "sin":
        waves = 2 * math.pi * torch.arange(config.num_freqs, dtype=coords.dtype)
        angles = (offset[:, :, None] * waves).flatten(1)
        offset = torch.cat([angles.sin(), angles.cos()], dim=1)
    gram = (lattice @ lattice.transpose(1, 2)).flatten(1)[index[i]]
    for number in range(config.num_layers):
        layer = cast("CSPLayer", network.get_submodule(f"csp_layer_{number}"))
        z = h if layer.layer_norm is None else layer.layer_norm(h)
        messages = layer.edge_mlp(torch.cat([z[i], z[j], gram, offset], dim=1))
        mean = torch.zeros_like(h).index_add(0, i, messages) / num_atoms[index][:, None]
        h = h + layer.node_mlp(torch.cat([z, mean], dim=1))
    if network.final_layer_norm is not None:
        h = network.final_layer_norm(h)
    pooled = torch.zeros(len(num_atoms), h.shape[1], dtype=h.dtype).index_add(0, index, h) / num_atoms[:, None]
    cells = network.lattice_out(pooled).reshape(-1, 3, 3)
    types = None if network.type_out is None else network.type_out(h)
    return CSPNetOutput(cells @ lattice if config.ip else cells, network.coord_out(h), types)


def best_seconds(call: Callable[[], object], rounds: int) -> float:
    """Processor seconds of the fastest of `rounds` calls."""
    seconds = []
    for _ in range(rounds):
        start = time.process_time()
        call()
        seconds.append(time.process_time() - start)
    return min(seconds)


def score_model(config: CSPNetConfig, timesteps: int) -> DiffCSPScoreModel:
    """A score model with random weights, small ones, so that its samples stay finite."""
    torch.manual_seed(0)
    network = CSPNet(config)
    for name in ("coord_out", "lattice_out"):
        cast("nn.Linear", network.get_submodule(name)).weight.data.mul_(0.01)
    betas, sigmas = cosine_schedule(timesteps), exponential_sigmas(timesteps, 0.005, 0.5)
    buffers = (betas.betas, betas.alphas, betas.alphas_cumprod, betas.sigmas, sigmas, exact_sigmas_norm(sigmas))
    tensors = {f"decoder.{name}": tensor for name, tensor in network.state_dict().items()}
    tensors |= dict(zip(SCHEDULES, buffers, strict=True))
    settings = Settings(config, timesteps, 0.005, 0.5, 1.0, 1.0)
    return DiffCSPScoreModel(build_checkpoint(settings, tensors, Path("random.safetensors"), facts=None))


def crystals(atoms: int, count: int) -> CrystalBatch:
    """Crystals of random atoms."""
    generator = torch.Generator().manual_seed(0)
    return CrystalBatch(
        torch.rand(atoms * count, 3, generator=generator, dtype=torch.float64),
        (10 * atoms) ** (1 / 3) * torch.eye(3, dtype=torch.float64).repeat(count, 1, 1),
        torch.randint(1, 90, (atoms * count,), generator=generator),
        torch.full((count,), atoms),
    )


def measure_network(model: DiffCSPScoreModel, network: CSPNet, batch: CrystalBatch, rounds: int) -> None:
    """Split evaluation, as the sampler calls it, against the literal one, in turn."""
    nothing = Known.coordinates_only(batch)
    fields = model.encode(batch, nothing)
    t = torch.full((batch.n_crystals,), 500.0)
    embedded = time_embedding(t.to(torch.int64), network.config.latent_dim)
    coords, lattice = fields["frac_coords"], fields["lattice"]

    def split() -> Fields:
        return model.predict(fields, t)

    def literal() -> CSPNetOutput:
        with torch.no_grad():
            return literal_forward(network, embedded, batch.species, coords, lattice, batch.num_atoms)

    reference, mine = literal(), split()
    difference = float((reference.coords - mine["frac_coords"]).abs().max() / reference.coords.abs().max())
    times = [(best_seconds(split, 1), best_seconds(literal, 1)) for _ in range(rounds)]
    ours, theirs = (min(column) for column in zip(*times, strict=True))
    pairs = int((batch.num_atoms**2).sum())
    print(f"network, {batch.n_crystals} crystals of {int(batch.num_atoms[0])} atoms ({pairs} pairs):")
    print(f"  split    {ours:.4f} s, {1e3 * ours / pairs:.4f} ms a pair")
    print(f"  literal  {theirs:.4f} s, {1e3 * theirs / pairs:.4f} ms a pair (published: {PUBLISHED_MS_A_PAIR})")
    print(f"  {theirs / ours:.2f} times as fast; largest relative difference {difference:.1e}")


def measure_loop(model: DiffCSPScoreModel, batch: CrystalBatch, steps: int) -> None:
    """Share of a sampling run that is spent outside the network."""
    known = Known.coordinates_only(batch)
    known = Known(known.frac_coords, known.species, torch.zeros_like(known.lattice))
    sampler = PredictorCorrector(SamplerOptions(steps=steps))
    task = SamplingTask(batch, known)
    sampler.sample(model, task, seed=0)
    profile = cProfile.Profile(time.process_time)
    profile.runcall(sampler.sample, model, task, seed=0)
    statistics = pstats.Stats(profile)
    rows = statistics.stats  # type: ignore[attr-defined]  # not in the type stubs
    inside = sum(
        row[3] for key, row in rows.items() if key[2] == "predict" and key[0].endswith("chggen_diffcsp/model.py")
    )
    total = statistics.total_tt  # type: ignore[attr-defined]  # likewise
    print(f"loop, {steps} steps of two calls: {total:.2f} s, outside the network {100 * (1 - inside / total):.2f} %")


def measure_memory(model: DiffCSPScoreModel, batch: CrystalBatch) -> None:
    """Largest memory of this process after few and after many steps."""
    known = Known.coordinates_only(batch)
    peaks = []
    for steps in (20, 20, 200):
        PredictorCorrector(SamplerOptions(steps=steps)).sample(model, SamplingTask(batch, known), seed=0)
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    print(f"memory: {peaks[1]:.0f} MB at most after 20 steps, {peaks[2]:.0f} MB after 200")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--atoms", type=int, default=20)
    parser.add_argument("--crystals", type=int, default=8)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--freqs", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10, help="of the run whose overhead is measured")
    options = parser.parse_args()
    torch.set_num_threads(1)
    config = CSPNetConfig(hidden_dim=options.hidden, num_layers=options.layers, num_freqs=options.freqs)
    model = score_model(config, 1000)
    batch = crystals(options.atoms, options.crystals)
    torch.manual_seed(0)
    measure_network(model, model.network, batch, options.rounds)
    measure_loop(model, batch, options.steps)
    small = score_model(CSPNetConfig(hidden_dim=32, num_layers=2, num_freqs=8), 1000)
    measure_memory(small, batch)


if __name__ == "__main__":
    main()
