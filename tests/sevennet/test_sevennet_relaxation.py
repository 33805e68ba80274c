"""Relaxations with SevenNet: within 1 meV/atom of ASE's, and within a space group though the network breaks it."""

from __future__ import annotations

import pytest

from chggen_kit.io import to_structures
from chggen_kit.relaxers.ase_reference import AseFireRelaxer
from chggen_kit.relaxers.fire import FireRelaxer
from chggen_kit.state import CrystalBatch
from chggen_kit.testing.crystals import caesium_chloride, disturbed, face_centred
from chggen_sevennet.options import SevennetOptions
from chggen_sevennet.potential import SevennetPotential, load

pytest.importorskip("sevenn.calculator", reason="sevenn is not installed here: pip install 'chggen-kit[sevennet]'")

MEV_PER_ATOM = 1e-3


@pytest.fixture(scope="module")
def sevennet() -> SevennetPotential:
    return load(SevennetOptions())


def test_relaxed_energies_agree_with_ase(sevennet: SevennetPotential) -> None:
    crystals = CrystalBatch.concatenate([face_centred(29, 3.61), caesium_chloride(55, 17, 4.12)])
    structures = to_structures(disturbed(crystals, rattle_A=0.05, strain=0.02, seed=5))
    ours = FireRelaxer(sevennet).relax(structures, fmax=0.05)
    theirs = AseFireRelaxer(sevennet).relax(structures, fmax=0.05)
    assert [o.reason for o in ours] == [o.reason for o in theirs] == ["converged"] * len(structures)
    for mine, reference in zip(ours, theirs, strict=True):
        assert mine.energy_change_per_atom < -MEV_PER_ATOM
        assert abs(mine.energy - reference.energy) / len(mine.structure) < MEV_PER_ATOM


@pytest.mark.parametrize("count", [4, pytest.param(50, marks=pytest.mark.slow)])
def test_space_groups_are_kept(sevennet: SevennetPotential, count: int) -> None:
    pytest.importorskip("spglib", reason="spglib is not installed here, without which no symmetry is found")
    from chggen_kit.testing.symmetric import check_symmetry_kept, symmetric_crystals

    max_steps = 5 if count == 4 else 100
    check_symmetry_kept(FireRelaxer(sevennet), symmetric_crystals(count), max_steps=max_steps).raise_if_failed()
