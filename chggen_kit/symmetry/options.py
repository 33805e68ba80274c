"""Options of the search for near symmetric structures."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _group_numbers(groups: frozenset[int]) -> frozenset[int]:
    if not all(1 <= number <= 230 for number in groups):
        raise ValueError("space groups have numbers from 1 to 230")
    return groups


class ProjectionOptions(BaseModel):
    """Options of `nearest_symmetric` and of the `projection` host refiner."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    min_evidence: float | None = Field(
        default=8.0,
        description="how much likelier (natural logarithm) a symmetric crystal out of place must be than chance, times "
        "the kinds of rotations that fit the cell; null takes every group within the caps",
    )
    max_displacement_A: float = Field(default=1.0, gt=0, description="largest displacement of an atom in Å")
    max_rms_displacement_A: float = Field(default=0.5, gt=0, le=2, description="the same, root mean square")
    max_strain: float = Field(default=0.06, ge=0, le=0.2, description="largest logarithmic strain of the cell")
    min_distance_A: float = Field(
        default=0.7, ge=0, description="structures with atoms closer than this in Å are not returned"
    )
    excluded_groups: Annotated[frozenset[int], AfterValidator(_group_numbers)] = Field(
        default=frozenset({1, 2}), description="numbers of the space groups that do not count as symmetric"
    )
    order_by: Literal["evidence", "operations", "displacement"] = Field(
        default="evidence",
        description="what is best: the likeliest group, the one with most operations, or the nearest structure",
    )
    pareto: bool = Field(
        default=True,
        description="leave out groups when another one has as many operations and less displacement; false lists the "
        "best structure of every space group",
    )
    max_hosts: int = Field(default=1, ge=1, description="structures to return at most")
    library: Literal["spglib", "moyopy"] = Field(default="spglib", description="what names the groups")
    time_limit_s: float = Field(default=10.0, gt=0, description="for moyopy, which runs in a process of its own")
