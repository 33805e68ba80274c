"""The checks as classes to inherit from in a test suite of one's own (for pytest, or any runner of `test_` methods).

    from chggen_kit.testing.mixins import PotentialConformance

    class TestMyPotential(PotentialConformance):
        def make_potential(self):
            return MyPotential()

Each brings one test, `test_keeps_every_law`, whose failure shows the whole table. What a check can be told beyond its
subject (crystals, tolerances) are attributes and methods of the class.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection

from chggen_kit.interfaces import HostRefiner, Potential, Relaxer, Sampler, ScoreModel
from chggen_kit.state import CrystalBatch
from chggen_kit.testing.host_refiner import check_host_refiner
from chggen_kit.testing.potential import PotentialTolerances, check_potential
from chggen_kit.testing.relaxer import check_relaxer
from chggen_kit.testing.report import ConformanceReport
from chggen_kit.testing.sampler import check_sampler
from chggen_kit.testing.score_model import check_score_model


class Conformance(ABC):
    """Common part: one report, one test."""

    only: Collection[str] | None = None
    """Names of the laws to measure; all by default."""

    @abstractmethod
    def report(self) -> ConformanceReport:
        """What the check measured."""

    def test_keeps_every_law(self) -> None:
        """Fail with the table of all laws when one does not hold.

        Raises:
            PluginError: with that table.
        """
        self.report().raise_if_failed()


class ScoreModelConformance(Conformance):
    """Runs `check_score_model` on `make_score_model()`."""

    @abstractmethod
    def make_score_model(self) -> ScoreModel:
        """The score model to check."""

    def crystals(self) -> CrystalBatch | None:
        """Crystals in general position; None for the kit's own."""
        return None

    def known_crystals(self) -> CrystalBatch | None:
        """Clean crystals that the model should know, for the sign and size of its scores; None to leave that out."""
        return None

    def symmetric_crystals(self) -> CrystalBatch | None:
        """Crystals with exact symmetry; None for the kit's own."""
        return None

    def report(self) -> ConformanceReport:
        return check_score_model(
            self.make_score_model(),
            self.crystals(),
            known_crystals=self.known_crystals(),
            symmetric_crystals=self.symmetric_crystals(),
            only=self.only,
        )


class SamplerConformance(Conformance):
    """Runs `check_sampler` on `make_sampler()`."""

    @abstractmethod
    def make_sampler(self) -> Sampler:
        """The sampler to check."""

    def report(self) -> ConformanceReport:
        return check_sampler(self.make_sampler(), only=self.only)


class HostRefinerConformance(Conformance):
    """Runs `check_host_refiner` on `make_host_refiner()`."""

    @abstractmethod
    def make_host_refiner(self) -> HostRefiner:
        """The host refiner to check."""

    def report(self) -> ConformanceReport:
        return check_host_refiner(self.make_host_refiner(), only=self.only)


class RelaxerConformance(Conformance):
    """Runs `check_relaxer` on `make_relaxer`."""

    @abstractmethod
    def make_relaxer(self, potential: Potential) -> Relaxer:
        """The relaxer to check, over `potential`."""

    def report(self) -> ConformanceReport:
        return check_relaxer(self.make_relaxer, only=self.only)


class PotentialConformance(Conformance):
    """Runs `check_potential` on `make_potential()`."""

    tolerances: PotentialTolerances | None = None
    """Largest deviations that pass; None for the kit's own."""

    @abstractmethod
    def make_potential(self) -> Potential:
        """The potential to check."""

    def crystals(self) -> CrystalBatch | None:
        """Crystals out of equilibrium; None for the kit's own."""
        return None

    def report(self) -> ConformanceReport:
        return check_potential(self.make_potential(), self.crystals(), self.tolerances, only=self.only)
