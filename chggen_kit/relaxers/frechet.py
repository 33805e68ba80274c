"""The cell as a relaxed variable: its logarithmic strain, as in ASE's `FrechetCellFilter`.

With the first cell L0 (rows a, b, c) and the variable U, the deformation is F = exp(U) and the cell L0 F^T. Atoms are
described by where they would be without the deformation, so their fractional coordinates do not depend on U.
"""

from __future__ import annotations

import torch
from torch import Tensor


def deformation(log_strain: Tensor) -> Tensor:
    """F = exp(U) `[n_crystals, 3, 3]`."""
    result: Tensor = torch.linalg.matrix_exp(log_strain)
    return result


def log_strain_force(log_strain: Tensor, gradient: Tensor, stress: Tensor, volume: Tensor) -> Tensor:
    """Minus the derivative of the energy with respect to U `[n_crystals, 3, 3]`, in eV.

    With the virial W = -V stress, the force on F is W F^-T, and the one on U is the adjoint of the Frechet derivative
    of exp at U, applied to that. The adjoint at U is the derivative at U^T, and a derivative is the upper right block
    of the exponential of [[U^T, E], [0, U^T]] (Higham, Functions of Matrices, eq. 3.16).

    Args:
        log_strain: U `[n_crystals, 3, 3]`.
        gradient: F = exp(U) `[n_crystals, 3, 3]`.
        stress: in eV/Å^3 `[n_crystals, 3, 3]`.
        volume: of the deformed cells in Å^3 `[n_crystals]`.
    """
    virial = -volume[:, None, None] * stress
    direction = virial @ torch.linalg.inv(gradient.transpose(1, 2))
    # The derivative is linear in its direction: a direction of length one keeps the exponential accurate.
    size = torch.linalg.matrix_norm(direction, keepdim=True).clamp(min=1e-300)
    transposed = log_strain.transpose(1, 2)
    block = torch.cat(
        [
            torch.cat([transposed, direction / size], dim=2),
            torch.cat([torch.zeros_like(transposed), transposed], dim=2),
        ],
        dim=1,
    )
    result: Tensor = torch.linalg.matrix_exp(block)[:, :3, 3:] * size
    return result
