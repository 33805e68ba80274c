"""The whole way with CHGNet, the in-house score model and the packaged references: E_d out of the box."""

from __future__ import annotations

from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure

from chggen_kit.thermo.packaged import packaged_label, packaged_set
from chggen_kit.workflow import inpaint

FEW = {"name": "repaint", "options": {"steps": 10, "jump_length": 3, "passes": 2}}


def test_lithium_sulfide(tmp_path: Path) -> None:
    """Li2S, antifluorite: lithium is drawn into the lattice of sulfur, and E_d is that of the hull by hand."""
    known = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.71), ["S", "Li"], [[0, 0, 0], [0.25, 0.25, 0.25]])
    host = known.get_primitive_structure()
    host.remove_species(["Li"])
    result = inpaint(host, {"Li": 2}, n=2, sampler=FEW, max_steps=40, out=tmp_path / "o")
    about = result.summary["thermodynamics"]
    assert about["references"] == packaged_label()
    assert about["energy_frame"] == "mp2020-corrected"
    phases = {
        phase.id: phase.energies["chgnet-0.3.0"] / len(phase.structure.species)
        for phase in packaged_set().phases
        if phase.structure.structure().composition.reduced_formula == "Li2S"
    }
    assert result.candidates
    for one in result.candidates:
        assert one.energy_per_atom is not None
        assert one.decomposition_energy == pytest.approx(one.energy_per_atom - min(phases.values()), abs=1e-6)
        # CHGNet's ground state is the known one: nothing that was relaxed can lie below it but by a rounding.
        assert one.decomposition_energy > -1e-3
    excluded = inpaint(host, {"Li": 2}, n=2, sampler=FEW, max_steps=40, exclude_composition=True, out=tmp_path / "o")
    depth = excluded.candidates[0].decomposition_energy
    assert depth is not None
    # Without Li2S it competes with lithium and richer sulfides or sulfur: it is far below them.
    assert depth < -0.5
    assert "Li2S" not in excluded.candidates[0].placement.decomposition  # type: ignore[union-attr]  # it has one
