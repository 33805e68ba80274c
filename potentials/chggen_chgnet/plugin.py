"""Registers CHGNet. Nothing heavy is imported before the potential is used."""

from __future__ import annotations

from chggen_kit import hookimpl
from chggen_kit.plugins.hookspecs import Register


@hookimpl
def chggen_kit_register_potentials(register: Register) -> None:
    """Register `chgnet`."""
    register(
        "chgnet",
        "chggen_chgnet.potential:load",
        options="chggen_chgnet.options:ChgnetOptions",
        summary="CHGNet 0.3.0 or r2SCAN, weights from the chgnet wheel",
        requires=("chgnet",),
        default=True,
    )
