"""Thermodynamics: reference phases of one potential and one energy frame, their hull, and E_d against it."""

from chggen_kit.thermo.hull import Hull, Placement, Product
from chggen_kit.thermo.phases import DFT, Phase, ReferencePhase, References, amounts_of
from chggen_kit.thermo.relaxed import ActivePotential, ReferenceSettings, StartingPhase, relaxed_references

__all__ = [
    "DFT",
    "ActivePotential",
    "Hull",
    "Phase",
    "Placement",
    "Product",
    "ReferencePhase",
    "ReferenceSettings",
    "References",
    "StartingPhase",
    "amounts_of",
    "relaxed_references",
]
