"""The public conformance kit: what a plug-in runs against itself."""

from chggen_kit.testing.potential import check_potential
from chggen_kit.testing.report import ConformanceReport, LawResult
from chggen_kit.testing.score_model import check_score_model

__all__ = ["ConformanceReport", "LawResult", "check_potential", "check_score_model"]
