"""Options of the CHGNet potential; imports nothing heavy."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class ChgnetOptions(BaseModel):
    """Which CHGNet, and where it runs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    weights: Literal["0.3.0", "r2scan"] = Field(
        default="0.3.0",
        description="Weights: 0.3.0 (MPtrj, MP2020-corrected PBE and PBE+U energies) or r2scan (transfer-learnt).",
    )
    device: str = Field(default="cpu", description="Torch device of the network; results are always on the CPU.")
