"""Equivariant convolution over neighbours.

A NequIP interaction (Batzner et al. 2022, eq. 4-6) sums, over the neighbours j of an atom, tensor products 'uvu'
of features x_j with spherical harmonics Y(r_ij), each path p and channel u weighted by the last, linear layer
W of a radial network with hidden features h(r_ij), and mixes the paths' channels by a linear layer L:

    y = L sum_j sum_k W[k, p, u] h_k(r_ij) CG_p (x_j[u], Y(r_ij)).

Everything after h, x and Y is linear, so the neighbour sum may be taken first,

    A[k, u] = sum_j h_k(r_ij) Y(r_ij) (x) x_j[u],

as one matrix product an atom, and W and L become a single linear map of the Clebsch-Gordan coupled A. That is the
same function (a test compares it with e3nn's TensorProduct edge by edge), with a full matrix in place of the
product L W; it costs no work a channel and edge except the sum itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from chggen_nequip.compat import full_precision, o3
from chggen_nequip.graph import Graph


class NeighbourSum(nn.Module):
    """Sum over neighbours, Clebsch-Gordan coupling, and linear map.

    Args:
        irreps_in: features of the neighbours, at most one block for each l, all of natural parity (-1)^l.
        irreps_out: result, of natural parity.
        l_max: largest order of the spherical harmonics.
        n_radial: number of radial functions.
        mean_neighbours: typical number of neighbours; sums are divided by its square root.
    """

    def __init__(
        self, irreps_in: o3.Irreps, irreps_out: o3.Irreps, *, l_max: int, n_radial: int, mean_neighbours: float
    ) -> None:
        super().__init__()
        self.n_radial, self.l_max, self.scale = n_radial, l_max, mean_neighbours**-0.5
        wanted = sorted({ir.l for _, ir in irreps_out})
        self.harmonic_sizes = [2 * l2 + 1 for l2 in range(l_max + 1)]
        self.blocks = [(multiplicity, ir.l) for multiplicity, ir in irreps_in]
        self.block_sizes = [multiplicity * (2 * l1 + 1) for multiplicity, l1 in self.blocks]
        # Natural parity only, l1 + l2 + l3 even, which leaves out pseudo-vectors.
        self.outputs = {
            (l1, l2): tuple(l3 for l3 in wanted if abs(l1 - l2) <= l3 <= l1 + l2 and (l1 + l2 + l3) % 2 == 0)
            for _, l1 in self.blocks
            for l2 in range(l_max + 1)
        }
        for (l1, l2), outputs in self.outputs.items():
            for l3 in outputs:
                if l1 > 0 and l2 > 0:
                    self.register_buffer(f"coupling_{l1}_{l2}_{l3}", _coupling(l1, l2, l3), persistent=False)
        self.linear_in = o3.Linear(irreps_in, irreps_in)
        self.irreps_out = [(multiplicity, ir.l) for multiplicity, ir in irreps_out]
        self.weights = nn.ParameterDict()
        self.fan_in = dict.fromkeys(wanted, 0)
        for (l1, l2), outputs in self.outputs.items():
            for l3 in outputs:
                rows = n_radial * sum(mul for mul, order in self.blocks if order == l1)
                columns = sum(mul for mul, order in self.irreps_out if order == l3)
                self.weights[f"{l1}_{l2}_{l3}"] = nn.Parameter(torch.randn(rows, columns))
                self.fan_in[l3] += rows

    def forward(self, x: Tensor, graph: Graph, edges: Sequence[Tensor]) -> Tensor:
        """Sum over neighbours.

        Args:
            x: features `[n_atoms, irreps_in.dim]`.
            graph: neighbours.
            edges: for each bucket of the graph, spherical harmonics times radial functions
                `[n_rows, (l_max + 1)^2 * n_radial, width]`, the radial index running fastest; zero in empty slots.

        Returns:
            `[n_atoms, irreps_out.dim]`.
        """
        features = self._component_first(full_precision(self.linear_in, x) * self.scale)
        sums = []
        for bucket, edge in zip(graph.buckets, edges, strict=True):
            gathered = features.index_select(0, bucket.source.reshape(-1))
            sums.append(torch.bmm(edge, gathered.view(*bucket.source.shape, -1)))
        return self._mix(torch.cat(sums)).index_select(0, graph.order)

    def _component_first(self, x: Tensor) -> Tensor:
        """From e3nn's order (channel, component) to (component, channel), which matrix products like better."""
        blocks = torch.split(x, self.block_sizes, dim=1)
        moved = [
            block.view(-1, multiplicity, 2 * l1 + 1).transpose(1, 2).reshape(x.shape[0], -1)
            for block, (multiplicity, l1) in zip(blocks, self.blocks, strict=True)
        ]
        return torch.cat(moved, dim=1)

    def _mix(self, summed: Tensor) -> Tensor:
        """Couple and mix A `[n_atoms, (l_max + 1)^2 * n_radial, features]`."""
        n_atoms = summed.shape[0]
        summed = summed.view(n_atoms, (self.l_max + 1) ** 2, self.n_radial, -1)
        totals: dict[int, Tensor] = {}
        # torch.split, not slices: the gradient of a split is one concatenation, that of a slice a tensor of zeros.
        for l2, rows in enumerate(torch.split(summed, self.harmonic_sizes, dim=1)):
            for (multiplicity, l1), block in zip(self.blocks, torch.split(rows, self.block_sizes, dim=3), strict=True):
                outputs = self.outputs[l1, l2]
                if not outputs:
                    continue
                d1, d2 = 2 * l1 + 1, 2 * l2 + 1
                pairs = block.reshape(n_atoms, d2, self.n_radial, d1, multiplicity).transpose(2, 3)
                pairs = pairs.reshape(n_atoms, d2 * d1, self.n_radial * multiplicity)
                for l3 in outputs:
                    coupled = getattr(self, f"coupling_{l1}_{l2}_{l3}") @ pairs if l1 > 0 and l2 > 0 else pairs
                    part = coupled @ self.weights[f"{l1}_{l2}_{l3}"]
                    totals[l3] = totals[l3] + part if l3 in totals else part
        return torch.cat(
            [(totals[l3] * self.fan_in[l3] ** -0.5).transpose(1, 2).reshape(n_atoms, -1) for _, l3 in self.irreps_out],
            dim=1,
        )


class SelfProduct(nn.Module):
    """Products of an atom's features with themselves: one more order of the body expansion for little work.

    `channels` channels of every l are taken from the features by a linear map, coupled with themselves, channel by
    channel, and mapped to the result: the product basis of order two of MACE (Batatia et al. 2022, eq. 10), of
    natural parity only.

    Args:
        irreps_in: features.
        irreps_out: result, of natural parity.
        l_max: largest l of the factors.
        channels: number of channels.
    """

    coupling: Tensor

    def __init__(self, irreps_in: o3.Irreps, irreps_out: o3.Irreps, *, l_max: int, channels: int) -> None:
        super().__init__()
        self.channels, self.size = channels, (l_max + 1) ** 2
        self.sizes = [2 * order + 1 for order in range(l_max + 1)]
        self.linear_in = o3.Linear(
            irreps_in, o3.Irreps([(channels, (order, (-1) ** order)) for order in range(l_max + 1)])
        )
        wanted = sorted({ir.l for _, ir in irreps_out})
        offset = [order**2 for order in range(l_max + 1)]
        columns = []
        self.paths = dict.fromkeys(wanted, 0)
        for l3 in wanted:
            for l1 in range(l_max + 1):
                for l2 in range(l1, l_max + 1):
                    if not abs(l1 - l2) <= l3 <= l1 + l2 or (l1 + l2 + l3) % 2:
                        continue
                    block = torch.zeros(self.size, self.size, 2 * l3 + 1)
                    tensor = o3.wigner_3j(l1, l2, l3, dtype=torch.get_default_dtype()) * (2 * l3 + 1) ** 0.5
                    block[offset[l1] : offset[l1] + 2 * l1 + 1, offset[l2] : offset[l2] + 2 * l2 + 1] = tensor
                    columns.append(block)
                    self.paths[l3] += 1
        self.register_buffer("coupling", torch.cat(columns, dim=2).reshape(self.size**2, -1), persistent=False)
        self.weights = nn.ParameterDict(
            {
                # From zero: the network starts as the one without products, which a checkpoint may give.
                str(ir.l): nn.Parameter(torch.zeros(self.paths[ir.l] * channels, multiplicity))
                for multiplicity, ir in irreps_out.sort()[0].simplify()
            }
        )
        self.order = [(multiplicity, ir.l) for multiplicity, ir in irreps_out]

    def forward(self, x: Tensor) -> Tensor:
        """Products `[n_atoms, irreps_out.dim]` of features `[n_atoms, irreps_in.dim]`."""
        n, c = x.shape[0], self.channels
        blocks = torch.split(full_precision(self.linear_in, x), [c * size for size in self.sizes], dim=1)
        factors = torch.cat([block.view(n, c, -1) for block in blocks], dim=2)
        # Squares of squares grow without bound from layer to layer; the length of an atom's factors is kept below 1 a
        # channel, which leaves small ones as they are.
        factors = factors * torch.rsqrt(1 + factors.square().mean(dim=(1, 2), keepdim=True))
        pairs = (factors[:, :, :, None] * factors[:, :, None, :]).view(n * c, -1)
        coupled = (pairs @ self.coupling).view(n, c, -1)
        widths = [paths * (2 * order + 1) for order, paths in self.paths.items()]
        result = {}
        for (order, paths), part in zip(self.paths.items(), torch.split(coupled, widths, dim=2), strict=True):
            rows = part.reshape(n, c * paths, 2 * order + 1).transpose(1, 2)
            mixed = (rows @ self.weights[str(order)]) * (c * paths) ** -0.5
            result[order] = mixed
        taken = dict.fromkeys(result, 0)
        parts = []
        for multiplicity, order in self.order:
            low = taken[order]
            parts.append(result[order][:, :, low : low + multiplicity].transpose(1, 2).reshape(n, -1))
            taken[order] += multiplicity
        return torch.cat(parts, dim=1)


def _coupling(l1: int, l2: int, l3: int) -> Tensor:
    """Matrix `[2 l3 + 1, (2 l2 + 1)(2 l1 + 1)]` that couples Y_l2 with x_l1.

    Scaled so that the coupling of independent inputs of unit variance has unit variance in every component.
    """
    tensor: Tensor = o3.wigner_3j(l2, l1, l3) * (2 * l3 + 1) ** 0.5
    return tensor.reshape(-1, 2 * l3 + 1).T.contiguous().to(torch.get_default_dtype())
