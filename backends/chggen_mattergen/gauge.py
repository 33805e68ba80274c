"""MatterGen's convention for cells, and the way back: Niggli reduction without a change of the cell's content.

The network was trained on Niggli-reduced cells in the symmetric form of their polar decomposition. A user's cell
comes in through a unimodular matrix M (reduced rows = M times the user's rows, so the atoms stay the same ones) and a
rotation U (reduced rows = symmetric factor times U); both are kept for the way out.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from chggen_kit.processes.lattice_vp import symmetric_factor
from chggen_kit.torus import reduced_cell, wrap

_WHOLE = 1e-3
"""How far from whole numbers a transformation between two bases of one lattice may come out."""


@dataclass(frozen=True)
class Gauge:
    """How the cells of a batch were brought to MatterGen's convention; float64, on the CPU.

    Attributes:
        transformation: M `[n_crystals, 3, 3]`, whole numbers, determinant 1 or -1.
        rotation: U `[n_crystals, 3, 3]`, proper rotations for right-handed reduced cells.
    """

    transformation: Tensor
    rotation: Tensor

    @classmethod
    def of(cls, lattice: Tensor, reduce: Tensor) -> tuple[Gauge, Tensor]:
        """Gauge of cells, and their symmetric factors `[n_crystals, 3, 3]` in Å.

        Args:
            lattice: rows a, b, c in Å `[n_crystals, 3, 3]`, float64.
            reduce: bool `[n_crystals]`; the others keep their basis (a placeholder has nothing to be reduced).
        """
        transformation = torch.stack(
            [_niggli(one) if bool(yes) else _right_handed(one) for one, yes in zip(lattice, reduce, strict=True)]
        )
        reduced = transformation @ lattice
        factor = symmetric_factor(reduced)
        return cls(transformation, torch.linalg.solve(factor, reduced)), factor

    def frac_in(self, frac: Tensor, crystal_index: Tensor) -> Tensor:
        """The user's fractional coordinates `[n_atoms, 3]` in the reduced basis, folded."""
        inverse = torch.linalg.inv(self.transformation)
        return wrap(torch.einsum("ai,aij->aj", frac, inverse[crystal_index]))

    def frac_out(self, frac: Tensor, crystal_index: Tensor) -> Tensor:
        """Fractional coordinates in the reduced basis in the user's, folded."""
        return wrap(torch.einsum("ai,aij->aj", frac, self.transformation[crystal_index]))

    def lattice_out(self, factor: Tensor) -> Tensor:
        """Cells `[n_crystals, 3, 3]` in the user's basis and axes."""
        rows: Tensor = torch.linalg.solve(self.transformation, factor @ self.rotation)
        return rows


def _right_handed(lattice: Tensor) -> Tensor:
    """The unit matrix, or its negative for a left-handed cell: a rotation then leads to the symmetric factor."""
    unit = torch.eye(3, dtype=torch.float64)
    return unit if float(torch.linalg.det(lattice)) > 0 else -unit


def _niggli(lattice: Tensor) -> Tensor:
    """Unimodular matrix that leads to the Niggli-reduced basis of a right-handed cell."""
    import spglib

    found = spglib.niggli_reduce(lattice.numpy())
    candidates = [] if found is None else [torch.as_tensor(found, dtype=torch.float64)]
    # The reduction can fail on extreme cells; a basis without needlessly long vectors is the next best.
    candidates.append(reduced_cell(lattice[None])[0])
    for reduced in candidates:
        transformation = reduced @ torch.linalg.inv(lattice)
        whole = torch.round(transformation)
        near = bool((transformation - whole).abs().max() < _WHOLE)
        if near and abs(abs(float(torch.linalg.det(whole))) - 1) < _WHOLE:
            return whole if float(torch.linalg.det(whole @ lattice)) > 0 else -whole
    return _right_handed(lattice)
