"""Options of the backend `diffcsp`."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class DiffCSPOptions(BaseModel):
    """How to load and run a DiffCSP-type score model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    checkpoint: Path | None = Field(
        default=None,
        description="A run directory of DiffCSP or of `chggen train diffcsp`, a .ckpt file in one, or a .safetensors "
        "file of the kit; by default the checkpoint that comes with the kit.",
    )
    device: str = Field(default="cpu", description="PyTorch device to run on: cpu, cuda, cuda:1, ...")
    start_below: int | None = Field(
        default=None,
        ge=2,
        description="Start at this time instead of the noisiest one, T. The first step from T = 1000 multiplies every "
        "error of the cell by 100; 990 avoids that, with the same prior to 1 part in 4000. [T, as published, or what "
        "the checkpoint was shipped with]",
    )
    largest_entry: float = Field(
        default=1e4,
        gt=0,
        description="A crystal whose cell has an entry larger than this many Å at any step (or whose species has one "
        "as large) has blown up: it is given up, the others go on.",
    )
