"""MACE as a potential: mace's own values on a small random model, the laws, loading."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Literal

import mace_models
import numpy as np
import pytest
import torch
from ase import Atoms

from chggen_kit.errors import CheckpointError, InputError
from chggen_kit.state import CrystalBatch
from chggen_kit.testing.crystals import disturbed, face_centred, textbook_crystals
from chggen_kit.testing.potential import check_potential
from chggen_mace.options import MaceOptions
from chggen_mace.potential import MacePotential, load

# Not `importorskip`, which imports it and so changes what `torch.load` does (see the test of that below).
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("mace") is None,
    reason="mace-torch is not installed here: pip install 'chggen-kit[mace]', in an environment of its own",
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mace") / "small.model"
    mace_models.save_small_model(path)
    return path


@pytest.fixture(scope="module")
def crystals() -> CrystalBatch:
    return disturbed(textbook_crystals(), rattle_A=0.05, strain=0.02, seed=4)


def options(model: Path, **more: object) -> MaceOptions:
    return MaceOptions.model_validate({"model": str(model), "trust_pickle": True, "energy_frame": "toy", **more})


@pytest.fixture(scope="module")
def potential(model: Path) -> MacePotential:
    return load(options(model))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_equals_the_calculator_of_mace(
    dtype: Literal["float32", "float64"], model: Path, crystals: CrystalBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = load(options(model, dtype=dtype)).evaluate(crystals)
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")  # as mace itself sets it
    from mace.calculators import MACECalculator

    calculator = MACECalculator(model_paths=str(model), device="cpu", default_dtype=dtype)
    largest = 0.0
    for index in range(crystals.n_crystals):
        low, high = crystals.offsets[index : index + 2].tolist()
        atoms = Atoms(
            numbers=crystals.species[low:high].numpy(),
            scaled_positions=crystals.frac_coords[low:high].numpy(),
            cell=crystals.lattice[index].numpy(),
            pbc=True,
            calculator=calculator,
        )
        assert result.energies[index].item() == pytest.approx(atoms.get_potential_energy(), abs=1e-5 * len(atoms))
        np.testing.assert_allclose(result.forces[low:high], atoms.get_forces(), atol=1e-5)
        np.testing.assert_allclose(result.stresses[index], atoms.get_stress(voigt=False), atol=1e-6)
        largest = max(largest, float(np.abs(atoms.get_forces()).max()))
    assert largest > 0.05, "a comparison of zeros shows nothing"


def test_obeys_the_laws_of_a_potential(model: Path) -> None:
    check_potential(load(options(model, dtype="float64"))).raise_if_failed()


def test_is_described(potential: MacePotential) -> None:
    info = potential.info
    assert info.name.startswith("mace-small-")
    assert (info.energy_frame, info.cutoff_A, info.licence) == ("toy", 4.5, "not stated")
    assert info.elements == frozenset(mace_models.NUMBERS)
    with pytest.raises(InputError, match=r"\[28\]"):
        potential.evaluate(face_centred(28, 3.5))


def test_loading_leaves_the_defaults_of_torch_alone(potential: MacePotential) -> None:
    """Importing mace makes `torch.load` run any pickle's code, for everybody in the process."""
    assert potential.info.elements
    assert "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD" not in os.environ
    assert torch.get_default_dtype() == torch.float32


def test_heads(tmp_path: Path) -> None:
    path = tmp_path / "heads.model"
    mace_models.save_small_model(path, heads=("pbe", "r2scan"))
    with pytest.raises(InputError, match="one of pbe, r2scan"):
        load(options(path))
    with pytest.raises(InputError, match="Did you mean 'r2scan'"):
        load(options(path, head="scan"))
    first, second = (load(options(path, head=head)) for head in ("pbe", "r2scan"))
    assert second.info.name.endswith("-r2scan")
    batch = face_centred(29, 3.6)
    assert (second.evaluate(batch).energies - first.evaluate(batch).energies).abs().item() > 1


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "other.model"
    torch.save({"weights": torch.ones(3)}, path)
    with pytest.raises(CheckpointError, match=r"holds a dict"):
        load(options(path))
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(CheckpointError, match="cannot be loaded as a MACE model"):
        load(options(path))


def test_a_device_that_does_not_exist(model: Path) -> None:
    for device in ("nowhere", "mps"):
        with pytest.raises(InputError, match=f"cannot run on device '{device}'"):
            load(options(model, device=device))
