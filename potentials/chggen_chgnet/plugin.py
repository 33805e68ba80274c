"""Registers CHGNet. Nothing heavy is imported before the potential is used."""

from __future__ import annotations

from typing import Any

from chggen_kit import hookimpl


@hookimpl
def chggen_kit_register_potentials(register: Any) -> None:  # noqa: ANN401 - the manager's callback
    """Register `chgnet`."""
    register(
        "chgnet",
        "chggen_chgnet.potential:load",
        options="chggen_chgnet.options:ChgnetOptions",
        summary="CHGNet 0.3.0 or r2SCAN, weights from the chgnet wheel",
        requires=("chgnet",),
    )
