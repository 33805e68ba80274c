"""Sampler options that suit a checkpoint."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chggen_diffcsp.checkpoint import Checkpoint
from chggen_kit.errors import CheckpointError

_STEP_LR = {"perov": 5e-7, "carbon": 5e-6}
_STEP_LR_WITH_SPECIES = {"perov": 1e-6, "carbon": 1e-5, "mp20": 5e-6, "mp_20": 5e-6}
_STEP_LR_ELSE = 1e-5
"""The published corrector steps: part of the data's name to `step_lr`."""


def sampling_defaults(checkpoint: Checkpoint, top: int) -> Mapping[str, Any]:
    """The published sampler's order and step sizes, or what the kit measured for its own checkpoint.

    The published corrector's eps = step_lr (sigma_t / sigma_1)^2 is the kit's eps = 2 (delta sigma_t)^2 with
    delta = sqrt(step_lr / 2) / sigma_1.

    Args:
        checkpoint: the checkpoint.
        top: noisiest time of its grids.
    """
    settings = checkpoint.settings
    table = _STEP_LR_WITH_SPECIES if settings.diffuses_species else _STEP_LR
    name = settings.dataset.lower()
    step_lr = next((value for part, value in table.items() if part in name), _STEP_LR_ELSE)
    published = {
        "steps": top,
        "corrector_first": True,
        # Without moving coordinates there is nothing to correct.
        "corrector_steps": 1 if settings.diffuses_coordinates else 0,
        # Hosts too, as published; see docs/diffcsp.md for what becomes of guests if they alone are corrected.
        "corrector_moves": "all",
        "snr": min(math.sqrt(step_lr / 2) / settings.sigma_begin, 0.99),
        "align": "mean",
    }
    measured = dict(checkpoint.facts.get("sampling_defaults") or {})
    return {**published, **measured, "steps": min(measured.get("steps", top), top)}


def model_card(checkpoint: Path) -> dict[str, Any]:
    """The model card of `checkpoint`, the JSON file beside it.

    Raises:
        CheckpointError: when there is none.
    """
    path = checkpoint.with_suffix(".json")
    if not path.is_file():
        raise CheckpointError(
            f"The model card {path} is missing: this installation comes without DiffCSP weights, or is not complete. "
            "Give a checkpoint with --checkpoint, or install the package again."
        )
    card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return card
