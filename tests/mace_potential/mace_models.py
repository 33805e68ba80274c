"""A small MACE model with random weights, made and saved by mace itself."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

NUMBERS = (8, 9, 11, 12, 13, 14, 16, 17, 20, 22, 29, 30, 38, 40, 55)


def save_small_model(path: Path, heads: Sequence[str] = ("Default",)) -> None:
    """Two layers, scalars and vectors, float32; forces of some eV/Å."""
    before = os.environ.get("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD")
    from mace import modules  # sets the variable, without which its e3nn cannot be imported

    try:
        from e3nn import o3

        torch.manual_seed(1)
        n = len(heads)
        block = modules.interaction_classes["RealAgnosticResidualInteractionBlock"]
        model = modules.ScaleShiftMACE(
            r_max=4.5,
            num_bessel=4,
            num_polynomial_cutoff=5,
            max_ell=2,
            interaction_cls=block,
            interaction_cls_first=block,
            num_interactions=2,
            num_elements=len(NUMBERS),
            hidden_irreps=o3.Irreps("8x0e + 8x1o"),
            MLP_irreps=o3.Irreps("8x0e"),
            gate=torch.nn.functional.silu,
            atomic_energies=np.linspace(-5, -1, len(NUMBERS))[None] + np.arange(n)[:, None],
            avg_num_neighbors=12.0,
            atomic_numbers=list(NUMBERS),
            correlation=2,
            radial_type="bessel",
            atomic_inter_scale=[300.0] * n,
            atomic_inter_shift=[0.1] * n,
            heads=list(heads),
        )
        torch.save(model, path)
    finally:
        if before is None:
            os.environ.pop("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", None)
