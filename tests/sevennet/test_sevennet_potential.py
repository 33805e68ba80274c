"""SevenNet as a potential: sevenn's own values, the frame of its energies, the laws, loading."""

from __future__ import annotations

import os
from typing import Literal

import numpy as np
import pytest
import torch
from ase import Atoms

from chggen_kit.errors import InputError
from chggen_kit.interfaces import Potential
from chggen_kit.state import CrystalBatch
from chggen_kit.testing.crystals import caesium_chloride, disturbed, face_centred, rocksalt, textbook_crystals
from chggen_kit.testing.potential import check_potential
from chggen_sevennet.options import SevennetOptions
from chggen_sevennet.potential import SevennetPotential, load

sevenn_calculator = pytest.importorskip(
    "sevenn.calculator", reason="sevenn is not installed here: pip install 'chggen-kit[sevennet]'"
)

Weights = Literal["7net-0", "7net-l3i5", "7net-mf-0"]
Modality = Literal["PBE", "R2SCAN"]


REFERENCES = CrystalBatch.concatenate([rocksalt(12, 8, 4.21), rocksalt(11, 17, 5.64), face_centred(13, 4.05)])


def chgnet(weights: str) -> Potential:
    """A potential whose frame is known from its paper."""
    pytest.importorskip("chgnet.model", reason="chgnet is not installed here")
    from chggen_chgnet.options import ChgnetOptions
    from chggen_chgnet.potential import load as load_chgnet

    return load_chgnet(ChgnetOptions.model_validate({"weights": weights}))


@pytest.fixture(scope="module")
def sevennet() -> SevennetPotential:
    return load(SevennetOptions())


@pytest.fixture(scope="module")
def crystals() -> CrystalBatch:
    return disturbed(textbook_crystals().select([0, 3, 6, 8]), rattle_A=0.05, strain=0.02, seed=4)


@pytest.mark.parametrize(
    ("weights", "modality", "frame", "mirror"),
    [
        ("7net-0", None, "raw-pbe", False),
        ("7net-l3i5", None, "raw-pbe", False),
        ("7net-mf-0", "PBE", "raw-pbe", False),
        ("7net-mf-0", "R2SCAN", "r2scan", False),
    ],
)
def test_equals_the_calculator_of_sevenn(
    weights: Weights, modality: Modality | None, frame: str, mirror: bool, crystals: CrystalBatch
) -> None:
    potential = load(SevennetOptions(weights=weights, modality=modality))
    assert (potential.info.energy_frame, potential.info.mirror_invariant) == (frame, mirror)
    calculator = sevenn_calculator.SevenNetCalculator(weights, modal=modality, device="cpu")
    result = potential.evaluate(crystals)
    for index in range(crystals.n_crystals):
        low, high = crystals.offsets[index : index + 2].tolist()
        atoms = Atoms(
            numbers=crystals.species[low:high].numpy(),
            scaled_positions=crystals.frac_coords[low:high].numpy(),
            cell=crystals.lattice[index].numpy(),
            pbc=True,
            calculator=calculator,
        )
        # its energies of the atoms, added without the rounding of a sum in float32
        expected = atoms.get_potential_energies().astype(float).sum()
        assert result.energies[index].item() == pytest.approx(expected, abs=1e-5)
        np.testing.assert_allclose(result.forces[low:high], atoms.get_forces(), atol=1e-5)
        np.testing.assert_allclose(result.stresses[index], atoms.get_stress(voigt=False), atol=1e-6)


def test_obeys_the_laws_of_a_potential(sevennet: SevennetPotential, crystals: CrystalBatch) -> None:
    check_potential(sevennet, crystals.select([2, 3])).raise_if_failed()


def test_energies_lack_the_corrections_that_chgnet_learnt(sevennet: SevennetPotential) -> None:
    """MP2020: -0.687 eV per oxide ion, -0.614 per chloride ion, nothing for elements."""
    corrected = chgnet("0.3.0").evaluate(REFERENCES).energies
    difference = (corrected - sevennet.evaluate(REFERENCES).energies) / REFERENCES.num_atoms
    torch.testing.assert_close(difference, torch.tensor([-0.344, -0.307, 0.0]).double(), rtol=0, atol=0.06)


def test_r2scan_energies_are_those_of_chgnets_r2scan() -> None:
    other = chgnet("r2scan").evaluate(REFERENCES).energies
    own = load(SevennetOptions(weights="7net-mf-0", modality="R2SCAN")).evaluate(REFERENCES).energies
    torch.testing.assert_close(own / REFERENCES.num_atoms, other / REFERENCES.num_atoms, rtol=0, atol=0.05)


def test_broken_crystals_are_nan_alone(sevennet: SevennetPotential, crystals: CrystalBatch) -> None:
    good = sevennet.evaluate(crystals)
    broken = [face_centred(29, 40.0), face_centred(29, 3.6), face_centred(29, 1.0), caesium_chloride(55, 17, 4.1)]
    broken[1].frac_coords[0] = broken[1].frac_coords[1]
    broken[3].frac_coords[1, 2] = torch.nan
    result = sevennet.evaluate(CrystalBatch.concatenate([*broken[:2], crystals, *broken[2:]]))
    assert torch.isnan(result.energies[[0, 1, -2, -1]]).all()
    assert torch.isnan(result.stresses[[0, 1, -2, -1]]).all()
    assert torch.isnan(result.forces[[*range(8), *range(-6, 0)]]).all()
    torch.testing.assert_close(result.energies[2:-2], good.energies, rtol=0, atol=1e-5)
    torch.testing.assert_close(result.forces[8:-6], good.forces, rtol=0, atol=1e-5)
    assert torch.isnan(sevennet.evaluate(face_centred(29, 40.0)).forces).all()


def test_an_element_that_is_not_covered(sevennet: SevennetPotential) -> None:
    with pytest.raises(InputError, match=r"\[86\]"):
        sevennet.evaluate(face_centred(86, 5.0))


def test_a_device_that_does_not_exist() -> None:
    for device in ("nowhere", "mps"):
        with pytest.raises(InputError, match=f"cannot run on device '{device}'"):
            load(SevennetOptions(device=device))


def test_loading_changes_no_default_of_torch(sevennet: SevennetPotential) -> None:
    assert sevennet.info.name == "7net-0"
    assert "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD" not in os.environ
    assert torch.get_default_dtype() == torch.float32
