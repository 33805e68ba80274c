"""check_potential passes on right potentials and catches each kind of wrong one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from chggen_kit.errors import InputError, PluginError
from chggen_kit.interfaces import Evaluation, Potential, PotentialInfo
from chggen_kit.state import CrystalBatch
from chggen_kit.testing.pair_potential import PairPotential
from chggen_kit.testing.potential import check_potential
from chggen_kit.testing.report import ConformanceReport, LawResult


class Wrapped(Potential):
    """The pair potential with one thing wrong, in a subclass."""

    def __init__(self) -> None:
        self.right = PairPotential(elements=frozenset(range(1, 100)))

    @property
    def info(self) -> PotentialInfo:
        return self.right.info

    def evaluate(self, batch: CrystalBatch) -> Evaluation:
        return self.right.evaluate(batch)


class StressSign(Wrapped):
    def evaluate(self, batch: CrystalBatch) -> Evaluation:
        result = super().evaluate(batch)
        return replace(result, stresses=-result.stresses)


class StressInGPa(Wrapped):
    def evaluate(self, batch: CrystalBatch) -> Evaluation:
        result = super().evaluate(batch)
        return replace(result, stresses=160.21766 * result.stresses)


class ForceSign(Wrapped):
    def evaluate(self, batch: CrystalBatch) -> Evaluation:
        result = super().evaluate(batch)
        return replace(result, forces=-result.forces)


class EnergyPerAtom(Wrapped):
    def evaluate(self, batch: CrystalBatch) -> Evaluation:
        result = super().evaluate(batch)
        return replace(result, energies=result.energies / batch.num_atoms)


class BatchCoupling(Wrapped):
    def evaluate(self, batch: CrystalBatch) -> Evaluation:
        result = super().evaluate(batch)
        return replace(result, energies=result.energies + 0.01 * (batch.n_crystals - 1))


class MutatesInput(Wrapped):
    def evaluate(self, batch: CrystalBatch) -> Evaluation:
        result = super().evaluate(batch)
        batch.frac_coords.sub_(0.25)
        return result


class Remembers(Wrapped):
    calls = 0

    def evaluate(self, batch: CrystalBatch) -> Evaluation:
        self.calls += 1
        result = super().evaluate(batch)
        return replace(result, energies=result.energies + 0.05 * self.calls)


class NotDetached(Wrapped):
    def evaluate(self, batch: CrystalBatch) -> Evaluation:
        result = super().evaluate(batch)
        return replace(result, energies=result.energies.requires_grad_())


class SinglePrecision(Wrapped):
    def evaluate(self, batch: CrystalBatch) -> Evaluation:
        result = super().evaluate(batch)
        return replace(result, forces=result.forces.float())


class ExternalField(Wrapped):
    """An energy that depends on where the cell's origin is, with the right forces for it."""

    def evaluate(self, batch: CrystalBatch) -> Evaluation:
        result = super().evaluate(batch)
        phase = 2 * torch.pi * batch.frac_coords[:, 0]
        extra = torch.zeros_like(result.energies).index_add_(0, batch.crystal_index, 0.1 * torch.cos(phase))
        return replace(result, energies=result.energies + extra)


class LeftHandedVolume(Wrapped):
    def evaluate(self, batch: CrystalBatch) -> Evaluation:
        result = super().evaluate(batch)
        handedness = torch.linalg.det(batch.lattice).sign()
        return replace(result, stresses=result.stresses * handedness[:, None, None])


class Declared(LeftHandedVolume):
    @property
    def info(self) -> PotentialInfo:
        return replace(super().info, mirror_invariant=False)


class NanSpreads(Wrapped):
    def evaluate(self, batch: CrystalBatch) -> Evaluation:
        result = super().evaluate(batch)
        return replace(result, energies=result.energies + 0 * result.energies.sum())


class GuessesElements(Wrapped):
    def evaluate(self, batch: CrystalBatch) -> Evaluation:
        known = batch.species.clamp(max=99)
        return self.right.evaluate(replace(batch, species=known))


class AxialForces(Wrapped):
    """Turns its forces the wrong way round with the cell: right in the frame in which it was written."""

    def evaluate(self, batch: CrystalBatch) -> Evaluation:
        result = super().evaluate(batch)
        return replace(result, forces=result.forces + torch.tensor([0.05, 0.0, 0.0], dtype=torch.float64))


class OrderMatters(Wrapped):
    def evaluate(self, batch: CrystalBatch) -> Evaluation:
        result = super().evaluate(batch)
        first = batch.species[batch.offsets[:-1]].double()
        return replace(result, energies=result.energies + 0.01 * first)


class NearestImages(Wrapped):
    """An energy of the cell's own vectors, as sums over the 27 nearest images have it in skewed cells."""

    def evaluate(self, batch: CrystalBatch) -> Evaluation:
        result = super().evaluate(batch)
        return replace(result, energies=result.energies + 0.01 * batch.lattice.norm(dim=2).sum(dim=1))


class Anonymous(Wrapped):
    @property
    def info(self) -> PotentialInfo:
        return replace(super().info, energy_frame="")


class Dropout(Wrapped):
    def evaluate(self, batch: CrystalBatch) -> Evaluation:
        torch.rand(1)
        return super().evaluate(batch)


class Raises(Wrapped):
    def evaluate(self, batch: CrystalBatch) -> Evaluation:
        raise RuntimeError(f"out of luck for {batch.n_crystals}")


def test_a_right_potential_passes() -> None:
    report = check_potential(PairPotential())
    assert report.ok, report.table()
    report.raise_if_failed()
    assert len(report) == 16


@pytest.mark.parametrize(
    ("broken", "law"),
    [
        (StressSign, "stress-is-strain-derivative"),
        (StressInGPa, "stress-is-strain-derivative"),
        (ForceSign, "forces-are-minus-gradient"),
        (EnergyPerAtom, "energies-extensive"),
        (BatchCoupling, "single-equals-batched"),
        (MutatesInput, "inputs-not-mutated"),
        (Remembers, "repeatable"),
        (NotDetached, "outputs"),
        (SinglePrecision, "outputs"),
        (ExternalField, "translation"),
        (LeftHandedVolume, "reflection"),
        (NanSpreads, "broken-crystal-alone"),
        (GuessesElements, "unknown-element"),
        (AxialForces, "rotation"),
        (OrderMatters, "permutation"),
        (NearestImages, "cell-choice"),
        (Anonymous, "info-complete"),
        (Dropout, "global-random-state"),
    ],
)
def test_each_fault_is_caught(broken: type[Potential], law: str) -> None:
    report = check_potential(broken())
    assert law in {result.law for result in report.failures}, report.table()
    with pytest.raises(PluginError, match=law):
        report.raise_if_failed()


def test_mirror_images_may_differ_where_that_is_declared() -> None:
    report = check_potential(Declared())
    assert {result.law for result in report.failures}.isdisjoint({"reflection"}), report.table()


def test_errors_of_the_potential_are_findings() -> None:
    report = check_potential(Raises())
    assert not report.ok
    assert "out of luck" in report.table()


def test_too_few_crystals() -> None:
    with pytest.raises(InputError, match="batch of your own"):
        check_potential(PairPotential(elements=frozenset({2})))
    with pytest.raises(InputError, match="at least two crystals"):
        check_potential(PairPotential(elements=frozenset({29})))


def test_a_report_without_laws_is_not_a_pass() -> None:
    report = ConformanceReport("nothing", ())
    assert not report.ok
    with pytest.raises(PluginError, match="no law was checked"):
        report.raise_if_failed()
    assert not LawResult.at_most("law", float("nan"), 1.0).passed
