"""Registers ASE calculators. Nothing heavy is imported before one is used."""

from __future__ import annotations

from chggen_kit import hookimpl
from chggen_kit.plugins.hookspecs import Register


@hookimpl
def chggen_kit_register_potentials(register: Register) -> None:
    """Register `ase`."""
    register(
        "ase",
        "chggen_ase.potential:load",
        options="chggen_ase.options:AseOptions",
        summary="Any ASE calculator, by import path; one structure at a time",
        requires=("ase",),
    )
