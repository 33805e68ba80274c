"""Options of the ASE potential; imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class AseOptions(BaseModel):
    """Which calculator, and what its energies mean."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    calculator: str = Field(
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$",
        description="Class, or function that returns a calculator, as module:name (ase.calculators.emt:EMT).",
    )
    arguments: Mapping[str, Any] = Field(
        default={}, description='Keyword arguments of the class, as JSON: {"rc": 6.0}.'
    )
    energy_frame: str = Field(
        min_length=1,
        description="What its energies can be compared with (mp2020-corrected, raw-pbe, r2scan, a name of your own); "
        "unknown where you can't tell.",
    )
    elements: tuple[str, ...] | None = Field(
        default=None, description="Symbols of the elements that it covers; all, when not given."
    )
    cutoff_A: float | None = Field(default=None, gt=0, description="Its interaction range in Å, where known.")
    max_atoms_per_batch: int = Field(default=128, ge=1, description="Atoms that one call should be given.")
    name: str | None = Field(default=None, min_length=1, description="Name in results; by default the class's own.")
    licence: str = Field(default="not stated", min_length=1, description="Licence of its weights or parameters.")
