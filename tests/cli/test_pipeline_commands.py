"""`chggen generate`, `inpaint`, `relax`, `refine`, `export`: what they print, and how they refuse."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from pymatgen.core import Lattice, Structure
from pymatgen.io.vasp import Poscar

from chggen_kit.cli import cli
from chggen_kit.io.files import read_structure, write_structure

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow"))
from workflow_rows import read_rows
from workflow_toys import toy_registry

Chggen = Callable[..., Result]
FAST = ["--sampler-option", "steps=6", "--sampler-option", "jump_length=2", "--max-steps", "20", "--references", "none"]
FAST += ["--null-rates", "2"]
FAST_GENERATE = [*FAST, "--unconditional-sampler-option", "steps=6", "--refiner", "strip", "--volume-per-atom", "18"]
HOST = Structure(Lattice([[5, 0.1, 0], [0, 5.5, 0.2], [0.3, 0, 6]]), ["Na", "Cl"], [[-0.1, 0.2, 1.3], [0.5, 0.6, 0.7]])


@pytest.fixture(autouse=True)
def _restore_logging_and_warnings() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    with warnings.catch_warnings():
        yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def chggen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Chggen:
    """Run the command line over the small plug-ins, in an empty directory."""
    registry = toy_registry()
    monkeypatch.setattr("chggen_kit.plugins.get_registry", lambda **_: registry)
    monkeypatch.chdir(tmp_path)

    def run(*args: str | Path) -> Result:
        return CliRunner().invoke(cli, [str(arg) for arg in args])

    return run


@pytest.fixture
def host_file(tmp_path: Path) -> Path:
    write_structure(HOST, tmp_path / "host.json", "json")
    return tmp_path / "host.json"


def test_generate_prints_candidates_rates_and_the_directory(chggen: Chggen) -> None:
    result = chggen(
        "generate", "ZnP2S", "-n", "2", "--guests", "Zn", "--inpaintings", "1", "--seed", "3", *FAST_GENERATE
    )
    assert result.exit_code == 0, result.output
    assert "Candidates by energy per atom" in result.stdout
    assert "Symmetric, unconditional:" in result.stdout
    assert "structures started" in result.stdout
    assert "Run directory: runs/ZnP2S-seed3" in result.stderr
    summary = json.loads(Path("runs/ZnP2S-seed3/summary.json").read_text())
    assert summary["unconditional"]["started"] == 2
    assert summary["seed"] == 3


def test_the_same_command_goes_on_and_another_is_refused(chggen: Chggen) -> None:
    command = ["generate", "ZnP2S", "-n", "1", "--guests", "Zn", "--inpaintings", "1", "--out", "o", *FAST_GENERATE]
    assert chggen(*command).exit_code == 0
    again = chggen(*command)
    assert again.exit_code == 0
    assert "draw" not in again.stderr
    other = chggen(*command, "--inpaintings", "2")
    assert other.exit_code == 2
    assert "config.inpaintings is 1 there and 2 here" in other.stderr


def test_without_a_symmetrisable_host_it_says_so_and_exits_0(chggen: Chggen) -> None:
    result = chggen(
        "generate", "ZnP2S", "-n", "1", "--guests", "Zn", "--out", "o", *FAST_GENERATE, "--refiner", "no-host"
    )
    assert result.exit_code == 0
    assert "No host could be symmetrised" in result.stdout
    assert "Symmetric, unconditional:" in result.stdout


def test_options_of_plugins_reach_them(chggen: Chggen) -> None:
    result = chggen(
        *["generate", "ZnP2S", "-n", "1", "--guests", "Zn", "--inpaintings", "0", "--out", "o", *FAST_GENERATE],
        *["--backend-option", "spread=0.2", "--sampler", "replace", "--excluded-groups", "1,2,6"],
    )
    assert result.exit_code == 0, result.output
    config = json.loads(Path("o/run.json").read_text())["identity"]["config"]
    assert config["backend"] == {"name": "sites", "options": {"spread": 0.2}}
    assert config["sampler"] == {"name": "replace", "options": {"steps": 6, "jump_length": 2}}
    assert config["unconditional_sampler"] == {"name": "predictor-corrector", "options": {"steps": 6}}
    assert config["excluded_groups"] == [1, 2, 6]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["ZnXx"], "Unknown element 'Xx'"),
        ([""], "formula is empty"),
        (["Zn0.5S"], "not whole"),
        (["ZnS0"], "not positive"),
        (["ZnP2S", "--guests", "Li"], "Li is not in"),
        (["LiSi", "--guests", "S"], "S is not in LiSi"),
        (["ZnS", "--guests", "Zn,S"], "leaves nothing"),
        (["ZnS", "-n", "0"], "n = 0"),
        (["ZnS", "-n", "-1"], "n = -1"),
        (["ZnS", "--formula-units", "0"], "at least 1"),
        (["ZnS", "--formula-units", "1.5"], "--formula-units"),
        (["ZnS", "--inpaintings", "-1"], "inpaintings"),
        (["ZnS", "--volume-per-atom", "0"], "volume_per_atom"),
        (["ZnS", "--sampler", "repiant"], "repaint"),
        (["ZnS", "--sampler-option", "stepps=3"], "steps"),
        (["ZnS", "--sampler-option", "steps"], "NAME=VALUE"),
        (["ZnS", "--backend", "nequop"], "nequop"),
        (["ZnS", "--excluded-groups", "a"], "--excluded-groups"),
    ],
)
def test_generate_refuses_with_exit_code_2(chggen: Chggen, args: list[str], message: str) -> None:
    result = chggen("generate", *args, "--out", "o")
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert not Path("o").exists()


def test_inpaint_keeps_the_host_and_lists_the_results(chggen: Chggen, host_file: Path) -> None:
    result = chggen("inpaint", host_file, "--guest", "Li=2", "-n", "2", "--out", "o", *FAST)
    assert result.exit_code == 0, result.output
    assert "drift" in result.stdout
    exported = chggen("export", "o", "--which", "generated", "--format", "json", "--out", "e")
    assert exported.exit_code == 0
    for path in Path("e").iterdir():
        structure = read_structure(path)
        assert structure.composition == HOST.composition + {"Li": 2}
        assert structure.frac_coords[:2].tobytes() == HOST.frac_coords.tobytes()
        assert structure.lattice.matrix.tobytes() == HOST.lattice.matrix.tobytes()


def test_inpaint_without_relaxation_and_several_guests(chggen: Chggen, host_file: Path) -> None:
    result = chggen("inpaint", host_file, "--guest", "Li=1", "--guest", "K=1", "-n", "1", "--no-relax", *FAST)
    assert result.exit_code == 0, result.output
    assert "Run directory: runs/NaCl-Li1K1-seed0" in result.stderr
    refused = chggen("export", "runs/NaCl-Li1K1-seed0", "--out", "e")
    assert refused.exit_code == 2
    assert "--which generated" in refused.stderr


CIF = """data_x
_cell_length_a 5
_cell_length_b 5
_cell_length_c 5
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
loop_
_atom_site_label
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
"""


@pytest.mark.parametrize(
    ("content", "args", "message"),
    [
        (CIF + "Na 0 0 0 1\nCl 0.02 0 0 1\n", ["--guest", "Li=1"], "Overlapping atoms"),
        (CIF + "Na 0 0 0 0.5\nCl 0.5 0 0 1\n", ["--guest", "Li=1"], "has partially occupied sites of Na too"),
        ("nonsense", ["--guest", "Li=1"], "Cannot read a structure"),
        (None, ["--guest", "Li=1"], "There is no file"),
        (CIF + "Na 0 0 0 1\n", ["--guest", "Li=0"], "at least 1"),
        (CIF + "Na 0 0 0 1\n", ["--guest", "Li=-1"], "whole number"),
        (CIF + "Na 0 0 0 1\n", ["--guest", "Li"], "ELEMENT=COUNT"),
        (CIF + "Na 0 0 0 1\n", ["--guest", "Lq=1"], "Unknown element"),
        (CIF + "Na 0 0 0 1\n", ["--guest", "Li=1", "-n", "0"], "n = 0"),
        (CIF + "Na 0 0 0 1\n", [], "--guest"),
    ],
)
def test_inpaint_refuses_with_exit_code_2(chggen: Chggen, content: str | None, args: list[str], message: str) -> None:
    if content is not None:
        Path("host.cif").write_text(content)
    result = chggen("inpaint", "host.cif", *args, "--out", "o")
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert not Path("o").exists()


def test_an_output_directory_with_other_files_is_refused(chggen: Chggen, host_file: Path) -> None:
    result = chggen("inpaint", host_file, "--guest", "Li=1", "--out", host_file.parent)
    assert result.exit_code == 2
    assert "is not a run of this kit" in result.stderr


def test_relax_writes_structures_and_a_report(chggen: Chggen, host_file: Path) -> None:
    dense = HOST.copy()
    dense.scale_lattice(50)
    first_file, second = host_file.parent / "dense.json", host_file.parent / "other.cif"
    write_structure(dense, first_file, "json")
    write_structure(dense, second, "cif")
    result = chggen("relax", first_file, second, "--out", "o", "--max-steps", "30", "--format", "extxyz")
    assert result.exit_code == 0, result.output
    assert "other.cif" in result.stdout
    report = json.loads(Path("o/relaxed.json").read_text())
    first, twin = report["structures"]
    assert first["file"] == "dense.extxyz"
    assert first["energy_change"] < 0
    assert first["energy"] == pytest.approx(twin["energy"], abs=1e-6)
    assert len(read_structure(Path("o/dense.extxyz"))) == 2
    again = chggen("relax", first_file, "--out", "o", "--format", "extxyz")
    assert again.exit_code == 2
    assert "there already" in again.stderr


def test_relax_leaves_out_what_cannot_be_read_and_says_why(chggen: Chggen, host_file: Path) -> None:
    Path("bad.cif").write_text("nonsense")
    Path("dense.cif").write_text(CIF + "Na 0 0 0 1\nCl 0.02 0 0 1\n")
    result = chggen("relax", "bad.cif", host_file, "dense.cif", "gone.cif", "--out", "o", "--max-steps", "5")
    assert result.exit_code == 0, result.output
    assert len(read_structure(Path("o/host.cif"))) == 2
    assert sorted(path.name for path in Path("o").iterdir()) == ["host.cif", "relaxed.json"]
    rows = json.loads(Path("o/relaxed.json").read_text())["structures"]
    assert [row["source"] for row in rows] == ["bad.cif", "host.json", "dense.cif", "gone.cif"]
    assert [row["outcome"] == "unusable" for row in rows] == [True, False, True, True]
    assert [row["file"] for row in rows] == [None, "host.cif", None, None]
    assert rows[1]["problem"] is None
    for row, problem in ((rows[0], "Cannot read"), (rows[2], "Overlapping atoms"), (rows[3], "There is no file")):
        assert problem in row["problem"]
        assert f"Left out: {row['problem']}" in result.stderr


@pytest.mark.parametrize("files", [["bad.cif"], ["bad.cif", "gone.cif"]])
def test_relax_refuses_when_nothing_can_be_read(chggen: Chggen, files: list[str]) -> None:
    Path("bad.cif").write_text("nonsense")
    result = chggen("relax", *files, "--out", "o")
    assert result.exit_code == 2
    assert "Cannot read a structure from bad.cif" in result.stderr
    assert ("There is no file gone.cif" in result.stderr) is ("gone.cif" in files)
    assert not Path("o").exists()


@pytest.mark.parametrize("verb", [["relax", "--max-steps", "1"], ["refine"]])
def test_a_file_in_the_place_of_the_output_directory_is_refused(chggen: Chggen, verb: list[str]) -> None:
    rocksalt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    write_structure(rocksalt, Path("salt.cif"), "cif")
    Path("o").write_text("mine")
    result = chggen(*verb, "salt.cif", "--out", "o")
    assert result.exit_code == 2, result.output
    assert "o is there already" in result.stderr


def test_relax_with_a_fixed_cell_keeps_it(chggen: Chggen, host_file: Path) -> None:
    assert chggen("relax", host_file, "--out", "o", "--fixed-cell", "--max-steps", "5").exit_code == 0
    after = read_structure(Path("o/host.cif"))
    assert after.lattice.parameters == pytest.approx(HOST.lattice.parameters)


def test_relax_keeps_the_symmetry_that_it_is_asked_to_keep(chggen: Chggen) -> None:
    crystal = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.0), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    for index, move in enumerate(np.random.default_rng(0).normal(scale=0.02, size=(len(crystal), 3))):
        crystal.translate_sites([index], move, frac_coords=False, to_unit_cell=False)
    write_structure(crystal, Path("salt.json"), "json")
    command = ["relax", "salt.json", "--symprec", "0.01", "--max-steps", "2", "--policy", "keep-symmetry", "--out"]
    result = chggen(*command, "o")
    assert result.exit_code == 0, result.output
    report = json.loads(Path("o/relaxed.json").read_text())
    assert report["structures"][0]["spacegroup"] == "Fm-3m (225)"
    assert report["structures"][0]["freed"] is False
    assert report["config"]["relax_policy"]["name"] == "keep-symmetry"
    assert chggen(*command, "tight", "--relax-symprec", "1e-4").exit_code == 0
    assert "Fm-3m" not in Path("tight/relaxed.json").read_text()


def test_relax_keeps_the_host_of_named_guests(chggen: Chggen, host_file: Path) -> None:
    command = ["relax", host_file, "--out", "o", "--fmax", "1e-6", "--max-steps", "5", "--format", "json"]
    command += ["--policy", "fixed-host"]
    refused = chggen(*command)
    assert refused.exit_code == 2
    assert "needs the guests" in refused.stderr
    assert chggen(*command, "--guests", "Cl").exit_code == 0
    before, after = read_structure(host_file), read_structure(Path("o/host.json"))
    assert (after.lattice.matrix == before.lattice.matrix).all()
    moved = [(one.frac_coords != other.frac_coords).any() for one, other in zip(before, after, strict=True)]
    assert [site.specie.symbol for site in before] == ["Na", "Cl"]
    assert moved == [False, True]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--fixed-cell", "--policy", "free"], "contradicts"),
        (["--relax-symprec", "0.2"], "only keep-symmetry has the settings symprec_A"),
        (["--policy", "fixed-cell", "--relax-min-gain", "0.1"], "only keep-symmetry has the settings min_gain"),
        (["--policy", "none"], "keep-symmetry"),
    ],
)
def test_relax_refuses_policies_that_make_no_sense(
    chggen: Chggen, host_file: Path, options: list[str], complaint: str
) -> None:
    result = chggen("relax", host_file, "--out", "o", *options)
    assert result.exit_code == 2
    assert complaint in result.stderr


def test_refine_lists_hosts_and_the_guests_of_each(chggen: Chggen, host_file: Path) -> None:
    result = chggen("refine", host_file, "--guests", "Na", "--refiner", "strip", "--out", "o")
    assert result.exit_code == 0, result.output
    if "No symmetry" not in result.stdout:
        assert "Na=1" in result.stdout
        assert len(read_structure(Path("o/host_host1.cif"))) == 1
    nothing = chggen("refine", host_file, "--refiner", "no-host")
    assert nothing.exit_code == 0
    assert "No symmetry" in nothing.stdout
    refused = chggen("refine", host_file, "--guests", "Si", "--refiner", "strip")
    assert refused.exit_code == 2
    assert "Si is not in" in refused.stderr


def test_export_refuses_what_is_no_run(chggen: Chggen) -> None:
    result = chggen("export", "nowhere", "--out", "o")
    assert result.exit_code == 2
    assert "There is no" in result.stderr


def test_help_is_written_without_loading_torch() -> None:
    code = (
        "import sys; from chggen_kit.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: print('torch' in sys.modules, 'pymatgen' in sys.modules, file=sys.stderr)"
    )
    for verb in ("generate", "inpaint", "relax", "refine", "export", "evaluate"):
        command = [sys.executable, "-c", code, verb, "--help"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
        assert done.returncode == 0, done.stderr
        assert "--out" in done.stdout
        assert done.stderr.split()[-2:] == ["False", "False"]


HOST_CIF = """data_host
_cell_length_a 5.1
_cell_length_b 6.2
_cell_length_c 7.3
_cell_angle_alpha 90
_cell_angle_beta 101.5
_cell_angle_gamma 90
loop_
_symmetry_equiv_pos_as_xyz
'x, y, z'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Cl1 Cl -0.33331(4) 1.25 0.66669
Na1 Na 0.33331 -2.5 3.1
Cl2 Cl 0.5 0.5 0.0001
"""
HOST_ROWS = [[-0.33331, 1.25, 0.66669], [0.33331, -2.5, 3.1], [0.5, 0.5, 0.0001]]


@pytest.mark.parametrize("name", ["host.cif", "host.json", "POSCAR", "host.extxyz"])
def test_inpaint_keeps_the_numbers_and_the_order_of_the_file(chggen: Chggen, tmp_path: Path, name: str) -> None:
    (tmp_path / "host.cif").write_text(HOST_CIF)
    lattice = Lattice.from_parameters(5.1, 6.2, 7.3, 90, 101.5, 90)
    given = Structure(lattice, ["Cl", "Na", "Cl"], HOST_ROWS)
    if name == "POSCAR":
        (tmp_path / name).write_text(Poscar(given).get_str(significant_figures=16))
    elif name != "host.cif":
        write_structure(given, tmp_path / name, "json" if name == "host.json" else "extxyz")
    result = chggen("inpaint", name, "--guest", "Li=2", "--sampler", "random", "--no-relax", "-n", "1", "--out", "o")
    assert result.exit_code == 0, result.output
    (row,) = read_rows(tmp_path / "o" / "results.db")
    drawn = row["data"]["as_generated"]
    assert drawn["species"] == ["Cl", "Na", "Cl", "Li", "Li"]
    if name == "host.extxyz":  # Cartesian: the fractions that follow from what it holds
        assert np.allclose(drawn["frac_coords"][:3], HOST_ROWS, rtol=0, atol=1e-14)
        assert drawn["frac_coords"][:3] == read_structure(tmp_path / name).frac_coords.tolist()
    else:
        assert drawn["frac_coords"][:3] == HOST_ROWS
    if name != "POSCAR":
        assert drawn["lattice"] == lattice.matrix.tolist()
