"""The contracts between the parts of the kit."""

from chggen_kit.interfaces.executor import Ended, Executor, Fate
from chggen_kit.interfaces.potential import Evaluation, Potential, PotentialInfo
from chggen_kit.interfaces.processes import FieldDraws, KernelOptions, NoiseMetric, NoiseProcess, Step
from chggen_kit.interfaces.refiner import HostRefiner, RefinedHost
from chggen_kit.interfaces.relaxer import Relaxation, Relaxer
from chggen_kit.interfaces.sampler import CrystalId, Progress, Sampler, SampleResult, SamplingTask
from chggen_kit.interfaces.score_model import Capabilities, ScoreModel

__all__ = [
    "Capabilities",
    "CrystalId",
    "Ended",
    "Evaluation",
    "Executor",
    "Fate",
    "FieldDraws",
    "HostRefiner",
    "KernelOptions",
    "NoiseMetric",
    "NoiseProcess",
    "Potential",
    "PotentialInfo",
    "Progress",
    "RefinedHost",
    "Relaxation",
    "Relaxer",
    "SampleResult",
    "Sampler",
    "SamplingTask",
    "ScoreModel",
    "Step",
]
