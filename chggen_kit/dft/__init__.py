"""The way to density functional theory: VASP inputs for the candidates of a run, and the same as an atomate2 flow."""

from chggen_kit.dft.handoff import Handoff, write_dft_inputs
from chggen_kit.dft.settings import KSpacingMode

__all__ = ["Handoff", "KSpacingMode", "write_dft_inputs"]
