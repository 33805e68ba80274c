"""Two potentials whose packages exclude each other work on the same structures in one run.

Needs the environments, named as CHGGEN_ENVIRONMENTS names them: .ci/potentials makes them and sets the variable.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import torch
from pymatgen.core import Lattice, Structure

import chggen_mace.plugin
import chggen_sevennet.plugin
from chggen_kit.io import to_structures
from chggen_kit.judging import judge
from chggen_kit.plugins import Registry, get_registry
from chggen_kit.state import CrystalBatch
from chggen_kit.testing import check_potential
from chggen_kit.testing.crystals import disturbed, face_centred, rocksalt, zincblende
from chggen_kit.workflow import inpaint

VARIABLE = "CHGGEN_TEST_ENVIRONMENTS"
MODELS = Path(__file__).parents[1] / "mace_potential"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(VARIABLE not in os.environ, reason=f"{VARIABLE} names no environments: run .ci/potentials"),
]


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.setenv("CHGGEN_ENVIRONMENTS", os.environ[VARIABLE])
    return Registry.from_modules([chggen_mace.plugin, chggen_sevennet.plugin])


@pytest.fixture
def model(registry: Registry, tmp_path: Path) -> Path:
    """A small model, made by mace in its own environment."""
    environment = registry.get("potential", "mace").environment
    assert environment is not None
    program = "import pathlib, sys; sys.path.insert(0, sys.argv[1]); import mace_models as m; "
    program += "m.save_small_model(pathlib.Path(sys.argv[2]))"
    path = tmp_path / "small.model"
    subprocess.run([str(environment.python), "-c", program, str(MODELS), str(path)], check=True)  # noqa: S603
    return path


def test_mace_and_sevennet_judge_the_same_structures(registry: Registry, model: Path) -> None:
    options = {"model": str(model), "trust_pickle": True, "energy_frame": "toy", "dtype": "float64"}
    mace = registry.create_potential("mace", options)
    sevennet = registry.create_potential("sevennet")
    batch = disturbed(
        CrystalBatch.concatenate([rocksalt(12, 8, 4.21), face_centred(29, 3.61), zincblende(30, 16, 5.41)]),
        rattle_A=0.05,
        strain=0.02,
        seed=7,
    )
    for _ in range(2):
        first, second = mace.evaluate(batch), sevennet.evaluate(batch)
        for result in (first, second):
            assert torch.isfinite(result.energies).all()
            assert torch.isfinite(result.stresses).all()
        assert not torch.allclose(first.energies, second.energies)
    assert (mace.info.energy_frame, sevennet.info.energy_frame) == ("toy", "raw-pbe")
    for potential in (mace, sevennet):
        check_potential(potential, batch).raise_if_failed()


def test_a_structure_is_relaxed_in_another_environment(registry: Registry) -> None:
    sevennet = registry.create_potential("sevennet")
    relaxer = get_registry().create_relaxer("fire", potential=sevennet)
    (start,) = to_structures(disturbed(rocksalt(12, 8, 4.21), rattle_A=0.05, strain=0.01, seed=1))
    (outcome,) = relaxer.relax([start], fmax=0.05)
    assert outcome.reason == "converged"
    assert outcome.structure.volume == pytest.approx(4.25**3, rel=0.03)


def test_both_give_a_second_opinion_on_one_run(model: Path, tmp_path: Path) -> None:
    host = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.21), ["O"], [[0, 0, 0]]).get_primitive_structure()
    result = inpaint(host, {"Mg": 1}, n=3, sampler="random", max_steps=30, references="none", out=tmp_path / "run")
    assert result.candidates
    mace = {"model": str(model), "trust_pickle": True, "energy_frame": "toy", "dtype": "float64"}
    opinions = judge(
        tmp_path / "run",
        [{"name": "mace", "options": mace}, "sevennet"],
        references="none",
        max_steps=30,
    )
    assert [voice.energy_frame for voice in opinions.voices] == ["mp2020-corrected", "toy", "raw-pbe"]
    environments = [get_registry().get("potential", name).environment for name in ("mace", "sevennet")]
    for voice, environment in zip(opinions.voices[1:], environments, strict=True):
        assert environment is not None
        assert str(environment) in voice.origin
    for candidate in opinions.candidates:
        assert all(record.single_point_energy is not None for record in candidate.opinions.values())
    # A network of random weights may blow a structure up; the others, and the other judge, are not touched by that.
    for key, found in opinions.agreements.items():
        known = sum(one.opinions[key].outcome == "ok" for one in opinions.candidates)
        assert found.pairs == known * (known - 1) // 2
    assert all(one.opinions[opinions.voices[2].key].energy is not None for one in opinions.candidates)
