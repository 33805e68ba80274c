"""CHGNet as a `Potential`: one forward pass for the batch, one backward pass for forces and stresses together."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.resources
import io
from typing import Any

import torch
from torch import Tensor

from chggen_chgnet.graph import BondGraph, build_graph
from chggen_chgnet.network import EnergyNetwork
from chggen_chgnet.options import ChgnetOptions
from chggen_kit.errors import CheckpointError, InputError
from chggen_kit.interfaces import Evaluation, PotentialInfo
from chggen_kit.potentials import MIN_DISTANCE, GuardedPotential
from chggen_kit.state import CrystalBatch

_FILES = {
    "0.3.0": "0.3.0/chgnet_0.3.0_e29f68s314m37.pth.tar",
    "r2scan": "r2scan/chgnet_r2scan_transfer_learning_e15f36s161m23.pth.tar",
}
_FRAMES = {"0.3.0": "mp2020-corrected", "r2scan": "r2scan"}
_UNTRAINED = {"0.3.0": frozenset({84, 85, 86, 87, 88}), "r2scan": frozenset({70, 84, 85, 86, 87, 88})}
"""Elements below 95 that the training sets (MPtrj; MP r2SCAN) do not hold; their embeddings are random numbers."""
_MAX_ATOMS_PER_BATCH = {"cpu": 128, "cuda": 1024}
"""Larger batches gain nothing on a CPU, whose caches they leave; on a GPU 1024 atoms take some 4 GB."""


def load(options: ChgnetOptions) -> ChgnetPotential:
    """CHGNet with the weights of the installed `chgnet` package.

    Raises:
        CheckpointError: when the package holds no such weights, or weights of another architecture.
        InputError: when the device does not exist here.
    """
    model = _load_model(options)
    try:
        return ChgnetPotential(model, options)
    except AttributeError as error:
        raise CheckpointError(f"The network of the chgnet package is not the one known here: {error}.") from error


def _load_model(options: ChgnetOptions) -> Any:  # noqa: ANN401 - chgnet has no type information
    from chgnet.model import CHGNet

    path = importlib.resources.files("chgnet") / "pretrained" / _FILES[options.weights]
    version = importlib.metadata.version("chgnet")
    advice = f"The chgnet package found is version {version}; 0.4.0 and later are known to work."
    if not path.is_file():
        raise CheckpointError(f"The chgnet package holds no weights {options.weights!r} ({path} is missing). {advice}")
    with importlib.resources.as_file(path) as file:
        state = torch.load(file, map_location="cpu", weights_only=True)["model"]
    arguments = {**state["model_args"], "mlp_out_bias": False, "version": options.weights}
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # chgnet announces itself on stdout
            model = CHGNet(**arguments)
        model.load_state_dict(state["state_dict"])
    except (RuntimeError, TypeError) as error:
        raise CheckpointError(
            f"The weights {options.weights!r} do not fit chgnet's network: {error} {advice}"
        ) from error
    try:
        known = torch.device(options.device).type in _MAX_ATOMS_PER_BATCH
        moved = model.to(options.device) if known else None
    except (RuntimeError, AssertionError) as error:  # torch without CUDA raises AssertionError
        raise InputError(f"CHGNet cannot run on device {options.device!r}: {error}. Use 'cpu'.") from error
    if moved is None:
        raise InputError(f"CHGNet cannot run on device {options.device!r}: it needs float64. Use 'cpu' or 'cuda'.")
    return moved.requires_grad_(requires_grad=False).eval()


class ChgnetPotential(GuardedPotential):
    """CHGNet (Deng et al., Nature Machine Intelligence 5, 1031 (2023)).

    Energies are those of `chgnet.model.CHGNet.predict_structure` times the number of atoms. A crystal gets NaN when its
    coordinates are not finite, its cell has collapsed (below 1 Å^3/atom) or is flat, two atoms coincide, or an atom
    has no neighbour within 6 Å (CHGNet has no value for it).
    """

    def __init__(self, model: Any, options: ChgnetOptions) -> None:  # noqa: ANN401 - chgnet has no type information
        self._network = EnergyNetwork(model)
        self._device = torch.device(options.device)
        self._info = PotentialInfo(
            name=f"chgnet-{options.weights}",
            energy_frame=_FRAMES[options.weights],
            elements=frozenset(range(1, 95)) - _UNTRAINED[options.weights],
            cutoff_A=self._network.bond_cutoff,
            max_atoms_per_batch=_MAX_ATOMS_PER_BATCH[self._device.type],
            licence="BSD-3-Clause",
        )

    @property
    def info(self) -> PotentialInfo:
        """What the potential is."""
        return self._info

    def compute(self, batch: CrystalBatch) -> Evaluation:
        """Values of usable crystals; see `GuardedPotential.compute`."""
        graph = build_graph(batch, self._network.bond_cutoff, self._network.angle_cutoff)
        vector = graph.vector.clone().to(self._device).requires_grad_()
        site = self._network(batch.species.to(self._device), graph.to(self._device), vector)
        (slope,) = torch.autograd.grad(site.sum(), vector)
        site, slope = site.detach().cpu(), slope.cpu()
        crystal = batch.crystal_index
        energies = site.new_zeros(batch.n_crystals).index_add_(0, crystal, site)
        # A bond vector is x_second + translation - x_first, and becomes r (1 + strain) under strain.
        forces = slope.new_zeros(batch.n_atoms, 3).index_add_(0, graph.first, slope).index_add_(0, graph.second, -slope)
        outer = graph.vector[:, :, None] * slope[:, None, :]
        virial = outer.new_zeros(batch.n_crystals, 3, 3).index_add_(0, crystal[graph.first], outer)
        stresses = (virial + virial.transpose(1, 2)) / (2 * batch.volumes[:, None, None])
        energies[_undefined(batch, graph)] = torch.nan  # and with it, by the guard, forces and stress
        return Evaluation(energies, forces, stresses)


def _undefined(batch: CrystalBatch, graph: BondGraph) -> Tensor:
    """Crystals with coinciding or isolated atoms `[n_crystals]`."""
    bonds = torch.bincount(torch.cat([graph.first, graph.second]), minlength=batch.n_atoms)
    coinciding = batch.crystal_index[graph.first[graph.vector.norm(dim=1) < MIN_DISTANCE]]
    bad = torch.zeros(batch.n_crystals, dtype=torch.bool)
    bad[batch.crystal_index[bonds == 0]] = True
    bad[coinciding] = True
    return bad
