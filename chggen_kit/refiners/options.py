"""Options of the tolerance ladder."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveFloat

Rung = tuple[PositiveFloat, PositiveFloat]
"""Distance tolerance in Å and angle tolerance in degrees."""

PAPER_RUNGS: tuple[Rung, ...] = (
    (0.1, 10.0),
    (0.2, 15.0),
    (0.5, 15.0),
    (0.8, 15.0),
    (1.0, 20.0),
    (1.5, 30.0),
    (2.0, 30.0),
)


def _finite_rungs(rungs: tuple[Rung, ...]) -> tuple[Rung, ...]:
    if not all(math.isfinite(tolerance) for rung in rungs for tolerance in rung):
        raise ValueError("tolerances must be finite")
    return rungs


def _group_numbers(groups: frozenset[int]) -> frozenset[int]:
    if not all(1 <= number <= 230 for number in groups):
        raise ValueError("space groups have numbers from 1 to 230")
    return groups


class LadderOptions(BaseModel):
    """Options of the `ladder` host refiner; the defaults are the paper's ladder, with caps of our own."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    rungs: Annotated[tuple[Rung, ...], AfterValidator(_finite_rungs)] = Field(
        default=PAPER_RUNGS,
        min_length=1,
        description="tolerances (symprec in Å, angle in degrees), in the order of trial",
    )
    excluded_groups: Annotated[frozenset[int], AfterValidator(_group_numbers)] = Field(
        default=frozenset({1, 2}), description="numbers of the space groups that do not count as symmetric"
    )
    max_displacement_A: float | None = Field(
        default=1.0, gt=0, description="largest displacement of an atom by symmetrisation in Å; null for no cap"
    )
    max_strain: float | None = Field(
        default=0.3, gt=0, description="largest logarithmic strain of the cell by symmetrisation; null for no cap"
    )
    min_distance_A: float = Field(
        default=0.7, ge=0, description="hosts with atoms closer than this in Å are not returned"
    )
    max_hosts: int = Field(
        default=1, ge=1, description="hosts with distinct space groups to collect up the ladder (the paper: the first)"
    )
