"""Registers the in-house score model and its trainer; imports nothing heavy."""

from __future__ import annotations

from typing import Any

from chggen_kit import hookimpl


@hookimpl
def chggen_kit_register_score_models(register: Any) -> None:  # noqa: ANN401 (the manager's registration callback)
    """The score model `nequip`."""
    register(
        "nequip",
        "chggen_nequip.model:load",
        options="chggen_nequip.options:NequipOptions",
        summary="In-house O(3)-equivariant network; diffuses coordinates, trained on Materials Project structures.",
        requires=("e3nn", "torch-geometric"),
        default=True,
    )


@hookimpl
def chggen_kit_register_trainers(register: Any) -> None:  # noqa: ANN401 (the manager's registration callback)
    """The trainer of `nequip`."""
    register(
        "nequip",
        "chggen_nequip.train_command:command",
        summary="Train the in-house score model by denoising score matching.",
        requires=("lightning",),
    )
