"""Second opinions: the best structures of a run, judged by other potentials, each in its own energy frame."""

from chggen_kit.judging.judges import JudgeSettings
from chggen_kit.judging.result import Judgement
from chggen_kit.judging.run import judge, judge_run

__all__ = ["JudgeSettings", "Judgement", "judge", "judge_run"]
