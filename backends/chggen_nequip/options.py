"""Options of the backend `nequip`."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class NequipOptions(BaseModel):
    """How to load the in-house score model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    checkpoint: Path | None = Field(
        default=None,
        description="A .safetensors file written by `chggen train nequip`; by default the one that comes with the kit.",
    )
    device: str = Field(default="cpu", description="PyTorch device to run on: cpu, cuda, cuda:1, ...")
