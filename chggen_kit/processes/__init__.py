"""Noise processes, one field each."""

from chggen_kit.processes.fixed import Fixed
from chggen_kit.processes.spec import from_spec, to_spec
from chggen_kit.processes.torus_ve import TorusVE
from chggen_kit.processes.torus_ve_fractional import FractionalTorusTable, FractionalTorusVE
from chggen_kit.processes.vp_matrix import VPMatrix

__all__ = ["Fixed", "FractionalTorusTable", "FractionalTorusVE", "TorusVE", "VPMatrix", "from_spec", "to_spec"]
