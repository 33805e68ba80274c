"""CSPNet, the denoiser of DiffCSP (Jiao et al., arXiv:2309.04475, section 4.2 and appendix B.1).

Message passing over all pairs of atoms of a crystal; displacements enter as Fourier features, the cell as its Gram
matrix. Names and shapes of the parameters are those of the published code, so that its checkpoints load.

The first layer of the edge network acts on [h_i | h_j | G | e_ij]. It is evaluated block by block: the blocks of h_i,
h_j and G once an atom, the block of e_ij once an unordered pair, its odd (sine) and even (cosine) parts apart, since
e_ji differs from e_ij in the sign of the sines alone. The numbers are those of the full product up to rounding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from chggen_diffcsp.pairs import PairGraph
from chggen_kit.torus import wrap

_GRAM = 9
"""Entries of the cell's Gram matrix."""
MAX_WIDTH = 8192
MAX_COUNT = 1024
"""Far above what anybody trains: a damaged file must not ask for all the memory there is."""


@dataclass(frozen=True)
class CSPNetConfig:
    """Hyper-parameters of the network, named as in the published configuration.

    Attributes:
        hidden_dim: features of an atom.
        latent_dim: size of the time embedding that `forward` is given.
        num_layers: rounds of message passing.
        max_atoms: elements, by atomic number from 1.
        num_freqs: frequencies of the Fourier features, from 0 on.
        dis_emb: `sin` for Fourier features of a displacement, `none` for the displacement itself in [0, 1).
        ln: whether features are normalised before each layer and at the end.
        ip: whether the lattice output is a matrix times the cell.
        smooth: species come as `[n_atoms, max_atoms]` numbers instead of atomic numbers.
        pred_type: whether there is an output for species.

    Raises:
        ValueError: for a value that no network can have.
    """

    hidden_dim: int = 512
    latent_dim: int = 256
    num_layers: int = 6
    max_atoms: int = 100
    num_freqs: int = 128
    dis_emb: str = "sin"
    ln: bool = True
    ip: bool = True
    smooth: bool = False
    pred_type: bool = False

    def __post_init__(self) -> None:
        limits = {
            "hidden_dim": MAX_WIDTH,
            "latent_dim": MAX_WIDTH,
            "num_layers": MAX_COUNT,
            "max_atoms": MAX_COUNT,
            "num_freqs": MAX_COUNT,
        }
        for name, high in limits.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= high:
                raise ValueError(f"{name} must be a whole number from 1 to {high}, not {value!r}")
        for name in ("ln", "ip", "smooth", "pred_type"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be true or false, not {getattr(self, name)!r}")  # noqa: TRY004  as above
        if self.dis_emb not in ("sin", "none"):
            raise ValueError(f"dis_emb must be 'sin' or 'none', not {self.dis_emb!r}")

    @property
    def edge_features(self) -> int:
        """Numbers that describe a displacement."""
        return 6 * self.num_freqs if self.dis_emb == "sin" else 3


@dataclass(frozen=True)
class CSPNetOutput:
    """What the network returns.

    Attributes:
        lattice: `[n_crystals, 3, 3]`, the noise of the cell in its own (unit) scale.
        coords: `[n_atoms, 3]`, minus the score in units of its root mean square.
        types: `[n_atoms, max_atoms]`, the noise of the one-hot species; None without that output.
    """

    lattice: Tensor
    coords: Tensor
    types: Tensor | None


def time_embedding(t: Tensor, dim: int) -> Tensor:
    """Sines and cosines of the integer times `t` `[n]`, `[n, dim]`, float32.

    The frequencies are exp(-k ln(10000) / (dim / 2 - 1)) for k = 0 ... dim / 2 - 1 (Vaswani et al., arXiv:1706.03762).
    """
    half = dim // 2
    rate = math.log(10000) / (half - 1)
    frequencies = torch.exp(torch.arange(half, device=t.device) * -rate)
    angles = t[:, None] * frequencies[None, :]
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def _silu(x: Tensor) -> Tensor:
    """SiLU; in place where nothing is differentiated, for `x` that nobody else holds."""
    return functional.silu(x, inplace=not torch.is_grad_enabled())


def _over_pairs(
    centre: Tensor, neighbour: Tensor, even: Tensor, odd: Tensor, itself: Tensor, graph: PairGraph
) -> Tensor:
    """Sum of an atom's part, its neighbour's part and the even and odd parts of their displacement `[n_pairs, h]`."""
    n, last = graph.n_unordered, graph.n_unordered + graph.n_atoms
    total = centre[graph.centre]
    if torch.is_grad_enabled():
        diagonal = itself.expand(graph.n_atoms, -1)
        return total + neighbour[graph.neighbour] + torch.cat([even + odd, diagonal, even - odd])
    # The same in place: each pass over all pairs counts.
    total += neighbour[graph.neighbour]
    total[:n].add_(even).add_(odd)
    total[n:last] += itself
    total[last:].add_(even).sub_(odd)
    return total


def _perceptron(inputs: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU())


def _embedding(elements: int, hidden: int) -> nn.Embedding:
    """As PyTorch makes it; but without memory (device `meta`) drawing normal numbers takes two seconds of imports."""
    weight = torch.empty(elements, hidden)
    return nn.Embedding(elements, hidden, _weight=weight if weight.is_meta else nn.init.normal_(weight))


class CSPLayer(nn.Module):
    """One round of message passing.

    Messages m_ij = SiLU(W2 SiLU(W1 [h_i | h_j | G | e_ij])), their mean over j, and the residual update
    h_i + SiLU(U2 SiLU(U1 [h_i | mean])) (arXiv:2309.04475, eqs. 6-8).
    """

    def __init__(self, config: CSPNetConfig) -> None:
        super().__init__()
        hidden = config.hidden_dim
        self.edge_mlp = nn.Sequential(
            nn.Linear(2 * hidden + _GRAM + config.edge_features, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
        )
        self.node_mlp = nn.Sequential(nn.Linear(2 * hidden, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU())
        self.layer_norm = nn.LayerNorm(hidden) if config.ln else None
        self._hidden = hidden
        self._fourier = config.dis_emb == "sin"

    def forward(self, h: Tensor, gram: Tensor, edges: Tensor, graph: PairGraph) -> Tensor:
        """New features.

        Args:
            h: `[n_atoms, hidden_dim]`.
            gram: `[n_crystals, 9]`.
            edges: Fourier features of the pairs with i < j `[n_unordered, 6 num_freqs]`, or the displacements of all
                pairs `[n_pairs, 3]` where there are none.
            graph: the pairs.
        """
        z = h if self.layer_norm is None else self.layer_norm(h)
        messages = self._messages(z, gram, edges, graph)
        mean = messages.new_zeros(h.shape).index_add(0, graph.centre, messages)
        mean = mean / graph.num_atoms[graph.crystal_index][:, None]
        update: Tensor = self.node_mlp(torch.cat([z, mean], dim=1))
        return h + update

    def _messages(self, z: Tensor, gram: Tensor, edges: Tensor, graph: PairGraph) -> Tensor:
        first, second = cast("nn.Linear", self.edge_mlp[0]), cast("nn.Linear", self.edge_mlp[2])
        hidden = self._hidden
        of_centre, of_neighbour, of_cell, of_edge = torch.split(
            first.weight, [hidden, hidden, _GRAM, first.weight.shape[1] - 2 * hidden - _GRAM], dim=1
        )
        cell = functional.linear(gram, of_cell, first.bias)
        centre = functional.linear(z, of_centre) + cell[graph.crystal_index]
        neighbour = functional.linear(z, of_neighbour)
        if not self._fourier:
            total = centre[graph.centre] + neighbour[graph.neighbour] + functional.linear(edges, of_edge)
        else:
            half = edges.shape[1] // 2
            odd = functional.linear(edges[:, :half], of_edge[:, :half])
            even = functional.linear(edges[:, half:], of_edge[:, half:])
            # Of an atom with itself all sines are 0 and all cosines 1.
            itself = of_edge[:, half:].sum(dim=1)
            total = _over_pairs(centre, neighbour, even, odd, itself, graph)
        return _silu(functional.linear(_silu(total), second.weight, second.bias))


class CSPNet(nn.Module):
    """The denoiser.

    Args:
        config: hyper-parameters.
    """

    def __init__(self, config: CSPNetConfig) -> None:
        super().__init__()
        self.config = config
        hidden, elements = config.hidden_dim, config.max_atoms
        self.node_embedding = nn.Linear(elements, hidden) if config.smooth else _embedding(elements, hidden)
        self.atom_latent_emb = nn.Linear(hidden + config.latent_dim, hidden)
        for number in range(config.num_layers):
            self.add_module(f"csp_layer_{number}", CSPLayer(config))
        self.coord_out = nn.Linear(hidden, 3, bias=False)
        self.lattice_out = nn.Linear(hidden, 9, bias=False)
        self.final_layer_norm = nn.LayerNorm(hidden) if config.ln else None
        self.type_out = nn.Linear(hidden, elements) if config.pred_type else None

    def forward(
        self, embedded_time: Tensor, species: Tensor, frac_coords: Tensor, lattice: Tensor, graph: PairGraph
    ) -> CSPNetOutput:
        """Denoise.

        Args:
            embedded_time: `time_embedding` of each crystal's time `[n_crystals, latent_dim]`.
            species: atomic numbers from 1 `[n_atoms]`; with `smooth` numbers `[n_atoms, max_atoms]`, column Z - 1.
            frac_coords: `[n_atoms, 3]`, folded or not.
            lattice: rows a, b, c in Å `[n_crystals, 3, 3]`.
            graph: the pairs of the batch, `PairGraph.build(num_atoms)`.
        """
        index = graph.crystal_index
        h = self.node_embedding(species if self.config.smooth else species - 1)
        h = self.atom_latent_emb(torch.cat([h, embedded_time[index]], dim=1))
        gram = (lattice @ lattice.transpose(-1, -2)).flatten(1)
        edges = self._edge_features(frac_coords, graph)
        for number in range(self.config.num_layers):
            h = self.get_submodule(f"csp_layer_{number}")(h, gram, edges, graph)
        if self.final_layer_norm is not None:
            h = self.final_layer_norm(h)
        pooled = h.new_zeros(lattice.shape[0], h.shape[1]).index_add(0, index, h) / graph.num_atoms[:, None]
        of_lattice = self.lattice_out(pooled).reshape(-1, 3, 3)
        if self.config.ip:
            of_lattice = of_lattice @ lattice
        return CSPNetOutput(of_lattice, self.coord_out(h), None if self.type_out is None else self.type_out(h))

    def _edge_features(self, frac_coords: Tensor, graph: PairGraph) -> Tensor:
        if self.config.dis_emb == "none":
            return wrap(frac_coords[graph.neighbour] - frac_coords[graph.centre])
        half = slice(0, graph.n_unordered)
        offset = frac_coords[graph.neighbour[half]] - frac_coords[graph.centre[half]]
        # The features have period 1; the nearest image keeps the angles small and their sines accurate.
        offset = offset - torch.round(offset)
        waves = 2 * math.pi * torch.arange(self.config.num_freqs, device=offset.device, dtype=offset.dtype)
        angles = (offset[:, :, None] * waves).flatten(1)
        return torch.cat([angles.sin(), angles.cos()], dim=1)
