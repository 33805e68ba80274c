"""`predictor-corrector`: unconditional sampling (Song et al., arXiv:2011.13456; the paper's first listing)."""

from __future__ import annotations

from dataclasses import replace

from chggen_kit.errors import InputError
from chggen_kit.interfaces.sampler import Progress, Sampler, SampleResult, SamplingTask
from chggen_kit.interfaces.score_model import ScoreModel
from chggen_kit.samplers.loop import run_loop
from chggen_kit.samplers.options import SamplerOptions, resolve
from chggen_kit.state import FIELD_NAMES


class PredictorCorrector(Sampler):
    """One descent from the prior to the clean level, with Langevin correctors; nothing of a moving field is known."""

    def __init__(self, options: SamplerOptions) -> None:
        self.options = options

    def sample(
        self, model: ScoreModel | None, task: SamplingTask, *, seed: int, progress: Progress | None = None
    ) -> SampleResult:
        if model is None:
            raise InputError("The predictor-corrector sampler needs a score model.")
        for name in FIELD_NAMES:
            if model.processes[name].moves and bool(getattr(task.known, name).any()):
                raise InputError(
                    f"The predictor-corrector sampler generates everything, but some values of {name!r} are known. "
                    "Use an inpainting sampler: repaint, replace or clean-host."
                )
        if self.options.passes not in (None, 1):
            raise InputError("`passes` is an option of the sampler repaint; this one makes a single pass.")
        resolved = replace(resolve(self.options, model.capabilities.sampling_defaults), passes=1)
        return run_loop(model, task, resolved, "noised", seed, progress)


def build(options: SamplerOptions) -> PredictorCorrector:
    """Factory for the plug-in manager."""
    return PredictorCorrector(options)
