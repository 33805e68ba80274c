"""Options of the built-in relaxers; imports nothing heavy."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class FireOptions(BaseModel):
    """FIRE's parameters (defaults as in ASE) and how many structures move together."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_batch: int = Field(default=32, ge=1, description="Most structures that move together.")
    max_atoms: int | None = Field(
        default=None, ge=1, description="Most atoms that move together; by default what the potential declares."
    )
    trajectory_every: int | None = Field(
        default=None, ge=1, description="Keep the structure of every k-th step and the last; none by default."
    )
    dt: float = Field(default=0.1, gt=0, description="First time step.")
    dt_max: float = Field(default=1.0, gt=0, description="Largest time step.")
    max_step: float = Field(default=0.2, gt=0, description="Longest step of one structure's generalised vector in Å.")
    n_min: int = Field(default=5, ge=0, description="Downhill steps before the time step grows.")
    f_inc: float = Field(default=1.1, gt=1, description="Factor by which the time step grows.")
    f_dec: float = Field(default=0.5, gt=0, lt=1, description="Factor by which it shrinks after an uphill step.")
    a_start: float = Field(default=0.1, gt=0, le=1, description="First mixing of the force into the velocity.")
    f_a: float = Field(default=0.99, gt=0, le=1, description="Factor by which the mixing falls.")


class AseFireOptions(BaseModel):
    """ASE's FIRE with its own defaults, one structure after another."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    trajectory_every: int | None = Field(
        default=None, ge=1, description="Keep the structure of every k-th step and the last; none by default."
    )


class TorchSimOptions(BaseModel):
    """FIRE of torch-sim with its own defaults, which are those of ASE."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_atoms: int | None = Field(
        default=None, ge=1, description="Most atoms that move together; by default what the potential declares."
    )
