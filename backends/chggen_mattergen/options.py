"""Options of the backend `mattergen`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator


def split_elements(value: Any) -> Any:  # noqa: ANN401 - whatever the user gave
    """`Zn-P-S` or `Zn,P,S` as a list; anything else as it is."""
    if isinstance(value, str):
        return [symbol.strip() for symbol in value.replace(",", "-").split("-") if symbol.strip()]
    return value


class MatterGenOptions(BaseModel):
    """How to load a MatterGen model, and what to guide it to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    checkpoint: str | None = Field(
        default=None,
        description="Folder of a model (config.yaml and checkpoints/last.ckpt), or the name of a released one, e.g. "
        "mattergen_base or chemical_system, which is downloaded once.",
    )
    device: str = Field(default="cpu", description="PyTorch device to run on: cpu, cuda, cuda:1, ...")
    elements: tuple[str, ...] = Field(
        default=(),
        description="Only these elements may be generated, e.g. Zn-P-S; all that the model knows by default.",
    )
    chemical_system: tuple[str, ...] = Field(
        default=(), description="Guide to crystals of these elements, e.g. Zn-P-S; for models trained on this property."
    )
    properties: Mapping[str, float] = Field(
        default={}, description='Guide to values of properties, e.g. {"energy_above_hull": 0.05}.'
    )
    guidance_factor: float = Field(
        default=2.0,
        ge=0,  # below it the model would be guided away, and the mask of MatterGen's elements would be turned around
        allow_inf_nan=False,
        description="Strength of the guidance: 1 follows the conditional score; others take two network calls.",
    )
    upstream_norms: bool = Field(
        default=False,
        description="The package's own kernels, for comparison: the corrector's steps come from norms over the whole "
        "batch, so that its crystals depend on each other, and the predictor draws one number for a whole cell.",
    )

    @field_validator("elements", "chemical_system", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:  # noqa: ANN401 - whatever the user gave
        return split_elements(value)
