"""Evaluates MatterGen's network on the fields of a batch, crystal by crystal where one of them cannot be evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from chggen_kit.torus import neighbours, reduced_cell
from chggen_mattergen.guidance import FORBIDDEN, Guidance
from chggen_mattergen.package import load_package

Outputs = dict[str, Tensor]
"""`pos` `[n_atoms, 3]`, `cell` `[n_crystals, 3, 3]`, `atomic_numbers` (logits) `[n_atoms, n_classes]`."""

_MAX_VOLUME_PER_ATOM = 1e5
"""Å^3; the emptiest crystals known have a hundredth of it."""
_MIN_VOLUME_PER_ATOM = 1e-3
_NEAREST = torch.cartesian_prod(*[torch.arange(-1.0, 2.0)] * 3)[:13]
"""Half of the 26 translations around a cell: a flat cell that its pairs of vectors do not betray has a short one."""
_NO_GRAPH = ("max(): Expected reduction dim", "cannot reshape tensor of 0 elements", "linalg.inv:")
"""How errors begin that the package raises where a crystal has too few neighbours for a graph."""


class Network:
    """MatterGen's denoiser with guidance, the mask of elements, and a guard against crystals that it cannot take.

    Args:
        module: MatterGen's `DiffusionModule`.
        guidance: properties to be heeded.
        allowed: atomic numbers that may be drawn, beyond what the package itself excludes; None for all.
    """

    def __init__(self, module: Any, guidance: Guidance, allowed: Sequence[int] | None) -> None:  # noqa: ANN401
        self._module = module
        self._guidance = guidance
        denoiser: Any = load_package()["mattergen.denoiser"]
        # Not part of the configuration of a released model; without it masked atoms can end as element 101.
        module.model.element_mask_func = denoiser.mask_disallowed_elements
        self._cutoff = float(module.model.gemnet.cutoff)
        self._forbidden: Tensor | None = None
        if allowed is not None:
            self._forbidden = torch.ones(int(module.model.fc_atom.out_features), dtype=torch.bool)
            self._forbidden[torch.tensor(sorted(allowed)) - 1] = False

    def graphs(self, num_atoms: Tensor) -> list[Any]:
        """MatterGen's batches for crystals of these sizes, one for each network call; fields are placeholders."""
        modules: Any = load_package()
        chem_graph = modules["mattergen.common.data.chemgraph"].ChemGraph
        device = num_atoms.device
        empty = [
            chem_graph(
                atomic_numbers=torch.ones(n, dtype=torch.int64),
                pos=torch.zeros(n, 3),
                cell=torch.zeros(1, 3, 3),
                num_atoms=torch.tensor([n]),
            )
            for n in num_atoms.tolist()
        ]
        batch = modules["mattergen.common.data.collate"].collate(empty).to(device)
        kinds = [True, False] if self._guidance.calls == 2 else [True]
        return [
            batch.replace(**self._guidance.attributes(len(empty), conditional=kind, device=device)) for kind in kinds
        ]

    def __call__(
        self, frac: Tensor, cell: Tensor, species: Tensor, num_atoms: Tensor, t: Tensor, graphs: list[Any] | None = None
    ) -> Outputs:
        """Outputs for a batch; rows of a crystal that cannot be evaluated are not-a-number.

        Args:
            frac: fractional coordinates `[n_atoms, 3]`.
            cell: symmetric cells in Å `[n_crystals, 3, 3]`.
            species: atomic numbers `[n_atoms]`, 101 for masked.
            num_atoms: `[n_crystals]`.
            t: times `[n_crystals]`.
            graphs: what `graphs(num_atoms)` gave, to make it only once.
        """
        usable = self._usable(frac, cell, num_atoms)
        if bool(usable.all()):
            try:
                return self._evaluate(frac, cell, species, t, graphs or self.graphs(num_atoms))
            except (IndexError, RuntimeError) as error:
                if not _is_about_the_graph(error):
                    raise
        return self._one_by_one(frac, cell, species, num_atoms, t, usable)

    def _evaluate(self, frac: Tensor, cell: Tensor, species: Tensor, t: Tensor, graphs: list[Any]) -> Outputs:
        found: list[Outputs] = []
        with torch.no_grad():
            for graph in graphs:
                out = self._module.model(graph.replace(pos=frac, cell=cell, atomic_numbers=species), t)
                found.append({name: out[name] for name in ("pos", "cell", "atomic_numbers")})
        result = found[0]
        if len(found) > 1:
            conditional, unconditional = found
            factor = self._guidance.factor
            result = {name: torch.lerp(unconditional[name], conditional[name], factor) for name in conditional}
        if self._forbidden is not None:
            logits = result["atomic_numbers"]
            result["atomic_numbers"] = torch.where(self._forbidden.to(logits.device), FORBIDDEN, logits)
        return result

    def _one_by_one(
        self, frac: Tensor, cell: Tensor, species: Tensor, num_atoms: Tensor, t: Tensor, usable: Tensor
    ) -> Outputs:
        bounds = torch.nn.functional.pad(num_atoms.cumsum(0), (1, 0)).tolist()
        parts: list[Outputs] = []
        classes = int(self._module.model.fc_atom.out_features)
        for crystal, (low, high) in enumerate(pairwise(bounds)):
            one, rows = slice(crystal, crystal + 1), slice(low, high)
            part: Outputs | None = None
            if bool(usable[crystal]):
                try:
                    part = self._evaluate(frac[rows], cell[one], species[rows], t[one], self.graphs(num_atoms[one]))
                except (IndexError, RuntimeError) as error:
                    if not _is_about_the_graph(error):
                        raise
            if part is None:
                part = {
                    "pos": torch.full_like(frac[rows], torch.nan),
                    "cell": torch.full_like(cell[one], torch.nan),
                    "atomic_numbers": frac.new_full((high - low, classes), torch.nan),
                }
            parts.append(part)
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def _usable(self, frac: Tensor, cell: Tensor, num_atoms: Tensor) -> Tensor:
        """Whether each crystal has a cell with a volume, and an atom within the cutoff of another or its image."""
        volume = torch.linalg.det(cell.double()).abs() / num_atoms
        sane = torch.isfinite(cell).all(dim=(1, 2)) & (volume > _MIN_VOLUME_PER_ATOM) & (volume < _MAX_VOLUME_PER_ATOM)
        # The same lattice by short vectors: where it has a long thin cell, images without number would be looked at.
        basis = reduced_cell(torch.where(sane[:, None, None], cell.double(), torch.eye(3).to(cell.device).double()))
        # An image of itself is near enough to every atom of a lattice with a short vector, which nearly all have.
        roomy = sane & ((_NEAREST.to(basis) @ basis).norm(dim=2).amin(dim=1) >= self._cutoff)
        if bool(roomy.any()):
            bounds = torch.nn.functional.pad(num_atoms.cumsum(0), (1, 0)).tolist()
            for crystal in roomy.nonzero()[:, 0].tolist():
                rows, one = slice(bounds[crystal], bounds[crystal + 1]), slice(crystal, crystal + 1)
                inside = frac[rows].double() @ cell[crystal].double() @ torch.linalg.inv(basis[crystal])
                pairs = neighbours(inside, basis[one], num_atoms[one], self._cutoff)
                sane[crystal] = pairs.source.numel() > 0
        return sane


def _is_about_the_graph(error: Exception) -> bool:
    """Whether the package stumbled over a crystal without a graph, rather than over something worth reporting."""
    return isinstance(error, IndexError) or str(error).startswith(_NO_GRAPH)
