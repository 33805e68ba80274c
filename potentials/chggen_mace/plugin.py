"""Registers MACE. Nothing heavy is imported before the potential is used."""

from __future__ import annotations

from chggen_kit import hookimpl
from chggen_kit.plugins.hookspecs import Register


@hookimpl
def chggen_kit_register_potentials(register: Register) -> None:
    """Register `mace`."""
    register(
        "mace",
        "chggen_mace.potential:load",
        options="chggen_mace.options:MaceOptions",
        summary="MACE, from a model file or a released name; usually in an environment of its own (e3nn 0.4.4)",
        requires=("mace-torch>=0.3.16",),
    )
