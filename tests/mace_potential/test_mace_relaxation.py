"""Relaxations with MACE: within 1 meV/atom of ASE's, and within a space group."""

from __future__ import annotations

import importlib.util

import mace_models
import pytest

from chggen_kit.io import to_structures
from chggen_kit.relaxers.ase_reference import AseFireRelaxer
from chggen_kit.relaxers.fire import FireRelaxer
from chggen_kit.state import CrystalBatch
from chggen_kit.testing.crystals import disturbed, face_centred, perovskite, rocksalt
from chggen_mace.options import MaceOptions
from chggen_mace.potential import MacePotential, load

# Not `importorskip`, which imports it and so changes what `torch.load` does.
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("mace") is None,
    reason="mace-torch is not installed here: pip install 'chggen-kit[mace]', in an environment of its own",
)

MEV_PER_ATOM = 1e-3


@pytest.fixture(scope="module")
def mace(tmp_path_factory: pytest.TempPathFactory) -> MacePotential:
    """A small network with random weights: few of its minima are near the crystals of textbooks."""
    path = tmp_path_factory.mktemp("mace") / "small.model"
    mace_models.save_small_model(path)
    return load(
        MaceOptions.model_validate(
            {"model": str(path), "trust_pickle": True, "energy_frame": "toy", "dtype": "float64"}
        )
    )


def test_relaxed_energies_agree_with_ase(mace: MacePotential) -> None:
    crystals = CrystalBatch.concatenate([face_centred(29, 3.61), perovskite(38, 22, 8, 3.91), rocksalt(12, 8, 4.21)])
    structures = to_structures(disturbed(crystals, rattle_A=0.05, strain=0.02, seed=5))
    ours = FireRelaxer(mace).relax(structures, fmax=0.05, max_steps=25)
    theirs = AseFireRelaxer(mace).relax(structures, fmax=0.05, max_steps=25)
    assert [(o.reason, o.steps) for o in ours] == [(o.reason, o.steps) for o in theirs]
    assert sum(o.steps for o in ours) > 20
    for mine, reference in zip(ours, theirs, strict=True):
        assert abs(mine.energy - reference.energy) / len(mine.structure) < MEV_PER_ATOM


@pytest.mark.parametrize("count", [6, pytest.param(50, marks=pytest.mark.slow)])
def test_space_groups_are_kept(mace: MacePotential, count: int) -> None:
    pytest.importorskip("spglib", reason="spglib is not installed here, without which no symmetry is found")
    from chggen_kit.testing.symmetric import check_symmetry_kept, symmetric_crystals

    max_steps = 20 if count == 6 else 100
    check_symmetry_kept(FireRelaxer(mace), symmetric_crystals(count), max_steps=max_steps).raise_if_failed()
