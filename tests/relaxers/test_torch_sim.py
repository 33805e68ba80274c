"""The adapter over torch-sim: its results beside those of the kit's own FIRE, outcomes, refusals."""

from __future__ import annotations

import importlib.util
import logging

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure

from chggen_kit.errors import InputError
from chggen_kit.interfaces import Evaluation
from chggen_kit.io import to_structures
from chggen_kit.relaxers.fire import FireRelaxer
from chggen_kit.relaxers.options import TorchSimOptions
from chggen_kit.state import CrystalBatch
from chggen_kit.testing.crystals import caesium_chloride, disturbed, face_centred, rocksalt
from chggen_kit.testing.pair_potential import PairPotential

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("torch_sim") is None,
    reason="torch-sim is not installed here: pip install 'chggen-kit[torch-sim]'",
)
if importlib.util.find_spec("torch_sim") is not None:
    from chggen_kit.relaxers.torch_sim_adapter import TorchSimRelaxer

MEV_PER_ATOM = 1e-3


class SmallMemory(PairPotential):
    """Holds at most `limit` atoms; has no number for xenon."""

    def __init__(self, limit: int = 1000) -> None:
        super().__init__()
        self.limit = limit
        self.largest = 0

    def evaluate(self, batch: CrystalBatch) -> Evaluation:
        self.largest = max(self.largest, batch.n_atoms)
        if batch.n_atoms > self.limit:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        result = super().evaluate(batch)
        index = torch.unique(batch.crystal_index[batch.species == 54])
        result.energies[index] = torch.nan
        result.forces[torch.isin(batch.crystal_index, index)] = torch.nan
        result.stresses[index] = torch.nan
        return result


def crystals(count: int = 6) -> list[Structure]:
    kinds = [rocksalt(11, 17, 5.0), face_centred(18, 3.7), caesium_chloride(55, 17, 2.9)]
    batch = CrystalBatch.concatenate([kinds[i % 3] for i in range(count)])
    return to_structures(disturbed(batch, rattle_A=0.1, strain=0.03, seed=1))


@pytest.mark.parametrize("cell", ["free", "fixed"])
def test_agrees_with_the_kits_own(cell: str) -> None:
    structures = crystals()
    # A left-handed description of a crystal is the same crystal.
    structures[0] = Structure(
        Lattice(structures[0].lattice.matrix[[1, 0, 2]]), structures[0].species, structures[0].frac_coords[:, [1, 0, 2]]
    )
    theirs = TorchSimRelaxer(PairPotential(), TorchSimOptions(max_atoms=16)).relax(structures, cell=cell, fmax=0.01)
    ours = FireRelaxer(PairPotential()).relax(structures, cell=cell, fmax=0.01)
    assert [one.reason for one in theirs] == ["converged"] * len(structures)
    for mine, other, start in zip(ours, theirs, structures, strict=True):
        assert other.initial_energy == pytest.approx(mine.initial_energy, abs=1e-9)
        assert abs(mine.energy - other.energy) / len(start) < MEV_PER_ATOM
        assert other.steps > 0
        assert other.max_force < 0.0101
        assert np.sign(np.linalg.det(other.structure.lattice.matrix)) == np.sign(np.linalg.det(start.lattice.matrix))
        if cell == "fixed":
            np.testing.assert_allclose(other.structure.lattice.matrix, start.lattice.matrix, atol=1e-12)


def test_alone_it_takes_the_same_steps() -> None:
    for structure in crystals(3):
        (mine,) = FireRelaxer(PairPotential()).relax([structure], fmax=0.05)
        (other,) = TorchSimRelaxer(PairPotential()).relax([structure], fmax=0.05)
        assert (other.reason, abs(other.steps - mine.steps) <= 1) == ("converged", True)
        np.testing.assert_allclose(other.structure.lattice.matrix, mine.structure.lattice.matrix, atol=1e-3)


def test_outcomes_and_their_order() -> None:
    good = crystals(3)
    cell = Lattice.cubic(4)
    burst = Structure(Lattice.cubic(2.2), ["Ar"] * 4, [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    strange = Structure(cell, ["Xe", "Xe"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    close = Structure(cell, ["Ar", "Ar"], [[0, 0, 0], [0.01, 0, 0]])
    outcomes = TorchSimRelaxer(SmallMemory()).relax([burst, good[0], strange, good[1], close, good[2]], fmax=0.05)
    assert [one.reason for one in outcomes] == [
        "exploded",
        "converged",
        "non-finite",
        "converged",
        "overlap",
        "converged",
    ]
    clean = TorchSimRelaxer(SmallMemory()).relax(good, fmax=0.05)
    for beside, alone in zip(outcomes[1::2], clean, strict=True):
        assert abs(beside.energy - alone.energy) / len(alone.structure) < MEV_PER_ATOM
    (short,) = TorchSimRelaxer(SmallMemory()).relax(good[:1], fmax=1e-4, max_steps=3)
    assert (short.reason, short.steps) == ("max-steps", 3)


def test_memory_that_runs_out() -> None:
    structures = crystals(4)
    tight = TorchSimRelaxer(SmallMemory(8)).relax(structures, fmax=0.05)
    roomy = TorchSimRelaxer(SmallMemory()).relax(structures, fmax=0.05)
    assert [one.reason for one in tight] == ["converged"] * 4
    for mine, other in zip(tight, roomy, strict=True):
        assert abs(mine.energy - other.energy) / len(mine.structure) < MEV_PER_ATOM
    none = TorchSimRelaxer(SmallMemory(5)).relax(structures, fmax=0.05)
    assert [one.reason for one in none] == [
        "out-of-memory",
        "converged",
        "converged",
        "out-of-memory",
    ]


def test_what_it_cannot_keep_is_refused() -> None:
    structures = crystals(1)
    with pytest.raises(InputError, match="neither fixed atoms nor a symmetry"):
        TorchSimRelaxer(PairPotential()).relax(structures, fixed=[[True] * len(structures[0])])
    assert TorchSimRelaxer(PairPotential()).relax([], symmetry=[]) == []


def test_the_root_logger_is_left_alone() -> None:
    assert not any("torchsim" in str(getattr(handler, "baseFilename", "")) for handler in logging.getLogger().handlers)
