"""The bases of potentials: edges of the whole batch, and broken crystals that harm nobody."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from chggen_kit.errors import InputError
from chggen_kit.interfaces import Evaluation, PotentialInfo
from chggen_kit.potentials import EdgePotential, GuardedPotential, usable
from chggen_kit.state import CrystalBatch
from chggen_kit.testing import check_potential
from chggen_kit.testing.crystals import disturbed, face_centred, rocksalt, textbook_crystals
from chggen_kit.testing.pair_potential import PairPotential
from chggen_kit.torus import Neighbours

CUTOFF = 5.0
INFO = PotentialInfo("springs", "toy", frozenset(range(1, 100)), CUTOFF, 100, "MIT")


class Springs(EdgePotential):
    """E = sum over edges of (1 - r^2 / c^2)^3, in eV; counts its calls."""

    info = INFO  # type: ignore[assignment]  # an attribute will do where the interface has a property

    def __init__(self) -> None:
        self.calls = 0

    def compute_with_edges(self, batch: CrystalBatch, edges: Neighbours) -> Evaluation:
        self.calls += 1
        crystal = batch.crystal_index[edges.target]
        assert torch.bincount(crystal, minlength=batch.n_crystals).all()
        again = (batch.frac_coords[edges.source] + edges.shift - batch.frac_coords[edges.target])[
            :, None
        ] @ batch.lattice[crystal]
        torch.testing.assert_close(again[:, 0], edges.vector)
        share = 1 - edges.vector.square().sum(dim=1) / CUTOFF**2
        slope = -6 * share[:, None] ** 2 * edges.vector / CUTOFF**2
        forces = torch.zeros_like(batch.frac_coords).index_add_(0, edges.target, 2 * slope)
        virial = edges.vector[:, :, None] * slope[:, None, :]
        stresses = torch.zeros_like(batch.lattice).index_add_(0, crystal, virial)
        energies = batch.volumes.new_zeros(batch.n_crystals).index_add_(0, crystal, share**3)
        return Evaluation(energies, forces, stresses / batch.volumes[:, None, None])


def spoilt(change: Callable[[CrystalBatch], object], a: float = 3.6) -> CrystalBatch:
    batch = face_centred(29, a)
    change(batch)
    return batch


BROKEN = {
    "coordinate": spoilt(lambda b: b.frac_coords[1].fill_(math.nan)),
    "cell": spoilt(lambda b: b.lattice[0, 0].fill_(math.inf)),
    "collapsed": face_centred(29, 1.5),
    "flat": spoilt(lambda b: b.lattice[0, 2].copy_(b.lattice[0, 0] + b.lattice[0, 1])),
    "needle": spoilt(lambda b: b.lattice[0].copy_(torch.diag(torch.tensor([0.02, 0.02, 1e5])))),
    "coinciding": spoilt(lambda b: b.frac_coords[0].copy_(b.frac_coords[2] + 1e-4)),
    "isolated": face_centred(29, 30.0),
}


def test_the_laws_hold() -> None:
    check_potential(Springs()).raise_if_failed()


@pytest.mark.parametrize("place", [0, 1, 3])
@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_crystal_is_nan_and_the_others_keep_their_values(fault: str, place: int) -> None:
    good = disturbed(textbook_crystals().select([0, 6, 8]), rattle_A=0.1, strain=0.02, seed=1)
    expected = Springs().evaluate(good)
    parts = [good.select([i]) for i in range(3)]
    parts.insert(place, BROKEN[fault])
    batch = CrystalBatch.concatenate(parts)
    result = Springs().evaluate(batch)
    kept = [i for i in range(4) if i != place]
    rows = batch.crystal_index != place
    assert torch.isnan(result.energies[place])
    assert torch.isnan(result.stresses[place]).all()
    assert torch.isnan(result.forces[~rows]).all()
    torch.testing.assert_close(result.energies[kept], expected.energies)
    torch.testing.assert_close(result.forces[rows], expected.forces)
    torch.testing.assert_close(result.stresses[kept], expected.stresses)


def test_nothing_but_broken_crystals_is_never_computed() -> None:
    springs = Springs()
    result = springs.evaluate(CrystalBatch.concatenate(list(BROKEN.values())))
    assert torch.isnan(result.energies).all()
    assert springs.calls == 0


def test_one_call_for_a_batch() -> None:
    springs = Springs()
    springs.evaluate(textbook_crystals())
    assert springs.calls == 1


def test_what_comes_back_not_finite_is_nan_as_a_whole() -> None:
    class Overflows(GuardedPotential):
        info = INFO  # type: ignore[assignment]  # as above

        def compute(self, batch: CrystalBatch) -> Evaluation:
            result = PairPotential().evaluate(batch)
            result.forces[5, 1] = math.inf
            return result

    result = Overflows().evaluate(CrystalBatch.concatenate([face_centred(29, 3.6), rocksalt(11, 17, 5.6)]))
    assert torch.isnan(result.energies).tolist() == [False, True]
    assert torch.isnan(result.forces[4:]).all()
    assert torch.isfinite(result.forces[:4]).all()


def test_elements_are_checked_before_anything_is_computed() -> None:
    springs = Springs()
    with pytest.raises(InputError, match=r"springs does not cover .*\[101\]"):
        springs.evaluate(face_centred(101, 4.0))
    assert springs.calls == 0


def test_an_unknown_cutoff_still_guards_against_needles() -> None:
    batch = CrystalBatch.concatenate([BROKEN["needle"], face_centred(29, 3.6)])
    assert usable(batch, math.inf).tolist() == [False, True]
    assert usable(replace(batch), CUTOFF).tolist() == [False, True]
