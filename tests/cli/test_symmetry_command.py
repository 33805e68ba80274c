"""`chggen symmetry`: files and runs, tables and JSON and a picture, and how it refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from pymatgen.core import Lattice, Structure

from chggen_kit.cli import cli
from chggen_kit.io.files import write_structure
from chggen_kit.workflow.collect import write_database
from chggen_kit.workflow.records import Record, StructureData

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow"))
from workflow_toys import toy_registry

ROCKSALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
SKEWED = Structure(
    Lattice.from_parameters(4, 5, 6, 80, 95, 103), ["Na", "Cl", "S"], [[0, 0, 0], [0.4, 0.3, 0.6], [0.7, 0.8, 0.2]]
)


def chggen(*args: str | Path) -> Result:
    return CliRunner().invoke(cli, ["--progress", "none", "symmetry", "--no-moyopy", *[str(arg) for arg in args]])


@pytest.fixture
def run_directory(tmp_path: Path) -> Path:
    """A run of three starts, one of which failed; one was inpainted."""
    salt, skewed = StructureData.of(ROCKSALT), StructureData.of(SKEWED)
    records = [
        Record(id="u0", stage="unconditional", start=0, generated=skewed, relaxed=salt),
        Record(id="u1", stage="unconditional", start=1, generated=skewed, relaxed=skewed),
        Record(id="u2", stage="unconditional", start=2, generated=skewed, outcome="overlap"),
        Record(id="i0", stage="inpainted", start=0, host_id="h0", generated=salt),
    ]
    folder = tmp_path / "run"
    folder.mkdir()
    write_database(folder / "results.db", records, [], {"unconditional": {}, "inpainted": {}}, {})
    return folder


def test_files(tmp_path: Path) -> None:
    write_structure(ROCKSALT, tmp_path / "salt.cif", "cif")
    write_structure(SKEWED, tmp_path / "skewed.json", "json")
    result = chggen(tmp_path / "salt.cif", tmp_path / "skewed.json", "--out", tmp_path / "shares.png")
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["salt.cif", "NaCl", "spglib", *["Fm-3m"] * 6, "Fm-3m", "0.000"] in lines
    assert ["skewed.json", "NaSCl", "spglib", *["P1"] * 6, "-"] in lines
    assert "1 of 2 (50 %, 9 to 91)" in result.stdout
    assert (tmp_path / "shares.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_counts_its_stages_and_its_failures(run_directory: Path) -> None:
    result = chggen(run_directory, "--json")
    assert result.exit_code == 0, result.output
    shares = {one["source"]: one for one in json.loads(result.stdout)["shares"] if one["excluded_groups"] == [1, 2]}
    unconditional = shares["unconditional"]
    assert (unconditional["structures"], unconditional["missing"]) == (2, 1)
    assert (unconditional["by_rung"][4]["count"], unconditional["by_rung"][4]["of"]) == (1, 3)
    assert shares["inpainted"]["by_rung"][4]["count"] == 1
    drawn = json.loads(chggen(run_directory, "--json", "--generated").stdout)
    assert drawn["shares"][0]["by_rung"][4]["count"] == 0
    words = chggen(run_directory).stdout
    assert "unconditional: 1 did not come through and count as not symmetric." in words


def test_hosts_alone_as_they_are_and_relaxed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One guest out of place takes the symmetry of rocksalt away; without it there is Fm-3m, relaxed or not."""
    registry = toy_registry()
    monkeypatch.setattr("chggen_kit.plugins.get_registry", lambda **_: registry)
    filled = ROCKSALT.copy()
    filled.append("Li", [0.21, 0.13, 0.34])
    write_structure(filled, tmp_path / "filled.json", "json")
    # At the last tolerance, 0.3 Å, the guest is near enough to a mirror plane.
    (line,) = [one for one in _lines(chggen(tmp_path / "filled.json")) if one[:1] == ["filled.json"]]
    assert line[1:8] == ["Na4LiCl4", "spglib", *["P1"] * 5]
    alone = chggen(tmp_path / "filled.json", "--guests", "Li")
    assert ["filled.json", "NaCl", "spglib", *["Fm-3m"] * 6, "Fm-3m", "0.000"] in _lines(alone)
    assert "files, host alone" in alone.stdout
    relaxed = chggen(tmp_path / "filled.json", "--guests", "Li", "--relax-hosts", "--max-steps", "5", "--json")
    assert relaxed.exit_code == 0, relaxed.output
    content = json.loads(relaxed.stdout)
    assert content["shares"][0]["source"] == "files, host relaxed alone"
    assert content["shares"][0]["by_rung"][2]["count"] == 1
    for args, message in ((["--relax-hosts"], "Name the guests"), (["--guests", "S"], "holds none of")):
        result = chggen(tmp_path / "filled.json", *args)
        assert result.exit_code == 2, result.output
        assert message in result.stderr


def _lines(result: Result) -> list[list[str]]:
    assert result.exit_code == 0, result.output
    return [line.split() for line in result.stdout.splitlines()]


def test_refusals(tmp_path: Path, run_directory: Path) -> None:
    write_structure(ROCKSALT, tmp_path / "salt.cif", "cif")
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.db").write_text("no database")
    for args, message in (
        ([], "Name structure files"),
        ([tmp_path / "absent.cif"], "There is no file"),
        ([tmp_path / "empty"], "There is no"),
        ([tmp_path / "text.db"], "not a readable database"),
        ([tmp_path / "salt.cif", "--out", "shares.txt"], "must end in"),
        ([run_directory, "--out", tmp_path / "salt.cif"], "must end in"),
    ):
        result = chggen(*args)
        assert result.exit_code == 2, result.output
        assert message in result.stderr
