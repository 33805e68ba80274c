"""Noise processes, one field each."""

from chggen_kit.processes.categorical import AbsorbingCategorical
from chggen_kit.processes.fixed import Fixed
from chggen_kit.processes.lattice_vp import LatticeVP
from chggen_kit.processes.spec import from_spec, to_spec
from chggen_kit.processes.torus_ve import TorusVE
from chggen_kit.processes.torus_ve_fractional import FractionalTorusTable, FractionalTorusVE
from chggen_kit.processes.torus_ve_num_atoms import NumAtomsTorusVE
from chggen_kit.processes.vp_matrix import VPMatrix

__all__ = [
    "AbsorbingCategorical",
    "Fixed",
    "FractionalTorusTable",
    "FractionalTorusVE",
    "LatticeVP",
    "NumAtomsTorusVE",
    "TorusVE",
    "VPMatrix",
    "from_spec",
    "to_spec",
]
