"""Symmetric subspaces of a batch of encoded crystals: what the sampling loop needs of `SymmetryOperations`.

A sampler's state x obeys x[pi_g(i)] = W_g x[i] + w_g for every operation g of its crystal, and stays there when noise,
predictions and slides are projected on the displacements that keep the symmetry. The projector must be orthogonal in
the metric in which the noise is isotropic: then P z is the noise of the subspace, and P score is its score.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from chggen_kit.errors import InputError
from chggen_kit.state import CrystalBatch, Fields, Known
from chggen_kit.symmetry.operations import SymmetryOperations
from chggen_kit.torus import wrap

if TYPE_CHECKING:
    from chggen_kit.interfaces.processes import FieldDraws, NoiseProcess

_EXACT_A = 1e-3
"""Å; a template must have its symmetry to this accuracy."""
_MANY_CELLS = 10.0
"""Spread, in cells, of the noise that makes positions uniform; m equivalent atoms spread by 1/sqrt(m) of it."""


class BatchSymmetry:
    """Operations of every crystal of a batch, in the basis and orientation of its encoded fields.

    Args:
        groups: operations of each crystal, in the basis of its template.
        clean: fields of the templates, which have these symmetries.
    """

    def __init__(self, groups: Sequence[SymmetryOperations], clean: Fields) -> None:
        context = clean.context
        basis = context.basis
        changes = np.eye(3)[None].repeat(len(groups), axis=0) if basis is None else basis.double().cpu().numpy()
        self.groups = [group.in_basis(change) for group, change in zip(groups, changes, strict=True)]
        self._lattices = clean["lattice"].double().cpu().numpy()
        self._bounds = np.concatenate([[0], np.cumsum(context.num_atoms.cpu().numpy())]).tolist()

    @cached_property
    def _fractional(self) -> list[Tensor]:
        return [torch.from_numpy(group.displacement_projector()) for group in self.groups]

    @cached_property
    def _cartesian(self) -> list[Tensor]:
        result = []
        for group, lattice in zip(self.groups, self._lattices, strict=True):
            projector = group.displacement_projector(lattice @ lattice.T)
            to_frac = np.kron(np.eye(group.n_atoms), np.linalg.inv(lattice).T)
            to_cart = np.kron(np.eye(group.n_atoms), lattice.T)
            result.append(torch.from_numpy(to_cart @ projector @ to_frac))
        return result

    @cached_property
    def _cells(self) -> list[Tensor]:
        return [
            torch.from_numpy(group.lattice_projector(lattice))
            for group, lattice in zip(self.groups, self._lattices, strict=True)
        ]

    @cached_property
    def representatives(self) -> Tensor:
        """Atom that stands for the orbit of each atom `[n_atoms]`."""
        parts = [
            torch.from_numpy(group.orbits()) + low for group, low in zip(self.groups, self._bounds[:-1], strict=True)
        ]
        return torch.cat(parts)

    def cartesian(self, vectors: Tensor) -> Tensor:
        """Vectors in Å, one an atom, projected orthogonally in Å `[n_atoms, 3]`."""
        return self._apply(self._cartesian, vectors)

    def fractional(self, vectors: Tensor) -> Tensor:
        """Fractional vectors, one an atom, projected orthogonally in fractional units `[n_atoms, 3]`."""
        return self._apply(self._fractional, vectors)

    def cells(self, matrices: Tensor) -> Tensor:
        """Cells projected, entry by entry, on those with the rotations of the templates `[n_crystals, 3, 3]`."""
        rows = [matrix @ row.double().cpu().ravel() for matrix, row in zip(self._cells, matrices, strict=True)]
        return torch.stack(rows).reshape(matrices.shape).to(matrices)

    def orbit_means(self, values: Tensor) -> Tensor:
        """Mean over the orbit of each atom `[n_atoms, ...]`."""
        index = self.representatives.to(values.device)
        total = torch.zeros_like(values).index_add_(0, index, values)
        count = torch.zeros_like(values[:, 0]).index_add_(0, index, torch.ones_like(values[:, 0]))
        return (total / count.clamp(min=1)[:, None])[index]

    def slide(self, displacement: Tensor) -> Tensor:
        """The part along polar directions of displacements that are alike within each crystal `[n_atoms, 3]`."""
        return self._by_crystal(displacement, lambda group, part: group.average_displacements(part))

    def restore(self, frac: Tensor) -> Tensor:
        """Coordinates `[n_atoms, 3]` whose rounding errors are projected out, folded."""
        return wrap(self._by_crystal(frac, lambda group, part: part + group.correction(part)))

    def _apply(self, projectors: Sequence[Tensor], vectors: Tensor) -> Tensor:
        values = vectors.double().cpu()
        parts = [
            (projector @ values[low:high].ravel()).reshape(-1, 3)
            for projector, low, high in zip(projectors, self._bounds, self._bounds[1:], strict=False)
        ]
        return torch.cat(parts).to(vectors)

    def _by_crystal(self, values: Tensor, change: Callable[[SymmetryOperations, np.ndarray], np.ndarray]) -> Tensor:
        rows = values.double().cpu().numpy()
        bounds = zip(self.groups, self._bounds, self._bounds[1:], strict=False)
        return torch.from_numpy(np.concatenate([change(group, rows[low:high]) for group, low, high in bounds])).to(
            values
        )

    def uniform_positions(self, reference: Tensor, draws: FieldDraws) -> Tensor:
        """Uniform law on the positions that keep the symmetry and can be reached from `reference` `[n_atoms, 3]`.

        Atoms on special positions stay on the point, axis or plane that the operations give them.
        """
        # Projected once, in fractional units: what `SymmetricDraws` returns is projected in the metric of the process.
        raw = draws.inner if isinstance(draws, SymmetricDraws) else draws
        noise = _MANY_CELLS * raw.normal("prior", reference)
        return wrap(reference + self.fractional(noise))


@dataclass(frozen=True)
class SymmetricDraws:
    """`FieldDraws` of one field within a symmetric subspace: normal numbers projected, others shared along orbits."""

    inner: FieldDraws
    process: NoiseProcess
    symmetry: BatchSymmetry

    def normal(self, purpose: str, like: Tensor) -> Tensor:
        drawn = self.inner.normal(purpose, like)
        projected = self.process.project(drawn, self.symmetry)
        return drawn if projected is None else projected

    def uniform(self, purpose: str, like: Tensor) -> Tensor:
        return self._shared(self.inner.uniform(purpose, like))

    def categorical(self, purpose: str, probabilities: Tensor) -> Tensor:
        return self._shared(self.inner.categorical(purpose, probabilities))

    def _shared(self, drawn: Tensor) -> Tensor:
        if self.process.scope == "crystal":
            return drawn
        return drawn[self.symmetry.representatives.to(drawn.device)]


def check_symmetry(groups: Sequence[SymmetryOperations], templates: CrystalBatch, known: Known) -> None:
    """Refuse templates that do not have the symmetry that samples are to be drawn in.

    Raises:
        InputError: naming the crystal and what is wrong: number of atoms, species, known masks, or positions.
    """
    if len(groups) != templates.n_crystals:
        raise InputError(f"{len(groups)} groups of symmetry operations for {templates.n_crystals} templates.")
    bounds = templates.offsets.tolist()
    for number, group in enumerate(groups):
        low, high = bounds[number], bounds[number + 1]
        where = f"Template {number} cannot be sampled within its symmetry:"
        if group.n_atoms != high - low:
            raise InputError(f"{where} the operations permute {group.n_atoms} atoms, it has {high - low}.")
        for name, values in (
            ("species", templates.species),
            ("known coordinates", known.frac_coords),
            ("known species", known.species),
        ):
            own = values[low:high].cpu().numpy()
            if not (own[group.permutations] == own).all():
                raise InputError(f"{where} its {name} are not alike on equivalent atoms.")
        lattice = templates.lattice[number].double().cpu().numpy()
        turned = group.cartesian_rotations(lattice)
        bent = np.abs(turned @ turned.transpose(0, 2, 1) - np.eye(3)).max()
        off = group.offset_A(templates.frac_coords[low:high].double().cpu().numpy(), lattice)
        if bent > _EXACT_A or off > _EXACT_A:
            raise InputError(
                f"{where} it is off by {off:.2g} Å (cell: {bent:.2g}). Symmetrise it first "
                "(chggen_kit.symmetry.find_operations returns the exactly symmetric crystal)."
            )
