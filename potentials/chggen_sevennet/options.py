"""Options of the SevenNet potential; imports nothing heavy."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class SevennetOptions(BaseModel):
    """Which SevenNet, at which level of theory, and where it runs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    weights: Literal["7net-0", "7net-l3i5", "7net-mf-0"] = Field(
        default="7net-0",
        description="Weights of the sevenn wheel: 7net-0 (of 11 July 2024), the larger 7net-l3i5, or 7net-mf-0, "
        "trained at two levels of theory.",
    )
    modality: Literal["PBE", "R2SCAN"] | None = Field(
        default=None, description="Level of theory of 7net-mf-0; the other weights have none."
    )
    device: str = Field(default="cpu", description="Torch device of the network; results are always on the CPU.")

    @model_validator(mode="after")
    def _modality_where_there_is_one(self) -> SevennetOptions:
        if (self.modality is None) == (self.weights == "7net-mf-0"):
            raise ValueError(
                "7net-mf-0 needs a modality, PBE or R2SCAN"
                if self.modality is None
                else "only 7net-mf-0 has modalities"
            )
        return self
