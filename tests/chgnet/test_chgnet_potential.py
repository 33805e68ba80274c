"""CHGNet as a potential: chgnet's own values, the laws, broken crystals, loading."""

from __future__ import annotations

import subprocess
import sys
from typing import Literal

import numpy as np
import pytest
import torch
from chgnet.graph import CrystalGraphConverter
from chgnet.model import CHGNet

from chggen_chgnet.graph import build_graph
from chggen_chgnet.options import ChgnetOptions
from chggen_chgnet.potential import ChgnetPotential, load
from chggen_kit.errors import InputError
from chggen_kit.io import to_structures
from chggen_kit.state import CrystalBatch
from chggen_kit.testing.crystals import disturbed, face_centred, textbook_crystals
from chggen_kit.testing.potential import check_potential

GPA_PER_EV_A3 = 160.21766208
AGREEMENT = 1e-4
"""eV/atom and eV/Å: chgnet computes in float32."""
STRESS_AGREEMENT = 1e-5
"""eV/Å^3."""


@pytest.fixture(scope="module")
def chgnet() -> ChgnetPotential:
    return load(ChgnetOptions())


@pytest.fixture(scope="module")
def crystals() -> CrystalBatch:
    return disturbed(textbook_crystals(), rattle_A=0.05, strain=0.02, seed=4)


@pytest.mark.parametrize(("weights", "frame"), [("0.3.0", "mp2020-corrected"), ("r2scan", "r2scan")])
def test_equals_chgnets_own_predictions(
    weights: Literal["0.3.0", "r2scan"], frame: str, crystals: CrystalBatch, capsys: pytest.CaptureFixture[str]
) -> None:
    potential = load(ChgnetOptions(weights=weights))
    assert capsys.readouterr().out == ""
    assert potential.info.energy_frame == frame
    assert potential.info.name == f"chgnet-{weights}"
    model = CHGNet.load(model_name=weights, use_device="cpu", verbose=False)
    result = potential.evaluate(crystals)
    for index, structure in enumerate(to_structures(crystals)):
        expected = model.predict_structure(structure, task="efs")
        low, high = crystals.offsets[index : index + 2].tolist()
        assert result.energies[index].item() / len(structure) == pytest.approx(float(expected["e"]), abs=AGREEMENT)
        np.testing.assert_allclose(result.forces[low:high], expected["f"], atol=AGREEMENT)
        stress = expected["s"] / GPA_PER_EV_A3
        np.testing.assert_allclose(result.stresses[index], stress, atol=STRESS_AGREEMENT)


def test_graph_has_the_bonds_and_angles_of_chgnet(crystals: CrystalBatch) -> None:
    converter = CrystalGraphConverter(atom_graph_cutoff=6, bond_graph_cutoff=3)
    graph = build_graph(crystals, 6.0, 3.0)
    bonds = torch.bincount(crystals.crystal_index[graph.first], minlength=crystals.n_crystals)
    angles = torch.bincount(crystals.crystal_index[graph.angle_centre], minlength=crystals.n_crystals)
    for index, structure in enumerate(to_structures(crystals)):
        expected = converter(structure)
        assert 2 * int(bonds[index]) == len(expected.atom_graph)
        assert int(angles[index]) == len(expected.bond_graph)


def test_obeys_the_laws_of_a_potential(chgnet: ChgnetPotential) -> None:
    check_potential(chgnet).raise_if_failed()


def test_broken_crystals_are_nan_alone(chgnet: ChgnetPotential, crystals: CrystalBatch) -> None:
    good = chgnet.evaluate(crystals)
    batch = crystals.select(range(crystals.n_crystals))
    first = batch.offsets.tolist()
    batch.frac_coords[first[0]] = torch.nan
    batch.frac_coords[first[2]] = batch.frac_coords[first[2] + 1]  # coinciding atoms
    batch.lattice[4] *= 0.05  # collapsed
    batch.lattice[6, 2] = batch.lattice[6, 0] + batch.lattice[6, 1]  # flat
    batch.lattice[8] *= 5  # isolated atoms
    batch.lattice[9, 0, 0] = torch.inf
    result = chgnet.evaluate(batch)
    broken = torch.tensor([0, 2, 4, 6, 8, 9])
    rest = torch.tensor([1, 3, 5, 7])
    lost = torch.isin(batch.crystal_index, broken)
    assert torch.isnan(result.energies[broken]).all()
    assert torch.isnan(result.stresses[broken]).all()
    assert torch.isnan(result.forces[lost]).all()
    torch.testing.assert_close(result.energies[rest], good.energies[rest], rtol=0, atol=1e-4)
    torch.testing.assert_close(result.forces[~lost], good.forces[~lost], rtol=0, atol=1e-4)
    torch.testing.assert_close(result.stresses[rest], good.stresses[rest], rtol=0, atol=1e-5)


def test_a_batch_of_nothing_but_broken_crystals(chgnet: ChgnetPotential) -> None:
    batch = face_centred(29, 100.0)
    result = chgnet.evaluate(batch)
    assert torch.isnan(result.energies).all()
    assert result.forces.shape == (4, 3)


def test_a_crystal_with_bonds_but_no_angles(chgnet: ChgnetPotential) -> None:
    batch = face_centred(18, 5.26)  # neighbours at 3.7 Å
    (structure,) = to_structures(batch)
    expected = CHGNet.load(use_device="cpu", verbose=False).predict_structure(structure, task="e")["e"]
    assert chgnet.evaluate(batch).energies.item() / 4 == pytest.approx(float(expected), abs=AGREEMENT)


def test_an_element_that_is_not_covered(chgnet: ChgnetPotential) -> None:
    with pytest.raises(InputError, match=r"\[86\]"):
        chgnet.evaluate(face_centred(86, 5.0))
    with pytest.raises(InputError, match=r"\[70\]"):
        load(ChgnetOptions(weights="r2scan")).evaluate(face_centred(70, 5.0))


def test_a_device_that_does_not_exist() -> None:
    with pytest.raises(InputError, match="cannot run on device 'nowhere'"):
        load(ChgnetOptions(device="nowhere"))
    with pytest.raises(InputError, match="float64"):
        load(ChgnetOptions(device="mps"))


def test_registration_imports_nothing_heavy() -> None:
    program = (
        "import sys\n"
        "from chggen_chgnet.plugin import chggen_kit_register_potentials as hook\n"
        "found = []\n"
        "hook(lambda name, factory, **more: found.append((name, factory, more['options'])))\n"
        "import importlib\n"
        "assert found == [('chgnet', 'chggen_chgnet.potential:load', 'chggen_chgnet.options:ChgnetOptions')], found\n"
        "importlib.import_module('chggen_chgnet.options')\n"
        "heavy = {'torch', 'chgnet', 'pymatgen', 'ase', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
