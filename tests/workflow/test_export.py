"""Export: what is written reads back as the structure that was stored."""

from pathlib import Path

import ase.io
import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from chggen_kit.errors import InputError
from chggen_kit.io.files import FORMATS, Format, read_structures
from chggen_kit.workflow.collect import write_database
from chggen_kit.workflow.export import Which, export_results
from chggen_kit.workflow.records import Record, StructureData

HOST = Structure(
    Lattice([[4.1, 0, 0.2], [0, 4.2, 0], [0.3, 0, 1 / 0.21]]),
    ["Cl", "Na", "Cl"],
    [[-1 / 3, 0, 0], [0.5, 1.5, 0.5], [0.1, 0.2, 0.6]],
)
AFTER = Structure(Lattice.cubic(4.3), ["Cl", "Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0, 0]])


@pytest.fixture
def database(tmp_path: Path) -> Path:
    generated, relaxed = StructureData.of(HOST), StructureData.of(AFTER)
    one = Record(
        id="u0000",
        stage="unconditional",
        start=0,
        generated=generated,
        relaxed=relaxed,
        energy=-3.0,
        spacegroup_number=15,
        spacegroup_symbol="C2/c",
    )
    records = [
        one,
        one.updated(id="i0000-0", stage="inpainted", host_id="h0000", energy=-6.0),
        one.updated(id="i0000-1", stage="inpainted", relaxed=None, energy=None, outcome="exploded"),
    ]
    path = tmp_path / "run" / "results.db"
    path.parent.mkdir()
    write_database(path, records, [], {"unconditional": {}, "inpainted": {}}, {})
    return path


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("which", ["relaxed", "generated"])
def test_every_format_reads_back(database: Path, tmp_path: Path, form: Format, which: Which) -> None:
    written = export_results(database.parent, tmp_path / "out", form, which=which)
    read = [structure for path in written for structure in read_structures(path)]
    assert len(read) == 2
    expected = HOST if which == "generated" else AFTER
    for structure in read:
        assert structure.composition == expected.composition
        np.testing.assert_allclose(structure.lattice.abc, expected.lattice.abc, rtol=1e-12)
        np.testing.assert_allclose(
            np.sort(structure.distance_matrix.ravel()), np.sort(expected.distance_matrix.ravel()), atol=1e-9
        )


def test_files_are_numbered_by_energy_and_named_for_their_structure(database: Path, tmp_path: Path) -> None:
    written = export_results(database, tmp_path / "out", "cif")
    assert [path.name for path in written] == ["001_i0000-0_NaCl2_C2_c.cif", "002_u0000_NaCl2_C2_c.cif"]
    assert len(export_results(database, tmp_path / "one", "cif", top=1)) == 1
    (only,) = export_results(database, tmp_path / "stage", "json", stage="unconditional")
    assert "u0000" in only.name


def test_json_and_extxyz_keep_the_host_exactly(database: Path, tmp_path: Path) -> None:
    (path,) = export_results(database, tmp_path / "j", "json", which="generated", top=1)
    structure = Structure.from_file(path)
    assert np.array_equal(structure.frac_coords, HOST.frac_coords)
    (path,) = export_results(database, tmp_path / "all.extxyz", "extxyz", which="generated")
    first, second = ase.io.read(path, index=":")
    assert np.array_equal(first.positions, HOST.cart_coords)
    assert np.array_equal(first.cell.array, HOST.lattice.matrix)
    assert (first.info["structure_id"], first.info["rank"], first.info["spacegroup_symbol"]) == ("i0000-0", 1, "C2/c")
    assert second.info["energy_per_atom"] == -1.0


def test_symmetrised_structures_have_their_space_group_exactly(tmp_path: Path) -> None:
    rocksalt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.6), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    cell = rocksalt.get_primitive_structure()
    shaken = cell.copy()
    shaken.translate_sites([0], [0.004, 0.002, 0.0])
    data = StructureData.of(shaken)
    record = Record(id="u0", stage="unconditional", start=0, generated=data, relaxed=data, energy=-6.0)
    write_database(tmp_path / "r.db", [record], [], {"unconditional": {"symprec": 0.1, "angle_tolerance": 10.0}}, {})
    (path,) = export_results(tmp_path / "r.db", tmp_path / "out", "cif", which="symmetrised")
    (structure,) = read_structures(path)
    assert len(structure) == 8
    assert structure.get_space_group_info(symprec=1e-5)[1] == 225
    assert shaken.get_space_group_info(symprec=1e-5)[1] < 225


def test_nothing_is_overwritten(database: Path, tmp_path: Path) -> None:
    export_results(database, tmp_path / "out", "poscar")
    with pytest.raises(InputError, match="there already"):
        export_results(database, tmp_path / "out", "poscar")
    export_results(database, tmp_path / "out", "cif")


def test_what_cannot_be_exported(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no"):
        export_results(tmp_path / "nowhere", tmp_path / "out", "cif")
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "run.json").write_text("{}")
    with pytest.raises(InputError, match="has not ended"):
        export_results(tmp_path / "unfinished", tmp_path / "out", "cif")
    (tmp_path / "fake.db").write_text("this is no database")
    with pytest.raises(InputError, match="not a readable database"):
        export_results(tmp_path / "fake.db", tmp_path / "out", "cif")
    assert not (tmp_path / "out").exists()
