"""`repaint`, `replace` and `clean-host`: three ways to impose what is known, over the one loop.

None of them samples the exact conditional in general. Where known and generated parts are independent under the model
all are exact up to discretisation; otherwise `replace` and `repaint` are biased, and the bias of `repaint` falls with
the number of passes but never vanishes (docs/samplers.md has measurements).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from chggen_kit.errors import InputError
from chggen_kit.interfaces.sampler import Progress, Sampler, SampleResult, SamplingTask
from chggen_kit.interfaces.score_model import ScoreModel
from chggen_kit.samplers.loop import HostPolicy, run_loop
from chggen_kit.samplers.options import SamplerOptions, resolve


@dataclass(frozen=True)
class Inpainter(Sampler):
    """Imposes the known values at every level.

    Attributes:
        options: sampler options.
        host: `noised` imposes the known values with the level's noise, `clean` without.
        resample: whether to jump back and resample (Lugmayr et al., arXiv:2201.09865); else one pass.
    """

    options: SamplerOptions
    host: HostPolicy
    resample: bool

    def sample(
        self, model: ScoreModel | None, task: SamplingTask, *, seed: int, progress: Progress | None = None
    ) -> SampleResult:
        if model is None:
            raise InputError("Inpainting needs a score model.")
        resolved = resolve(self.options, model.capabilities.sampling_defaults)
        if not self.resample:
            if self.options.passes not in (None, 1):
                raise InputError("`passes` is an option of the sampler repaint; this one makes a single pass.")
            resolved = replace(resolved, passes=1)
        return run_loop(model, task, resolved, self.host, seed, progress)


def build_repaint(options: SamplerOptions) -> Inpainter:
    """RePaint: noised host, resampling."""
    return Inpainter(options, "noised", resample=True)


def build_replace(options: SamplerOptions) -> Inpainter:
    """Replacement: noised host, a single pass."""
    return Inpainter(options, "noised", resample=False)


def build_clean_host(options: SamplerOptions) -> Inpainter:
    """The known part clean at every level, a single pass."""
    return Inpainter(options, "clean", resample=False)
