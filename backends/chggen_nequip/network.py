"""The score network: an O(3)-equivariant message-passing network over all neighbours within a cutoff."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from chggen_kit.training.checks import check_number
from chggen_nequip.compat import Gate, full_precision, o3
from chggen_nequip.convolution import NeighbourSum, SelfProduct
from chggen_nequip.graph import Bucket, Graph
from chggen_nequip.radial import NoiseEmbedding, bessel_basis, smooth_envelope

MAX_ATOMIC_NUMBER = 103
_MAX_CHANNELS = 4096
_MAX_COUNT = 1024
_MAX_L = 6
"""Far above what can be trained: a damaged header must not ask for all the memory there is."""


@dataclass(frozen=True)
class Architecture:
    """Hyper-parameters of the network.

    Attributes:
        hidden: multiplicities of the hidden features for l = 0, 1, ...; parity is (-1)^l.
        layers: number of gated interactions before the output layer.
        cutoff: in Å.
        n_bessel: Bessel functions of an edge's length.
        n_radial: radial functions a layer.
        radial_hidden: width of the radial network.
        n_attributes: node attributes from the species, and as many from the noise level.
        product_channels: channels of the products of a message with itself; 0 leaves them out.
        mean_neighbours: typical number of neighbours, a normalisation.

    Raises:
        TypeError: for a value of another type.
        ValueError: for a value out of range.
    """

    hidden: tuple[int, ...] = (64, 32, 16)
    layers: int = 4
    cutoff: float = 5.0
    n_bessel: int = 10
    n_radial: int = 8
    radial_hidden: int = 64
    n_attributes: int = 8
    product_channels: int = 0
    mean_neighbours: float = 20.0

    def __post_init__(self) -> None:
        if not isinstance(self.hidden, tuple) or not 2 <= len(self.hidden) <= _MAX_L + 1:
            # Without vectors (l = 1) there is nothing to make the output from.
            raise ValueError(f"hidden must be 2 to {_MAX_L + 1} numbers (l = 0, 1, ...), not {self.hidden!r}")
        for channels in self.hidden:
            check_number("hidden", channels, whole=True, low=1, high=_MAX_CHANNELS)
        for name in ("layers", "n_bessel", "n_radial", "radial_hidden", "n_attributes"):
            check_number(name, getattr(self, name), whole=True, low=1, high=_MAX_COUNT)
        check_number("product_channels", self.product_channels, whole=True, low=0, high=_MAX_CHANNELS)
        for name in ("cutoff", "mean_neighbours"):
            check_number(name, getattr(self, name), above=0)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "hidden": list(self.hidden)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Architecture:
        """Inverse of `to_dict`.

        Raises:
            TypeError: for a value of another type.
            ValueError: for names that are missing or unknown (no default stands in for a value that was used in
                training), and for values out of range.
        """
        names = {field.name for field in fields(cls)}
        # Networks had no products before they could have them.
        values = {"product_channels": 0, **values}
        if values.keys() != names:
            raise ValueError(
                f"the architecture lacks {sorted(names - values.keys())}, does not know {sorted(values.keys() - names)}"
            )
        if not isinstance(values["hidden"], list):
            raise TypeError(f"hidden must be a list, not {values['hidden']!r}")
        return cls(**{**values, "hidden": tuple(values["hidden"])})


def _irreps(multiplicities: tuple[int, ...]) -> o3.Irreps:
    return o3.Irreps([(mul, (l, (-1) ** l)) for l, mul in enumerate(multiplicities)])  # noqa: E741 (the physics' l)


class Interaction(nn.Module):
    """Neighbour sum plus self-interaction that depends on the atom's attributes, through a gate."""

    def __init__(self, irreps_in: o3.Irreps, hidden: o3.Irreps, architecture: Architecture) -> None:
        super().__init__()
        scalars = o3.Irreps([block for block in hidden if block[1].l == 0])
        gated = o3.Irreps([block for block in hidden if block[1].l > 0])
        gates = o3.Irreps([(gated.num_irreps, "0e")] if gated.num_irreps else [])
        self.gate = Gate(
            scalars,
            [torch.nn.functional.silu] * len(scalars),
            gates,
            [torch.sigmoid] * len(gates),
            gated,
        )
        self.irreps_out = hidden
        irreps = o3.Irreps(self.gate.irreps_in)
        self.sum = NeighbourSum(
            irreps_in,
            irreps,
            l_max=len(architecture.hidden) - 1,
            n_radial=architecture.n_radial,
            mean_neighbours=architecture.mean_neighbours,
        )
        self.itself = o3.FullyConnectedTensorProduct(irreps_in, f"{2 * architecture.n_attributes}x0e", irreps)
        self.product = (
            SelfProduct(irreps, irreps, l_max=len(architecture.hidden) - 1, channels=architecture.product_channels)
            if architecture.product_channels
            else None
        )

    def forward(self, x: Tensor, attributes: Tensor, graph: Graph, edges: Sequence[Tensor]) -> Tensor:
        """New features `[n_atoms, hidden.dim]`."""
        message = self.sum(x, graph, edges)
        if self.product is not None:
            message = message + self.product(message)
        return full_precision(self.gate, message + full_precision(self.itself, x, attributes))


class ScoreNetwork(nn.Module):
    """sigma times the score of every atom's position, in Cartesian axes.

    Args:
        architecture: hyper-parameters; kept as `architecture`.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        a = architecture
        hidden, l_max = _irreps(a.hidden), len(a.hidden) - 1
        self.harmonics = o3.SphericalHarmonics(
            o3.Irreps.spherical_harmonics(l_max), normalize=True, normalization="component"
        )
        self.n_harmonics = (l_max + 1) ** 2
        self.species_features = nn.Embedding(MAX_ATOMIC_NUMBER + 1, a.hidden[0])
        self.species_attributes = nn.Embedding(MAX_ATOMIC_NUMBER + 1, a.n_attributes)
        self.noise = NoiseEmbedding(a.n_attributes)
        # One network gives the radial functions of all layers: they share its hidden features.
        self.radial = nn.Sequential(
            nn.Linear(a.n_bessel + a.n_attributes, a.radial_hidden),
            nn.SiLU(),
            nn.Linear(a.radial_hidden, a.radial_hidden),
            nn.SiLU(),
            nn.Linear(a.radial_hidden, a.n_radial * (a.layers + 1)),
        )
        for linear in self.radial:
            if not isinstance(linear, nn.Linear):
                continue
            nn.init.kaiming_normal_(linear.weight)
            nn.init.zeros_(linear.bias)
        irreps = o3.Irreps([(a.hidden[0], "0e")])
        interactions = []
        for _ in range(a.layers):
            interactions.append(Interaction(irreps, hidden, a))
            irreps = hidden
        self.interactions = nn.ModuleList(interactions)
        self.output_sum = NeighbourSum(
            irreps, o3.Irreps("1o"), l_max=l_max, n_radial=a.n_radial, mean_neighbours=a.mean_neighbours
        )
        self.output_itself = o3.FullyConnectedTensorProduct(irreps, f"{2 * a.n_attributes}x0e", "1o")

    def forward(self, species: Tensor, crystal_index: Tensor, graph: Graph, sigma: Tensor) -> Tensor:
        """Predict.

        Args:
            species: atomic numbers `[n_atoms]`.
            crystal_index: crystal of each atom `[n_atoms]`.
            graph: neighbours within the cutoff.
            sigma: noise level of each crystal in Å `[n_crystals]`.

        Returns:
            sigma times the score, odd vectors `[n_atoms, 3]` (no unit).
        """
        noise = self.noise(sigma)
        attributes = torch.cat([self.species_attributes(species), noise.index_select(0, crystal_index)], dim=1)
        buckets = [self._edges(bucket, noise.index_select(0, crystal_index[bucket.atoms])) for bucket in graph.buckets]
        edges = list(zip(*buckets, strict=True))
        x = self.species_features(species)
        for interaction, layer in zip(self.interactions, edges[:-1], strict=True):
            x = interaction(x, attributes, graph, layer)
        return self.output_sum(x, graph, edges[-1]) + full_precision(self.output_itself, x, attributes)

    def _edges(self, bucket: Bucket, noise: Tensor) -> list[Tensor]:
        """Harmonics times radial functions for each layer `[n_rows, n_harmonics * n_radial, width]`."""
        a = self.architecture
        n_rows, width = bucket.source.shape
        vector = bucket.vector.reshape(-1, 3)
        length = vector.norm(dim=1)
        basis = bessel_basis(length, a.cutoff, a.n_bessel)
        spread = noise[:, None, :].expand(-1, width, -1).reshape(n_rows * width, -1)
        envelope = smooth_envelope(length, a.cutoff) * bucket.filled.reshape(-1)
        radial = self.radial(torch.cat([basis, spread], dim=1)) * envelope[:, None]
        harmonics = self.harmonics(vector)
        radial = radial.view(n_rows, width, a.layers + 1, a.n_radial).permute(2, 0, 3, 1)
        harmonics = harmonics.view(n_rows, width, -1).transpose(1, 2).contiguous()
        return [
            (harmonics[:, :, None, :] * layer[:, None, :, :]).reshape(n_rows, -1, width) for layer in radial.unbind(0)
        ]
