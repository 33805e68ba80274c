"""Options of the diffusion samplers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from chggen_kit.errors import InputError
from chggen_kit.interfaces.processes import KernelOptions


class SamplerOptions(BaseModel):
    """Options of `predictor-corrector`, `repaint`, `replace` and `clean-host`.

    An option that is left out takes the score model's recommendation (`Capabilities.sampling_defaults`), and else the
    kit's default, given in brackets.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    preset: Literal["paper"] | None = Field(
        None, description="`paper`: the published algorithm as written (199 steps, its kernels, no alignment)"
    )
    steps: int | None = Field(None, ge=2, description="descents of one pass down the time grid [100]")
    corrector_steps: int | None = Field(None, ge=0, description="corrector calls M at each level but the clean one [1]")
    snr: float | None = Field(None, gt=0, lt=1, description="signal-to-noise ratio delta of the corrector [0.4]")
    passes: int | None = Field(None, ge=1, description="RePaint passes r through each block of levels [2]")
    jump_length: int | None = Field(None, ge=1, description="levels that a RePaint jump goes back [10]")
    align: Literal["mean", "none"] | None = Field(
        None, description="slide each crystal onto its host before the host is imposed [none]"
    )
    jump_kernel: Literal["exact", "paper"] | None = Field(None, description="noise of the jumps back [exact]")
    corrector: Literal["fixed", "langevin-norm"] | None = Field(None, description="corrector's step size [fixed]")
    corrector_moves: Literal["generated", "all"] | None = Field(
        None, description="which atoms the corrector moves [generated]"
    )
    corrector_first: bool | None = Field(
        None, description="correct at the level before the predictor instead of after it [false]"
    )
    trajectory_every: int | None = Field(None, ge=1, description="keep a snapshot every so many moves [none]")


@dataclass(frozen=True)
class ResolvedOptions:
    """`SamplerOptions` with every value settled."""

    steps: int = 100
    corrector_steps: int = 1
    snr: float = 0.4
    passes: int = 2
    jump_length: int = 10
    align: Literal["mean", "none"] = "none"
    jump_kernel: Literal["exact", "paper"] = "exact"
    corrector: Literal["fixed", "langevin-norm"] = "fixed"
    corrector_moves: Literal["generated", "all"] = "generated"
    corrector_first: bool = False
    trajectory_every: int | None = None

    @property
    def kernel(self) -> KernelOptions:
        """What the noise processes need to know."""
        return KernelOptions(jump=self.jump_kernel, corrector=self.corrector, snr=self.snr)


PAPER: Mapping[str, Any] = {
    "steps": 199,
    "corrector_steps": 5,
    "snr": 0.4,
    "passes": 3,
    "jump_length": 1,
    "align": "none",
    "jump_kernel": "paper",
    "corrector": "langevin-norm",
    "corrector_moves": "all",
    "corrector_first": False,
}
"""The paper's listing: 200 levels, M = 5 corrector calls on all atoms, delta = 0.4, every level passed r = 3 times."""


def resolve(options: SamplerOptions, recommended: Mapping[str, Any]) -> ResolvedOptions:
    """The user's options over the preset, or else over what the model recommends, over the kit's defaults.

    Raises:
        InputError: when the model recommends an option that does not exist.
    """
    given = {name: value for name, value in options.model_dump(exclude={"preset"}).items() if value is not None}
    base = PAPER if options.preset == "paper" else recommended
    unknown = set(base) - set(ResolvedOptions.__dataclass_fields__)
    if unknown:
        raise InputError(
            f"The score model recommends sampler options that do not exist: {', '.join(sorted(unknown))}. "
            "Its `sampling_defaults` were made for another version of the kit."
        )
    return ResolvedOptions(**{**base, **given})
