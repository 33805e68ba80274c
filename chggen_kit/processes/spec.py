"""Processes to and from plain data, so that a model in another environment can describe its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chggen_kit.errors import PluginError, unknown_name
from chggen_kit.interfaces.processes import NoiseProcess
from chggen_kit.processes.categorical import AbsorbingCategorical
from chggen_kit.processes.fixed import Fixed
from chggen_kit.processes.lattice_vp import LatticeVP
from chggen_kit.processes.torus_ve import TorusVE
from chggen_kit.processes.torus_ve_fractional import FractionalTorusTable
from chggen_kit.processes.torus_ve_num_atoms import NumAtomsTorusVE
from chggen_kit.processes.vp_matrix import VPMatrix

_BUILT_IN: tuple[type[NoiseProcess], ...] = (
    Fixed,
    TorusVE,
    FractionalTorusTable,
    NumAtomsTorusVE,
    VPMatrix,
    LatticeVP,
    AbsorbingCategorical,
)
_KINDS = {cls.kind: cls for cls in _BUILT_IN}


def to_spec(process: NoiseProcess) -> dict[str, Any]:
    """Kind and parameters of `process`."""
    return {"kind": process.kind, **process.parameters()}


def from_spec(spec: Mapping[str, Any]) -> NoiseProcess:
    """The process that `to_spec` described.

    Raises:
        PluginError: for an unknown kind or parameters that do not fit it.
    """
    kind = str(spec.get("kind"))
    if kind not in _KINDS:
        raise PluginError(unknown_name("noise process", kind, _KINDS))
    try:
        return _KINDS[kind](**{name: value for name, value in spec.items() if name != "kind"})
    except TypeError as error:
        raise PluginError(f"Noise process {kind!r} cannot be built from {dict(spec)}: {error}.") from error
