"""Noise processes, one field each."""

from chggen_kit.processes.fixed import Fixed
from chggen_kit.processes.spec import from_spec, to_spec
from chggen_kit.processes.torus_ve import TorusVE

__all__ = ["Fixed", "TorusVE", "from_spec", "to_spec"]
