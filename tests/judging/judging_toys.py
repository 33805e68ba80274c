"""Potentials that judge in tests: pair potentials of other shapes and frames, which count what they are asked."""

from __future__ import annotations

import sys
from pathlib import Path

from pydantic import BaseModel, ConfigDict
from pymatgen.core import Structure

from chggen_kit import hookimpl
from chggen_kit.interfaces import Evaluation, PotentialInfo
from chggen_kit.plugins import Registry
from chggen_kit.plugins.hookspecs import Register
from chggen_kit.state import CrystalBatch
from chggen_kit.workflow.config import InpaintConfig, build_config
from chggen_kit.workflow.pipeline import run_inpaint
from chggen_kit.workflow.records import StructureData
from chggen_kit.workflow.result import RunResult

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow"))
from workflow_toys import PairPotential, toy_registry


class OtherOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    scale: float = 0.5
    shift: float = -3.0
    frame: str = "other"
    elements: list[int] = list(range(1, 90))
    weights: str = "a"


class OtherPotential(PairPotential):
    """The pairs of the run, with another depth and another zero of energy."""

    evaluated = 0
    fails_after: int | None = None

    def __init__(self, options: OtherOptions) -> None:
        self._options = options

    @property
    def info(self) -> PotentialInfo:
        options = self._options
        return PotentialInfo(
            f"other-{options.weights}", options.frame, frozenset(options.elements), self.CUTOFF, 10_000, "MIT"
        )

    def evaluate(self, batch: CrystalBatch) -> Evaluation:
        cls = type(self)
        if cls.fails_after is not None and cls.evaluated >= cls.fails_after:
            raise KeyboardInterrupt
        cls.evaluated += 1
        plain = super().evaluate(batch)
        options = self._options
        return Evaluation(
            options.scale * plain.energies + options.shift * batch.num_atoms,
            options.scale * plain.forces,
            options.scale * plain.stresses,
        )


def build_other(options: OtherOptions) -> OtherPotential:
    return OtherPotential(options)


@hookimpl
def chggen_kit_register_potentials(register: Register) -> None:
    register("other", build_other, options=OtherOptions, summary="toy")


def judging_registry() -> Registry:
    import judging_toys

    return toy_registry([judging_toys])


def chloride_run(out: Path, registry: Registry, **values: object) -> RunResult:
    """Sodium put into a lattice of chlorine, relaxed with the toy potential `pairs`."""
    host = Structure([[5.0, 0.1, 0], [0, 5.5, 0.2], [0.3, 0, 6]], ["Cl", "Cl"], [[0.1, 0.2, 0.3], [0.55, 0.6, 0.8]])
    settings = {
        "host": StructureData.of(host),
        "guest_counts": {"Na": 2},
        "n": 5,
        "potential": "pairs",
        "sampler": "random",
        "backend": "sites",
        "max_steps": 60,
        "micro_batch_atoms": 8,
        **values,
    }
    return run_inpaint(build_config(InpaintConfig, settings, registry), out, registry=registry)
