"""The public conformance kit: what a plug-in runs against itself.

    from chggen_kit.testing import check_potential

    def test_my_potential():
        check_potential(MyPotential()).raise_if_failed()

One check a kind of plug-in; `chggen_kit.testing.mixins` has them as classes to inherit from, and the command `chggen
plugins check NAME` runs them on what is installed. docs/add-a-plugin.md lists the laws.
"""

from chggen_kit.testing.host_refiner import check_host_refiner
from chggen_kit.testing.potential import check_potential
from chggen_kit.testing.relaxer import check_relaxer
from chggen_kit.testing.report import ConformanceReport, LawResult
from chggen_kit.testing.sampler import check_sampler
from chggen_kit.testing.score_model import check_score_model

__all__ = [
    "ConformanceReport",
    "LawResult",
    "check_host_refiner",
    "check_potential",
    "check_relaxer",
    "check_sampler",
    "check_score_model",
]
