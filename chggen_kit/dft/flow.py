"""The same relaxations as an atomate2 flow, for those who run them through jobflow."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from pymatgen.core import Structure

from chggen_kit.errors import InputError

PACKAGES = ("atomate2", "jobflow")


@dataclass(frozen=True)
class FlowInput:
    """One relaxation of a flow.

    Attributes:
        name: of its sub-flow; the name of its folder of inputs.
        structure: what is relaxed.
        incar: settings on top of MPScanRelaxSet.
        metadata: provenance, stored with its jobs; plain JSON.
    """

    name: str
    structure: Structure
    incar: Mapping[str, float]
    metadata: Mapping[str, Any]


def check_installed() -> None:
    """Refuse to go on without atomate2.

    Raises:
        InputError: naming the package that is missing and how to install it.
    """
    missing = [package for package in PACKAGES if find_spec(package) is None]
    if missing:
        raise InputError(
            f"A flow needs the package {' and '.join(missing)}, which is not installed. Install it with: "
            "pip install 'chggen-kit[atomate2]'. The VASP inputs themselves need no flow: leave --flow out."
        )


def flow_json(inputs: Sequence[FlowInput], name: str) -> str:
    """A jobflow `Flow` as JSON, with one MPScan double relaxation (PBEsol, then r2SCAN) for each of `inputs`.

    `jobflow.Flow.from_dict(json.load(...))`, or monty's `loadfn`, reads it back. The k-points, the cutoff and the
    electronic convergence hold for both relaxations; the limit on forces for the second.

    Raises:
        InputError: without the extra `atomate2`.
    """
    check_installed()
    from atomate2.vasp.flows.mp import MPMetaGGADoubleRelaxMaker
    from jobflow import Flow
    from monty.json import MontyEncoder

    parts = []
    for one in inputs:
        maker = MPMetaGGADoubleRelaxMaker(name=one.name)
        both = {key: value for key, value in one.incar.items() if key != "EDIFFG"}
        maker.relax_maker1.input_set_generator.user_incar_settings |= both
        maker.relax_maker2.input_set_generator.user_incar_settings |= one.incar
        part = maker.make(one.structure)
        part.update_metadata(dict(one.metadata))
        parts.append(part)
    return json.dumps(Flow(parts, name=name), cls=MontyEncoder, indent=1) + "\n"
