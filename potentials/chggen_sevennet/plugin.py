"""Registers SevenNet. Nothing heavy is imported before the potential is used."""

from __future__ import annotations

from chggen_kit import hookimpl
from chggen_kit.plugins.hookspecs import Register


@hookimpl
def chggen_kit_register_potentials(register: Register) -> None:
    """Register `sevennet`."""
    register(
        "sevennet",
        "chggen_sevennet.potential:load",
        options="chggen_sevennet.options:SevennetOptions",
        summary="SevenNet-0, -l3i5 or -MF-0, weights from the sevenn wheel",
        requires=("sevenn>=0.13",),
    )
