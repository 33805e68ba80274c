"""What chggen-kit finds through the entry point. Import strings only: every `chggen` command loads this module."""

from __future__ import annotations

from chggen_kit import hookimpl
from chggen_kit.plugins.hookspecs import Register


@hookimpl
def chggen_kit_register_score_models(register: Register) -> None:
    """Register the score model."""
    register(
        "springs",
        "chggen_springs.model:build",
        options="chggen_springs.model:SpringsScoreModelOptions",
        summary="Example: balls on springs, blurred by noise",
    )


@hookimpl
def chggen_kit_register_potentials(register: Register) -> None:
    """Register the potential."""
    register(
        "springs",
        "chggen_springs.potential:build",
        options="chggen_springs.potential:SpringsPotentialOptions",
        summary="Example: balls on springs by covalent radii",
    )
