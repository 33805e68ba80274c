"""`predictor-corrector`: unconditional sampling (Song et al., arXiv:2011.13456; the paper's first listing)."""

from __future__ import annotations

from dataclasses import replace

from chggen_kit.errors import InputError
from chggen_kit.interfaces.sampler import Progress, Sampler, SampleResult, SamplingTask
from chggen_kit.interfaces.score_model import ScoreModel
from chggen_kit.samplers.loop import run_loop
from chggen_kit.samplers.options import SamplerOptions, resolve


class PredictorCorrector(Sampler):
    """One descent from the prior to the clean level, with Langevin correctors; no coordinates are known.

    A cell or species that are given to a model that would draw them are imposed with each level's noise.
    """

    def __init__(self, options: SamplerOptions) -> None:
        self.options = options

    def sample(
        self, model: ScoreModel | None, task: SamplingTask, *, seed: int, progress: Progress | None = None
    ) -> SampleResult:
        if model is None:
            raise InputError("The predictor-corrector sampler needs a score model.")
        if model.processes["frac_coords"].moves and bool(task.known.frac_coords.any()):
            raise InputError(
                "The predictor-corrector sampler generates all atoms, but some values of 'frac_coords' are known. "
                "Use an inpainting sampler: repaint, replace or clean-host."
            )
        if self.options.passes not in (None, 1):
            raise InputError("`passes` is an option of the sampler repaint; this one makes a single pass.")
        resolved = replace(resolve(self.options, model.capabilities.sampling_defaults), passes=1)
        return run_loop(model, task, resolved, "noised", seed, progress)


def build(options: SamplerOptions) -> PredictorCorrector:
    """Factory for the plug-in manager."""
    return PredictorCorrector(options)
