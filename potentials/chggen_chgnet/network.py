"""CHGNet's energy as a function of bond vectors, arranged for speed on the CPU.

The weights and the function are those of the `chgnet` package. The arrangement differs: the first linear layer of a
message acts on the concatenation of features of atoms, bonds and angles; as it is linear, it is applied to the atoms,
bonds and angles themselves and the results are gathered and added, which saves most of the multiplications. Features
that nothing reads (angles after the last bond update, weights of bonds without angles) are not computed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from chggen_chgnet.graph import BondGraph


@dataclass(frozen=True)
class _Gate:
    """Second half of a gated perceptron, core and gate: linear layer and normalisation of each."""

    hidden: tuple[nn.Linear, nn.Linear] | None
    norms: tuple[nn.LayerNorm, nn.LayerNorm]

    def __call__(self, pre: Tensor) -> Tensor:
        if self.hidden is None:
            core, gate = pre.chunk(2, dim=1)
        else:
            core, gate = functional.silu(pre).chunk(2, dim=1)
            core, gate = self.hidden[0](core), self.hidden[1](gate)
        return functional.silu(self.norms[0](core)) * torch.sigmoid(self.norms[1](gate))


@dataclass(frozen=True)
class _Message:
    """A gated perceptron whose first layer is split by input: `weights` are `[n_inputs][width, 2 * width]`."""

    weights: tuple[Tensor, ...]
    bias: Tensor
    gate: _Gate


def _split(perceptron: Any, width: int) -> _Message:  # noqa: ANN401 - chgnet has no type information
    core, gate = (
        [m for m in branch.layers if isinstance(m, nn.Linear)] for branch in (perceptron.mlp_core, perceptron.mlp_gate)
    )
    stacked = torch.cat([core[0].weight, gate[0].weight]).t()
    return _Message(
        weights=tuple(part.contiguous() for part in stacked.chunk(core[0].in_features // width)),
        bias=torch.cat([core[0].bias, gate[0].bias]),
        gate=_Gate((core[1], gate[1]) if len(core) > 1 else None, (perceptron.bn1, perceptron.bn2)),
    )


class EnergyNetwork:
    """Site energies of a batch from its bond vectors.

    Args:
        model: a `chgnet.model.CHGNet` in evaluation mode with frozen parameters.
    """

    def __init__(self, model: Any) -> None:  # noqa: ANN401 - chgnet has no type information
        self.model = model
        width = model.atom_fea_dim
        self.bond_cutoff = float(model.graph_converter.atom_graph_cutoff)
        self.angle_cutoff = float(model.graph_converter.bond_graph_cutoff)
        self.atom_messages = [_split(layer.twoBody_atom, width) for layer in model.atom_conv_layers]
        self.bond_messages = [_split(layer.twoBody_bond, width) for layer in model.bond_conv_layers]
        self.angle_messages = [_split(layer.twoBody_bond, width) for layer in model.angle_layers]
        self.reference = model.composition_model.fc.weight.detach()[0].double()

    def __call__(self, species: Tensor, graph: BondGraph, vector: Tensor) -> Tensor:
        """Energies of the atoms in eV `[n_atoms]`, float64, differentiable with respect to `vector` `[n_bonds, 3]`."""
        model, n_short = self.model, graph.n_short
        length = vector.norm(dim=1)
        basis = _radial(length, model.bond_basis_expansion.rbf_expansion_ag)
        bond = model.bond_embedding(basis)
        atom_weight = model.bond_weights_ag(basis)
        short = length[:n_short]
        bond_weight = model.bond_weights_bg(_radial(short, model.bond_basis_expansion.rbf_expansion_bg))
        angle = self._angle_features(vector[:n_short] / short[:, None], graph)
        atom = model.atom_embedding(species - 1)
        for index, layer in enumerate(model.atom_conv_layers):
            atom = atom + layer.mlp_out(self._atom_update(self.atom_messages[index], atom, bond, atom_weight, graph))
            if index == len(self.bond_messages):
                continue
            update = self._bond_update(self.bond_messages[index], atom, bond, angle, bond_weight, graph)
            changed = bond[:n_short] + model.bond_conv_layers[index].mlp_out(update)
            bond = torch.cat([changed, bond[n_short:]])
            if index + 1 < len(self.bond_messages):
                angle = angle + self._angle_message(self.angle_messages[index], atom, bond, angle, graph)
        site = model.mlp(model.readout_norm(atom))[:, 0].double()
        return site + self.reference[species - 1]

    def _angle_features(self, direction: Tensor, graph: BondGraph) -> Tensor:
        half = graph.angle_sign.shape[0]
        one, two = direction[graph.angle_first[:half]], direction[graph.angle_second[:half]]
        # chgnet keeps the cosine off +-1, where acos has no derivative, by the same factor
        cosine = (one * two).sum(dim=1) * graph.angle_sign * (1 - 1e-6)
        expansion = self.model.angle_basis_expansion.fourier_expansion
        phase = torch.outer(torch.acos(cosine).float(), expansion.frequencies)
        constant = phase.new_full((half, 1), 1 / math.sqrt(2))
        basis = torch.cat([constant, torch.sin(phase), torch.cos(phase)], dim=1) / math.sqrt(math.pi)
        feature = self.model.angle_embedding(basis)
        return torch.cat([feature, feature])

    @staticmethod
    def _atom_update(message: _Message, atom: Tensor, bond: Tensor, weight: Tensor, graph: BondGraph) -> Tensor:
        centre_part, neighbour_part = atom @ message.weights[0], atom @ message.weights[2]
        bond_part = torch.addmm(message.bias, bond, message.weights[1])
        centre, neighbour = torch.cat([graph.first, graph.second]), torch.cat([graph.second, graph.first])
        pre = centre_part.index_select(0, centre)
        pre += neighbour_part.index_select(0, neighbour)
        pre.view(2, *bond_part.shape).add_(bond_part)  # a bond's part is the same at both of its ends
        sent = (message.gate(pre).view(2, *weight.shape) * weight).flatten(0, 1)
        return torch.zeros_like(atom).index_add(0, centre, sent)

    @staticmethod
    def _angle_input(message: _Message, atom: Tensor, bond: Tensor, angle: Tensor, graph: BondGraph) -> Tensor:
        short = bond[: graph.n_short]
        pre = torch.addmm(message.bias, angle, message.weights[2])
        pre += (short @ message.weights[0]).index_select(0, graph.angle_first)
        pre += (short @ message.weights[1]).index_select(0, graph.angle_second)
        pre += (atom @ message.weights[3]).index_select(0, graph.angle_centre)
        return pre

    def _bond_update(
        self, message: _Message, atom: Tensor, bond: Tensor, angle: Tensor, weight: Tensor, graph: BondGraph
    ) -> Tensor:
        sent = message.gate(self._angle_input(message, atom, bond, angle, graph))
        sent = sent * weight.index_select(0, graph.angle_second)
        total = torch.zeros_like(bond[: graph.n_short]).index_add(0, graph.angle_first, sent)
        return total * weight

    def _angle_message(self, message: _Message, atom: Tensor, bond: Tensor, angle: Tensor, graph: BondGraph) -> Tensor:
        return message.gate(self._angle_input(message, atom, bond, angle, graph))


def _radial(length: Tensor, expansion: Any) -> Tensor:  # noqa: ANN401 - chgnet has no type information
    """Bessel functions times the envelope, float32 `[n, n_radial]`; the envelope cancels, so it stays in float64."""
    envelope = expansion.smooth_cutoff(length) * expansion.norm_const / length
    scaled = (length * expansion.inv_cutoff).float()
    return torch.sin(torch.outer(scaled, expansion.frequencies)) * envelope.float()[:, None]
