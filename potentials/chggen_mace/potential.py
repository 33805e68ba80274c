"""MACE as a `Potential`: one graph, one forward and one backward pass for the batch.

Batatia et al., Advances in Neural Information Processing Systems 35 (2022); foundation models: Batatia et al.,
arXiv:2401.00096.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from chggen_kit.errors import InputError, unknown_name
from chggen_kit.interfaces import Evaluation, PotentialInfo
from chggen_kit.potentials import EdgePotential
from chggen_kit.state import CrystalBatch
from chggen_kit.torus import Neighbours, to_cartesian
from chggen_mace.loading import LoadedModel, load_model
from chggen_mace.options import MaceOptions

_MAX_ATOMS_PER_BATCH = {"cpu": 64, "cuda": 512}
"""Larger batches gain nothing on a CPU; on a GPU 512 atoms suit the large models."""


def load(options: MaceOptions) -> MacePotential:
    """MACE from a model file or a released name.

    Raises:
        InputError, CheckpointError: see `loading.load_model`.
    """
    return MacePotential(load_model(options), options)


class MacePotential(EdgePotential):
    """MACE; energies, forces and stresses are those of `mace.calculators.MACECalculator`.

    Energies are sums over the atoms in float64. A crystal gets NaN as `EdgePotential` says.

    Raises:
        InputError: for an unknown head, or when one must be chosen.
    """

    def __init__(self, model: LoadedModel, options: MaceOptions) -> None:
        self._network = model.network
        self._device = torch.device(options.device)
        self._dtype: torch.dtype = next(iter(model.network.parameters())).dtype
        numbers = [int(z) for z in model.network.atomic_numbers]
        self._place = torch.full((119,), -1)
        self._place[numbers] = torch.arange(len(numbers))
        self._n_elements = len(numbers)
        heads = list(getattr(model.network, "heads", None) or ["Default"])
        self._head = _choose_head(heads, options.head)
        name = model.name if len(heads) == 1 else f"{model.name}-{heads[self._head]}"
        self._info = PotentialInfo(
            name=name,
            energy_frame=model.energy_frame,
            elements=frozenset(numbers),
            cutoff_A=float(model.network.r_max),
            max_atoms_per_batch=_MAX_ATOMS_PER_BATCH[self._device.type],
            licence=model.licence,
        )

    @property
    def info(self) -> PotentialInfo:
        """What the potential is."""
        return self._info

    def compute_with_edges(self, batch: CrystalBatch, edges: Neighbours) -> Evaluation:
        """Values of `batch`, in the network's own precision."""
        graph = {name: self._moved(tensor) for name, tensor in self._graph(batch, edges).items()}
        result: dict[str, Any] = self._network(graph, compute_stress=True, training=False)
        site, forces, stress = (result[key].detach().cpu().double() for key in ("node_energy", "forces", "stress"))
        energies = site.new_zeros(batch.n_crystals).index_add_(0, batch.crystal_index, site)
        return Evaluation(energies, forces, (stress + stress.transpose(1, 2)) / 2)

    def _graph(self, batch: CrystalBatch, edges: Neighbours) -> dict[str, Tensor]:
        elements = torch.nn.functional.one_hot(self._place[batch.species], self._n_elements)
        sender, shift = edges.target, edges.shift.double()
        return {
            "positions": to_cartesian(batch.frac_coords, batch.lattice, batch.crystal_index),
            "node_attrs": elements.double(),
            "edge_index": torch.stack([sender, edges.source]),
            "unit_shifts": shift,
            "shifts": to_cartesian(shift, batch.lattice, batch.crystal_index[sender]),
            "cell": batch.lattice.reshape(-1, 3),
            "batch": batch.crystal_index,
            "ptr": batch.offsets,
            "head": torch.full((batch.n_crystals,), self._head),
        }

    def _moved(self, tensor: Tensor) -> Tensor:
        """`tensor` on the device, in the network's precision where it holds real numbers."""
        return tensor.to(self._device, self._dtype) if tensor.is_floating_point() else tensor.to(self._device)


def _choose_head(heads: list[str], wanted: str | None) -> int:
    if wanted is not None:
        if wanted not in heads:
            raise InputError(unknown_name("head of this MACE model", wanted, heads))
        return heads.index(wanted)
    if len(heads) == 1:
        return 0
    plain = [index for index, head in enumerate(heads) if head.lower() == "default"]
    if not plain:
        raise InputError(f"This MACE model has several heads: set the option head to one of {', '.join(heads)}.")
    return plain[0]
