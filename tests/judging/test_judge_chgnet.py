"""Real potentials: CHGNet 0.3.0 and its r2SCAN weights on the same run, each in its own frame."""

from __future__ import annotations

from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure

from chggen_kit.io.files import write_structure
from chggen_kit.judging import judge
from chggen_kit.workflow import inpaint


@pytest.fixture
def phases(tmp_path: Path) -> Path:
    """Lithium (bcc), chlorine (two atoms a cell) and their rocksalt."""
    folder = tmp_path / "phases"
    folder.mkdir()
    body = Lattice([[-1.7, 1.7, 1.7], [1.7, -1.7, 1.7], [1.7, 1.7, -1.7]])
    face = Lattice([[0, 2.57, 2.57], [2.57, 0, 2.57], [2.57, 2.57, 0]])
    gas = Lattice.orthorhombic(4.6, 4.6, 6.2)
    for name, structure in {
        "Li": Structure(body, ["Li"], [[0, 0, 0]]),
        "Cl": Structure(gas, ["Cl", "Cl"], [[0, 0, 0.34], [0, 0, 0.66]]),
        "LiCl": Structure(face, ["Li", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
    }.items():
        write_structure(structure, folder / f"{name}.cif", "cif")
    return folder


def test_two_levels_of_theory_judge_lithium_in_chlorine(tmp_path: Path, phases: Path) -> None:
    # The anions of rocksalt: lithium finds the octahedral site, or stays in the tetrahedral one.
    face = Lattice([[0, 2.57, 2.57], [2.57, 0, 2.57], [2.57, 2.57, 0]])
    result = inpaint(
        Structure(face, ["Cl"], [[0, 0, 0]]),
        {"Li": 1},
        n=3,
        sampler="random",
        max_steps=40,
        references=str(phases),
        out=tmp_path / "run",
    )
    assert result.candidates
    opinions = judge(
        tmp_path / "run", [{"name": "chgnet", "options": {"weights": "r2scan"}}], references=str(phases), top=2
    )
    own, other = opinions.voices
    assert (own.energy_frame, other.energy_frame) == ("mp2020-corrected", "r2scan")
    assert own.references == other.references == "phases"
    for candidate in opinions.candidates:
        first, second = (candidate.compared.levels[voice.key] for voice in opinions.voices)
        # The frames lie electronvolts apart; energies of decomposition agree to tenths.
        assert abs(first.energy_per_atom - second.energy_per_atom) > 0.5
        assert first.decomposition_energy is not None
        assert second.decomposition_energy is not None
        assert candidate.spread == pytest.approx(abs(first.decomposition_energy - second.decomposition_energy))
        assert candidate.spread < 0.3
