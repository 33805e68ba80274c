"""Inputs of a run read back with pymatgen: settings, thresholds, duplicates, pseudopotentials, refusals."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import ase.db
import numpy as np
import pytest
from dft_runs import caesium_chloride, record, rocksalt, write_run
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import SETTINGS, Lattice, Structure
from pymatgen.io.vasp import Incar, Poscar

from chggen_kit.dft import write_dft_inputs
from chggen_kit.errors import InputError
from chggen_kit.workflow.config import config_hash


@pytest.fixture(autouse=True)
def _no_pseudopotentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(SETTINGS, "PMG_VASP_PSP_DIR", raising=False)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Rocksalt, the same again in another cell, caesium chloride 20 meV/atom above, and zincblende 50 above."""
    zincblende = Structure(rocksalt().lattice, ["Na", "Cl"], [[0, 0, 0], [0.25, 0.25, 0.25]])
    conventional = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.62), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    return write_run(
        tmp_path / "run",
        [
            record("i0000-0", caesium_chloride(), -3.0, converged=False),
            record("i0000-1", conventional, -3.015),
            record("i0000-2", rocksalt(), -3.02),
            record("i0000-3", zincblende, -2.97),
            record("i0000-4", rocksalt(), None, outcome="exploded"),
        ],
    )


def test_the_files_hold_the_papers_settings(run: Path) -> None:
    done = write_dft_inputs(run)
    assert done.path == run / "dft-inputs"
    assert [one["folder"] for one in done.entries] == ["001_i0000-2_NaCl_Fm-3m", "002_i0000-0_NaCl_Pm-3m"]
    for one, kind in zip(done.entries, (rocksalt(), caesium_chloride()), strict=True):
        folder = done.path / one["folder"]
        assert sorted(path.name for path in folder.iterdir()) == ["INCAR", "POSCAR", "POTCAR.spec"]
        incar = Incar.from_file(folder / "INCAR")
        for key, value in {"ENCUT": 680, "EDIFF": 1e-6, "EDIFFG": -0.02, "KSPACING": 0.44, "ISMEAR": -5}.items():
            assert incar[key] == pytest.approx(value)
        assert incar["METAGGA"].lower() == "r2scan"
        assert (folder / "POTCAR.spec").read_text().split() == ["Na_pv", "Cl"]
        structure = Poscar.from_file(folder / "POSCAR").structure
        np.testing.assert_allclose(structure.lattice.matrix, kind.lattice.matrix, atol=1e-12)
        assert StructureMatcher(scale=False, stol=0.01).fit(structure, kind)


def test_the_users_grid_is_written_and_symmetry_can_be_imposed(run: Path, tmp_path: Path) -> None:
    done = write_dft_inputs(run, tmp_path / "o", kspacing="metallic", which="symmetrised", merge=False, top=2)
    assert [one["structure_id"] for one in done.entries] == ["i0000-2", "i0000-1"]
    for one in done.entries:
        incar = Incar.from_file(done.path / one["folder"] / "INCAR")
        assert (incar["KSPACING"], incar["ISMEAR"], incar["SIGMA"]) == (0.22, 2, 0.2)
        structure = Poscar.from_file(done.path / one["folder"] / "POSCAR").structure
        assert len(structure) == 2
        assert structure.get_space_group_info(symprec=1e-6)[1] == 225


def test_a_left_handed_cell_becomes_right_handed_and_stays_the_same_crystal(tmp_path: Path) -> None:
    cell = Lattice([[0, 5, 0], [4, 0.3, 0.2], [0.4, 0, 7]])
    chiral = Structure(cell, ["Na", "Na", "Cl"], [[0.1, 0.2, 0.3], [0.6, 0.35, 0.7], [0.3, 0.8, 0.55]])
    assert np.linalg.det(cell.matrix) < 0
    done = write_dft_inputs(write_run(tmp_path / "run", [record("i0", chiral, -1.0)]))
    read = Poscar.from_file(done.path / done.entries[0]["folder"] / "POSCAR").structure
    assert np.linalg.det(read.lattice.matrix) > 0
    # The same places in space, up to whole cells; turning the axes alone would give the mirror image.
    apart = read.lattice.get_fractional_coords(chiral.cart_coords) - read.frac_coords
    np.testing.assert_allclose(apart, np.round(apart), atol=1e-9)


def test_the_manifest_says_where_everything_comes_from(run: Path) -> None:
    done = write_dft_inputs(run, threshold_meV=100)
    stored = json.loads((done.path / "manifest.json").read_text())
    assert stored["candidates"] == json.loads(json.dumps(list(done.entries)))
    assert stored["run"]["configuration_hash"] == config_hash({"seed": 7})
    assert stored["counts"] == {"relaxed": 4, "within_threshold": 4, "duplicates": 1, "written": 3}
    first, second, third = stored["candidates"]
    assert (first["potential"], first["energy_frame"], first["backend"], first["seed"]) == (
        "pairs-1",
        "toy",
        "sites",
        7,
    )
    assert first["energy_per_atom"] == pytest.approx(-3.02)
    assert [one["criterion_energy"] for one in stored["candidates"]] == pytest.approx([0, 0.02, 0.05])
    assert [twin["structure_id"] for twin in first["duplicates"]] == ["i0000-1"]
    assert (first["spacegroup_number"], second["converged"], third["E_d"]) == (225, False, None)
    rows = list(csv.DictReader((done.path / "manifest.csv").read_text().splitlines()))
    assert [row["folder"] for row in rows] == [one["folder"] for one in stored["candidates"]]
    assert (rows[0]["kpoint_grid"], rows[0]["KSPACING"], rows[0]["duplicates"]) == ("5x5x5", "0.44", "i0000-1")
    assert any("no E_d" in note for note in done.notes)
    assert any("1 of them had not converged" in note for note in done.notes)
    assert any("PMG_VASP_PSP_DIR is not set" in note for note in done.notes)


def test_the_threshold_includes_its_own_value(run: Path, tmp_path: Path) -> None:
    assert len(write_dft_inputs(run, tmp_path / "a", threshold_meV=19.9).entries) == 1
    assert len(write_dft_inputs(run, tmp_path / "b", threshold_meV=20.1).entries) == 2
    with pytest.raises(InputError, match=r"lowest is at 0\.0 meV/atom"):
        write_dft_inputs(run, tmp_path / "c", threshold_meV=-1)
    assert not (tmp_path / "c").exists()


def test_what_looks_alike_with_another_energy_is_kept(tmp_path: Path) -> None:
    near, far = record("i1", rocksalt(edge_A=5.62), -2.995), record("i2", rocksalt(edge_A=5.9), -2.98)
    run = write_run(tmp_path / "run", [record("i0", rocksalt(), -3.0), near, far])
    entries = write_dft_inputs(run).entries
    assert [(one["structure_id"], len(one["duplicates"])) for one in entries] == [("i0", 1), ("i2", 0)]


def test_compositions_are_compared_with_themselves(tmp_path: Path) -> None:
    other = record("i0001-0", rocksalt("K"), -1.0)
    run = write_run(tmp_path / "run", [record("i0000-0", rocksalt(), -3.0), other])
    assert {one["formula"] for one in write_dft_inputs(run).entries} == {"NaCl", "KCl"}


def test_nothing_is_overwritten_and_nothing_half_done_is_left(run: Path, tmp_path: Path) -> None:
    write_dft_inputs(run)
    before = (run / "dft-inputs" / "manifest.json").read_bytes()
    with pytest.raises(InputError, match="there already"):
        write_dft_inputs(run)
    assert (run / "dft-inputs" / "manifest.json").read_bytes() == before
    strange = write_run(tmp_path / "strange", [record("i0", rocksalt("Es"), -1.0), record("i1", rocksalt(), -1.0)])
    with pytest.raises(InputError, match="no pseudopotential for Es"):
        write_dft_inputs(strange)
    assert sorted(path.name for path in strange.iterdir()) == ["results.db"]


def test_a_run_without_candidates_or_relaxations_is_refused(tmp_path: Path) -> None:
    failed = write_run(tmp_path / "failed", [record("i0", rocksalt(), None, outcome="exploded")])
    with pytest.raises(InputError, match="no structure that came through"):
        write_dft_inputs(failed)
    drawn = write_run(tmp_path / "drawn", [record("i0", rocksalt(), None)])
    with pytest.raises(InputError, match="None of the 1 structures was relaxed"):
        write_dft_inputs(drawn)
    with pytest.raises(InputError, match="There is no"):
        write_dft_inputs(tmp_path / "nowhere")


def test_pseudopotentials_that_are_incomplete_are_named(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SETTINGS, "PMG_VASP_PSP_DIR", str(run))
    done = write_dft_inputs(run)
    assert {one["potcar"] for one in done.entries} == {"POTCAR.spec"}
    assert "Na_pv" in done.entries[0]["potcar_problem"]
    assert any("2 of 2 folders have POTCAR.spec" in note for note in done.notes)


POTCAR = """  PAW_PBE {symbol} 01Jan2000
   7.000
 parameters from PSCTR are:
   VRHFIN ={element}: test
   LEXCH  = PE
   EATOM  =   100.0000 eV,    7.0000 Ry
   TITEL  = PAW_PBE {symbol} 01Jan2000
   LULTRA =        F    use ultrasoft PP ?
   POMASS =   20.000; ZVAL   =    7.000    mass and valenz
   ENMAX  =  260.000; ENMIN  =  195.000 eV
   END of PSCTR-controll parameters
 local part
  1.0 2.0 3.0
 End of Dataset
"""


def test_potcars_are_written_where_the_user_has_them(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for symbol, element in (("Na_pv", "Na"), ("Cl", "Cl")):
        file = tmp_path / "psp" / "POT_GGA_PAW_PBE_54" / symbol / "POTCAR"
        file.parent.mkdir(parents=True)
        file.write_text(POTCAR.format(symbol=symbol, element=element))
    monkeypatch.setitem(SETTINGS, "PMG_VASP_PSP_DIR", str(tmp_path / "psp"))
    done = write_dft_inputs(run)
    for one in done.entries:
        assert one["potcar"] == "POTCAR"
        titles = [line for line in (done.path / one["folder"] / "POTCAR").read_text().splitlines() if "TITEL" in line]
        assert [title.split()[3] for title in titles] == ["Na_pv", "Cl"]
    # It is no POTCAR of VASP's, and pymatgen knows.
    assert any("not known to pymatgen" in note for note in done.notes)
    spec = write_dft_inputs(run, tmp_path / "spec", potcar="spec")
    assert {one["potcar"] for one in spec.entries} == {"POTCAR.spec"}
    assert any("as asked" in note for note in spec.notes)


def test_decomposition_energies_decide_where_a_composition_has_them(run: Path) -> None:
    with ase.db.connect(str(run / "results.db"), use_lock_file=False) as database:
        for number, energy in enumerate((0.045, 0.03, 0.025, 0.075), start=1):
            database.update(number, E_d=energy)
    done = write_dft_inputs(run)
    assert [(one["structure_id"], one["criterion"], one["E_d"]) for one in done.entries] == [("i0000-2", "E_d", 0.025)]
    assert "hull of reference phases" in done.notes[0]


def test_a_composition_with_gaps_in_its_decomposition_energies_is_judged_by_its_best(run: Path) -> None:
    with ase.db.connect(str(run / "results.db"), use_lock_file=False) as database:
        database.update(1, E_d=9.0)
    assert {one["criterion"] for one in write_dft_inputs(run).entries} == {"above best"}
