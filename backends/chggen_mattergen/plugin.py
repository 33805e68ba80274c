"""Registers the score model of MatterGen; imports nothing heavy."""

from __future__ import annotations

from typing import Any

from chggen_kit import hookimpl


@hookimpl
def chggen_kit_register_score_models(register: Any) -> None:  # noqa: ANN401 (the manager's registration callback)
    """The score model `mattergen`."""
    register(
        "mattergen",
        "chggen_mattergen.model:load",
        options="chggen_mattergen.options:MatterGenOptions",
        summary="MatterGen: species, positions and cells together, guided by properties; released or own weights.",
        requires=("--no-deps mattergen==1.0.3", "omegaconf", "huggingface-hub", "torch-geometric"),
    )
