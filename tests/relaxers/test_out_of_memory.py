"""Memory that runs out: batches are halved, nothing is lost, and only what does not fit alone ends."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from pymatgen.core import Structure

from chggen_kit.interfaces import Evaluation, Relaxation
from chggen_kit.io import to_structures
from chggen_kit.relaxers.ase_reference import AseFireRelaxer
from chggen_kit.relaxers.fire import FireOptions, FireRelaxer
from chggen_kit.relaxers.memory import is_out_of_memory
from chggen_kit.state import CrystalBatch
from chggen_kit.testing.crystals import caesium_chloride, disturbed, face_centred, fluorite, rocksalt
from chggen_kit.testing.pair_potential import PairPotential

ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("CUDA error: out of memory"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:113] err == 0. DefaultCPUAllocator: can't allocate memory"),
    MemoryError(),
]


class SmallMemory(PairPotential):
    """Holds at most `limit` atoms; from the evaluation `since` on, where a limit sets in late."""

    def __init__(self, limit: int, error: Exception = ERRORS[0], since: int = 0) -> None:
        super().__init__()
        self.limit, self.error, self.since = limit, error, since
        self.sizes: list[int] = []

    def evaluate(self, batch: CrystalBatch) -> Evaluation:
        self.sizes.append(batch.n_atoms)
        if batch.n_atoms > self.limit and len(self.sizes) > self.since:
            raise self.error
        return super().evaluate(batch)


def crystals(count: int = 8) -> list[Structure]:
    kinds = [rocksalt(11, 17, 5.0), face_centred(18, 3.7), caesium_chloride(55, 17, 2.9)]
    batch = CrystalBatch.concatenate([kinds[i % 3] for i in range(count)])
    return to_structures(disturbed(batch, rattle_A=0.1, strain=0.03, seed=1))


def assert_same(outcomes: list[Relaxation], expected: list[Relaxation]) -> None:
    assert [(o.reason, o.steps) for o in outcomes] == [(o.reason, o.steps) for o in expected]
    for mine, other in zip(outcomes, expected, strict=True):
        assert mine.energy == pytest.approx(other.energy, abs=1e-8)
        assert mine.initial_energy == pytest.approx(other.initial_energy, abs=1e-8)
        np.testing.assert_allclose(mine.structure.frac_coords, other.structure.frac_coords, atol=1e-8)


@pytest.mark.parametrize("error", ERRORS, ids=["cuda", "cuda-runtime", "cpu-allocator", "python"])
def test_batches_are_halved_and_results_stay_the_same(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    structures = crystals()
    roomy = FireRelaxer(PairPotential()).relax(structures, fmax=0.1)
    potential = SmallMemory(14, error)
    with caplog.at_level(logging.WARNING):
        tight = FireRelaxer(potential).relax(structures, fmax=0.1)
    assert_same(tight, roomy)
    assert {o.reason for o in tight} == {"converged"}
    assert potential.sizes[:3] == [40, 14, 14]  # at most 20 after the first failure, into which three fit
    assert sum(size > 14 for size in potential.sizes) == 2
    assert any("Out of memory with 40 atoms in 8 structures" in message for message in caplog.messages)


def test_structures_that_have_to_wait_keep_their_state() -> None:
    structures = crystals()
    roomy = FireRelaxer(PairPotential()).relax(structures, fmax=0.02)
    potential = SmallMemory(14, since=4)
    assert_same(FireRelaxer(potential, FireOptions(trajectory_every=1)).relax(structures, fmax=0.02), roomy)
    assert potential.sizes[:6] == [40, 40, 40, 40, 40, 14]


def test_a_structure_that_does_not_fit_alone_ends_and_harms_no_other() -> None:
    structures = crystals(5)
    large = to_structures(fluorite(20, 9, 5.46))[0]
    structures.insert(2, large)
    outcomes = FireRelaxer(SmallMemory(10)).relax(structures, fmax=0.05)
    assert [o.reason for o in outcomes] == ["converged"] * 2 + ["out-of-memory"] + ["converged"] * 3
    assert not outcomes[2].converged
    assert outcomes[2].structure == large
    assert np.isnan(outcomes[2].energy)


def test_a_structure_whose_memory_runs_out_later_keeps_its_last_state() -> None:
    (start,) = to_structures(disturbed(rocksalt(11, 17, 5.0), rattle_A=0.1, strain=0.0, seed=3))
    expected = FireRelaxer(PairPotential()).relax([start], max_steps=2, fmax=1e-6)[0]
    for relaxer in (FireRelaxer(SmallMemory(1, since=3)), AseFireRelaxer(SmallMemory(1, since=3))):
        (outcome,) = relaxer.relax([start], fmax=1e-6)
        assert (outcome.reason, outcome.steps) == ("out-of-memory", 2)
        assert outcome.energy == pytest.approx(expected.energy, abs=1e-8)


@pytest.mark.parametrize("relaxer", [FireRelaxer, AseFireRelaxer])
def test_other_errors_pass(relaxer: type[FireRelaxer | AseFireRelaxer]) -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        relaxer(SmallMemory(1, RuntimeError("shapes do not match"))).relax(crystals(1))


def test_what_counts_as_lack_of_memory() -> None:
    assert all(is_out_of_memory(error) for error in ERRORS)
    assert is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("out of memory"))
