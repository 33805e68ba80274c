"""`chggen hull` from the command line, over the real packaged references and CHGNet."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from pymatgen.core import Lattice, Structure

from chggen_kit.cli import cli
from chggen_kit.io.files import write_structure


def chggen(*args: str | Path) -> Result:
    return CliRunner().invoke(cli, ["--progress", "none", *[str(arg) for arg in args]])


def test_the_table_of_a_packaged_system() -> None:
    result = chggen("hull", "Zn-P-S")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith("P-S-Zn (packaged-")
    assert "chgnet-0.3.0, mp2020-corrected" in lines[0]
    phases = [line.split() for line in lines if line.startswith("reference")]
    assert ["reference", "ZnS", "*", "mp-10695"] in [words[:4] for words in phases]
    assert any(words[1] == "ZnS" for words in phases)


def test_json_and_a_picture_of_a_structure_of_ones_own(tmp_path: Path) -> None:
    """Zinc blende as a candidate: CHGNet relaxes it to the packaged one."""
    blende = Structure.from_spacegroup("F-43m", Lattice.cubic(5.41), ["Zn", "S"], [[0, 0, 0], [0.25, 0.25, 0.25]])
    write_structure(blende.get_primitive_structure(), tmp_path / "blende.cif", "cif")
    result = chggen("hull", tmp_path / "blende.cif", "--json", "--out", tmp_path / "Zn-S.png")
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    assert content["chemical_system"] == "S-Zn"
    assert content["energy_frame"] == "mp2020-corrected"
    (mine,) = [one for one in content["phases"] if one["kind"] == "candidate"]
    known = [one for one in content["phases"] if one["kind"] == "reference" and one["formula"] == "ZnS"]
    assert min(abs(one["energy_per_atom"] - mine["energy_per_atom"]) for one in known) < 1e-3
    assert 0 <= mine["E_hull"] < 0.02
    assert (tmp_path / "Zn-S.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "Name a chemical system"),
        (["Zn-Xx"], "Unknown element 'Xx'"),
        (["Na-Cl"], "no packaged references cover Cl-Na"),
        (["Zn-S", "--references", "none"], "no references were wanted"),
        (["Zn-S", "--out", "hull.txt"], "must end in"),
        (["Zn-S", "--candidates", "absent"], "There is no absent"),
    ],
)
def test_refusals(args: list[str], message: str) -> None:
    result = chggen("hull", *args)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
