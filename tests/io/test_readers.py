"""Readers of structure data sets: formats, and rows that cannot be used."""

from __future__ import annotations

import gzip
import json
import logging
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import write
from pymatgen.core import Lattice, Structure

from chggen_kit.errors import InputError
from chggen_kit.io.readers import canonical_formula, parse_formula, read_structures

SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
SITES = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]]
OXIDE = Structure.from_spacegroup("Pm-3m", Lattice.cubic(3.91), ["Sr", "Ti", "O"], SITES)


def row(structure: Structure, **extra: object) -> dict[str, object]:
    return {
        "lattice": structure.lattice.matrix.tolist(),
        "species": [site.specie.symbol for site in structure],
        "frac_coords": structure.frac_coords.tolist(),
        **extra,
    }


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz"])
def test_json_lines(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows{suffix}"
    text = "\n".join(json.dumps(r) for r in (row(SALT, id="salt", split="val"), row(OXIDE))) + "\n\n"
    path.write_bytes(gzip.compress(text.encode()) if suffix.endswith("gz") else text.encode())
    salt, oxide = read_structures(path)
    assert (salt.id, salt.metadata, salt.formula, salt.n_atoms) == ("salt", {"split": "val"}, "Na1Cl1", 8)
    assert salt.volume_per_atom == pytest.approx(5.64**3 / 8)
    np.testing.assert_array_equal(salt.frac_coords, SALT.frac_coords)
    np.testing.assert_array_equal(oxide.lattice, OXIDE.lattice.matrix)
    assert oxide.id == f"{path.name}:2"
    assert oxide.species.tolist() == [38, 22, 8, 8, 8]


def test_bad_rows_are_counted_by_reason_and_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    good = row(SALT)
    flat = {**good, "lattice": [[1, 0, 0], [0, 1, 0], [1, 1, 0]]}
    rows = [
        json.dumps(good),
        "{not json",
        "[1, 2]",
        json.dumps({"species": ["Na"]}),
        json.dumps({**good, "species": ["Xx"] * 8}),
        json.dumps({**good, "species": [{"Na": 0.5}] * 8}),
        json.dumps({**good, "species": [500] * 8}),
        json.dumps({**good, "species": ["Na"]}),
        json.dumps({**good, "frac_coords": [["a", "b", "c"]] * 8}),
        json.dumps({**good, "frac_coords": [[float("nan"), 0, 0]] * 8}),
        json.dumps(flat),
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(rows))
    skipped: Counter[str] = Counter()
    with caplog.at_level(logging.WARNING):
        assert len(list(read_structures(path, skipped))) == 1
    assert skipped == {
        "not valid JSON": 1,
        "not a JSON object": 1,
        "no frac_coords, lattice": 1,
        "unknown element or partial occupancy": 3,
        "shapes of lattice, species and coordinates do not fit together": 1,
        "lattice or coordinates are not numbers": 1,
        "values that are not finite": 1,
        "flat cell": 1,
    }
    assert "read 1 structures, skipped 10" in caplog.text


def test_folder_of_cif_files(tmp_path: Path) -> None:
    SALT.to(filename=str(tmp_path / "b.cif"))
    OXIDE.to(filename=str(tmp_path / "a.cif"))
    (tmp_path / "c.cif").write_text("data_nothing\n")
    mixed = SALT.copy()
    mixed.replace(0, {"Na": 0.5, "K": 0.5})
    mixed.to(filename=str(tmp_path / "d.cif"))
    skipped: Counter[str] = Counter()
    records = list(read_structures(tmp_path, skipped))
    assert [(r.id, r.formula) for r in records] == [("a.cif", "O3Ti1Sr1"), ("b.cif", "Na1Cl1")]
    assert skipped == {"CIF cannot be parsed": 1, "unknown element or partial occupancy": 1}
    assert [r.formula for r in read_structures(tmp_path / "a.cif")] == ["O3Ti1Sr1"]


def test_extended_xyz(tmp_path: Path) -> None:
    periodic = Atoms("NaCl", scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], cell=[4, 4, 4], pbc=True)
    periodic.info["id"] = "pair"
    write(tmp_path / "frames.extxyz", [periodic, Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.7]])], format="extxyz")
    skipped: Counter[str] = Counter()
    (record,) = read_structures(tmp_path / "frames.extxyz", skipped)
    assert (record.id, record.formula) == ("pair", "Na1Cl1")
    np.testing.assert_allclose(record.frac_coords[1], 0.5)
    assert skipped == {"not periodic in three directions": 1}


def test_csv_with_cif_column(tmp_path: Path) -> None:
    import csv

    path = tmp_path / "train.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["material_id", "formation_energy", "cif"])
        writer.writeheader()
        writer.writerow({"material_id": "x-1", "formation_energy": "-2.1", "cif": SALT.to(fmt="cif")})
        writer.writerow({"material_id": "x-2", "formation_energy": "0", "cif": "nonsense"})
    skipped: Counter[str] = Counter()
    (record,) = read_structures(path, skipped)
    assert (record.id, record.formula, record.metadata["formation_energy"]) == ("x-1", "Na1Cl1", "-2.1")
    assert skipped == {"CIF cannot be parsed": 1}


def test_unusable_paths_are_explained(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no data set"):
        list(read_structures(tmp_path / "nothing.jsonl"))
    with pytest.raises(InputError, match=r"no \.cif file"):
        list(read_structures(tmp_path))
    (tmp_path / "a.dat").write_text("")
    with pytest.raises(InputError, match="unknown format"):
        list(read_structures(tmp_path / "a.dat"))
    (tmp_path / "a.csv").write_text("id,structure\n")
    with pytest.raises(InputError, match="no column 'cif'"):
        list(read_structures(tmp_path / "a.csv"))
    (tmp_path / "a.jsonl").write_text("{}\n")
    with pytest.raises(InputError, match="no usable structure"):
        list(read_structures(tmp_path / "a.jsonl"))


def test_damaged_files_are_explained(tmp_path: Path) -> None:
    text = "\n".join(json.dumps(row(SALT)) for _ in range(50)).encode()
    contents = {
        "plain.jsonl.gz": text,
        "plain.csv.gz": b"material_id,cif\n",
        "cut.jsonl.gz": gzip.compress(text)[:-20],
        "damaged.jsonl.gz": gzip.compress(text)[:20] + b"\xff" * 200,
        "latin.jsonl": '{"id": "Å"}'.encode("latin-1"),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match="cannot be read"):
            list(read_structures(tmp_path / name))


def test_an_unreadable_file_of_a_folder_is_counted(tmp_path: Path) -> None:
    SALT.to(filename=str(tmp_path / "b.cif"))
    (tmp_path / "a.cif").write_bytes(b"\xff\xfe\xfa")
    skipped: Counter[str] = Counter()
    assert [r.id for r in read_structures(tmp_path, skipped)] == ["b.cif"]
    assert skipped == {"file cannot be read as text": 1}


def test_formulas_have_one_form() -> None:
    assert canonical_formula({30: 2, 15: 4, 16: 12}) == "P2S6Zn1"
    assert parse_formula("Zn(PS3)2") == parse_formula("S12Zn2P4") == "P2S6Zn1"
    for bad in ("", "Zn0.5S", "Qq2", "zinc"):
        with pytest.raises(InputError):
            parse_formula(bad)
