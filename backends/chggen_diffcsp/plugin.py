"""Registers the DiffCSP-type score model; imports nothing heavy."""

from __future__ import annotations

from typing import Any

from chggen_kit import hookimpl


@hookimpl
def chggen_kit_register_score_models(register: Any) -> None:  # noqa: ANN401 (the manager's registration callback)
    """The score model `diffcsp`."""
    register(
        "diffcsp",
        "chggen_diffcsp.model:load",
        options="chggen_diffcsp.options:DiffCSPOptions",
        summary="DiffCSP's network; diffuses coordinates, cells and (some checkpoints) species; loads official runs.",
        requires=("pyyaml",),
    )


@hookimpl
def chggen_kit_register_trainers(register: Any) -> None:  # noqa: ANN401 (the manager's registration callback)
    """The trainer of `diffcsp`."""
    register(
        "diffcsp",
        "chggen_diffcsp.train_command:command",
        summary="Train DiffCSP's network on structure data sets; writes official run directories.",
        requires=("lightning", "pyyaml"),
    )
