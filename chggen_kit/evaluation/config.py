"""Settings of `chggen evaluate`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from chggen_kit.evaluation.csp_references import Cells
from chggen_kit.workflow.config import PluginChoice, RelaxationSettings


class EvaluateConfig(RelaxationSettings):
    """Everything that the result of the evaluations depends on, but the data.

    Attributes:
        seed: of the choice of rows and of all draws.
        backend: the score model.
        checkpoint: weights of the score model; None for its own.
        split: rows of the data that are used.
        max_atoms: of the largest structure that denoising and recovery take.
        threads: of torch; None for its own choice, which is recorded and kept when the run goes on.
        rows: denoising: crystals.
        levels: denoising: noise levels, in the model's unit of time; None for the standard ones.
        compounds: recovery: how many.
        samples: recovery: drawn by the model, and by each baseline, for every compound.
        sampler: recovery: draws the guests; its defaults are the model's.
        relax: recovery: whether samples are relaxed; if not, they are compared as drawn.
        baselines: recovery: samplers without a model to compare with.
        energy_tolerance_eV: recovery: eV/atom by which a sample must lie lower than the known structure to count as
            lower.
        micro_batch_atoms: recovery, csp: atoms drawn together (at least one compound); part of the result, because
            sums of floating point numbers depend on it in the last bits.
        references: csp: structures of a formula of their own, beside the tagged benchmark; 0 takes every row as it is.
        polymorphs: csp: formulas with several structures, all of which are taken.
        csp_max_atoms: csp: of the largest structure, the tagged benchmark's apart.
        per_reference: csp: predictions by each method.
        cells: csp: where cells come from; None for every way that the model can go.
        unconditional_sampler: csp: draws whole structures; its defaults are the model's.
        csp_baselines: csp: samplers without a model to compare with.
        csp_relax: csp: whether relaxed predictions are scored as well.
    """

    seed: int = Field(default=0, ge=0)
    backend: PluginChoice
    checkpoint: Path | None = None
    split: str = Field(default="test", min_length=1)
    max_atoms: int = Field(default=20, ge=1)
    threads: int | None = Field(default=None, ge=1)
    rows: int = Field(default=512, ge=1)
    levels: tuple[float, ...] | None = None
    compounds: int = Field(default=200, ge=1)
    samples: int = Field(default=10, ge=1)
    sampler: PluginChoice = PluginChoice(name="repaint")
    relax: bool = True
    baselines: tuple[str, ...] = ("random", "voronoi")
    energy_tolerance_eV: float = Field(default=0.001, ge=0, allow_inf_nan=False)
    micro_batch_atoms: int = Field(default=256, ge=1)
    references: int = Field(default=100, ge=0)
    polymorphs: int = Field(default=20, ge=0)
    csp_max_atoms: int = Field(default=12, ge=1)
    per_reference: int = Field(default=20, ge=1)
    cells: tuple[Cells, ...] | None = Field(default=None, min_length=1)
    unconditional_sampler: PluginChoice = PluginChoice(name="predictor-corrector")
    csp_baselines: tuple[str, ...] = ("random",)
    csp_relax: bool = False
