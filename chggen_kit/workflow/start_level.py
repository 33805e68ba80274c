"""Where on the time grid sampling starts from a given structure."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

_TEXT = re.compile(r"(?P<number>\d+\.?\d*|\.\d+)\s*(?P<unit>A|Å|%)")


class StartLevel(BaseModel):
    """A level of noise: in Å, or as a fraction of the time grid. Can be written as text: `0.5A`, `40%`.

    Attributes:
        sigma_A: standard deviation in Å of the displacements that the given structure is noised with.
        fraction: of the time grid: near 0 the clean end, 1 the level that sampling from nothing starts at.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    sigma_A: float | None = Field(default=None, gt=0)
    fraction: float | None = Field(default=None, gt=0, le=1)

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:  # noqa: ANN401  whatever the user gave
        if not isinstance(value, str):
            return value
        found = _TEXT.fullmatch(value.strip())
        if found is None:
            raise ValueError("write a noise in Å, as in 0.5A, or a fraction of the time grid, as in 40%")
        number = float(found["number"])
        return {"fraction": number / 100} if found["unit"] == "%" else {"sigma_A": number}

    @model_validator(mode="after")
    def _one_of_them(self) -> StartLevel:
        if (self.sigma_A is None) == (self.fraction is None):
            raise ValueError("a start level is a noise in Å or a fraction, one of them")
        return self
