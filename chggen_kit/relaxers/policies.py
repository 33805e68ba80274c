"""What may move in a relaxation: everything, no cell, no host, or nothing that breaks the symmetry."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, Self

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pymatgen.core import Structure

from chggen_kit.errors import InputError
from chggen_kit.interfaces import Progress, Relaxation, Relaxer
from chggen_kit.io.convert import with_coordinates
from chggen_kit.symmetry import SymmetryOperations, find_operations

PolicyName = Literal["free", "fixed-cell", "fixed-host", "keep-symmetry"]

_LOG = logging.getLogger(__name__)
_USABLE_ENDS = ("converged", "max-steps")


class RelaxPolicy(BaseModel):
    """What may move in a relaxation. A bare name can stand for a policy with its defaults.

    Attributes:
        name: `free` (cell and atoms), `fixed-cell` (atoms alone), `fixed-host` (guests alone, in the host's cell), or
            `keep-symmetry` (cell and atoms, within the space group of the start).
        symprec_A: of `keep-symmetry`: tolerance in Å of the start's space group, onto which it is symmetrised first.
        angle_tolerance_deg: angle tolerance in degrees of the same.
        min_gain: of `keep-symmetry`: in eV/atom. When given, what comes out is rattled and relaxed freely as well, and
            that result kept if it gains more than this.
        rattle_A: standard deviation in Å of that rattling: a saddle that symmetry holds is left by a push alone.
        seed: of the rattling, which is the same for all structures with as many atoms.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: PolicyName = "free"
    symprec_A: float = Field(default=0.1, gt=0, allow_inf_nan=False)
    angle_tolerance_deg: float = Field(default=10.0, gt=0, allow_inf_nan=False)
    min_gain: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    rattle_A: float = Field(default=0.03, gt=0, allow_inf_nan=False)
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _bare_name(cls, value: Any) -> Any:  # noqa: ANN401  whatever the user gave
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _gain_with_symmetry(self) -> Self:
        # What a run has recorded names every setting; defaults are no wish.
        fields = type(self).model_fields
        changed = [name for name in sorted(fields) if name != "name" and getattr(self, name) != fields[name].default]
        if self.name != "keep-symmetry" and changed:
            raise ValueError(f"only keep-symmetry has the settings {', '.join(changed)}")
        return self

    @model_serializer(mode="wrap")
    def _own_settings(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What is stored can be read back: settings go with the policy that has them."""
        return handler(self) if self.name == "keep-symmetry" else {"name": self.name}


def relax_by_policy(
    relaxer: Relaxer,
    structures: Sequence[Structure],
    policy: RelaxPolicy,
    *,
    hosts: Sequence[Sequence[bool]] | None = None,
    fmax: float = 0.1,
    max_steps: int = 500,
    progress: Progress | None = None,
) -> list[Relaxation]:
    """Relax `structures` by `policy`; arguments and outcomes as of `Relaxer.relax`.

    With `keep-symmetry` the start is symmetrised, and `initial_energy` is that of the symmetrised structure; one
    without a group (or too broken for spglib) relaxes freely. Where a second, free relaxation gained enough, it is the
    outcome, with the steps of both and `freed` set.

    Args:
        relaxer: what relaxes.
        structures: not mutated.
        policy: what may move.
        hosts: for `fixed-host` the atoms (True) of each host.
        fmax: in eV/Å.
        max_steps: of each relaxation.
        progress: told how many structures have ended; twice where there is a second relaxation.

    Raises:
        InputError: as `Relaxer.relax`, and for `fixed-host` without hosts.
    """
    limits: dict[str, Any] = {"fmax": fmax, "max_steps": max_steps, "progress": progress}
    if policy.name == "free":
        return relaxer.relax(structures, cell="free", **limits)
    if policy.name == "fixed-cell":
        return relaxer.relax(structures, cell="fixed", **limits)
    if policy.name == "fixed-host":
        if hosts is None:
            raise InputError(
                "The policy fixed-host needs to know the host: name the guests, or give masks of the host."
            )
        return relaxer.relax(structures, cell="fixed", fixed=hosts, **limits)
    starts = [_symmetric_start(one, policy) for one in structures]
    groups = [group for _, group in starts]
    kept = relaxer.relax([one for one, _ in starts], cell="free", symmetry=groups, **limits)
    return kept if policy.min_gain is None else _freed(relaxer, kept, groups, policy, policy.min_gain, limits)


def _symmetric_start(structure: Structure, policy: RelaxPolicy) -> tuple[Structure, SymmetryOperations | None]:
    """`structure` with exactly the symmetry that it nearly has; as it is, without operations, where it has none."""
    try:
        exact, group = find_operations(structure, policy.symprec_A, policy.angle_tolerance_deg)
    except InputError as error:
        _LOG.info("No symmetry is kept: %s", error)
        return structure, None
    return (structure, None) if group.n_ops == 1 else (exact, group)


def _freed(
    relaxer: Relaxer,
    kept: Sequence[Relaxation],
    groups: Sequence[SymmetryOperations | None],
    policy: RelaxPolicy,
    min_gain: float,
    limits: dict[str, Any],
) -> list[Relaxation]:
    result = list(kept)
    chosen = [
        index
        for index, (one, group) in enumerate(zip(kept, groups, strict=True))
        if group is not None and one.reason in _USABLE_ENDS
    ]
    if not chosen:
        return result
    pushed = [_rattled(kept[index].structure, policy.rattle_A, policy.seed) for index in chosen]
    for index, free in zip(chosen, relaxer.relax(pushed, cell="free", **limits), strict=True):
        before = kept[index]
        gain = (before.energy - free.energy) / len(before.structure)
        if free.reason in _USABLE_ENDS and gain > min_gain:
            result[index] = replace(
                free,
                initial_energy=before.initial_energy,
                steps=before.steps + free.steps,
                trajectory=before.trajectory + free.trajectory,
                freed=True,
            )
    return result


def _rattled(structure: Structure, rattle_A: float, seed: int) -> Structure:
    moves = np.random.default_rng(seed).normal(scale=rattle_A, size=(len(structure), 3))
    cell = structure.lattice.matrix
    return with_coordinates(structure, structure.frac_coords + moves @ np.linalg.inv(cell), cell)
