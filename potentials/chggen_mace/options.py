"""Options of the MACE potential; imports nothing heavy."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class MaceOptions(BaseModel):
    """Which MACE, what its energies mean, and where it runs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(
        min_length=1,
        description="A model file (.model), or a released name, which mace-torch downloads where the network allows: "
        "medium, small-0b2, medium-mpa-0, medium-omat-0, mace-matpes-r2scan-0, ...",
    )
    trust_pickle: bool = Field(
        default=False,
        description="MACE models are pickles, which can run any code when they are loaded: true says that you trust "
        "where this one comes from.",
    )
    energy_frame: str | None = Field(
        default=None,
        min_length=1,
        description="What its energies can be compared with (raw-pbe, mp2020-corrected, r2scan, unknown, ...); needed "
        "for a file, known for the released names.",
    )
    head: str | None = Field(default=None, description="Head of a model with several.")
    dtype: Literal["float32", "float64"] | None = Field(
        default=None, description="Precision of the network; by default the model's own."
    )
    device: str = Field(default="cpu", description="Torch device of the network; results are always on the CPU.")
