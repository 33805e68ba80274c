"""`chggen dft-inputs`: what it prints, and how it refuses."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from pymatgen.core import SETTINGS

from chggen_kit.cli import cli

sys.path.insert(0, str(Path(__file__).parents[1] / "dft"))
from dft_runs import caesium_chloride, record, rocksalt, write_run


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delitem(SETTINGS, "PMG_VASP_PSP_DIR", raising=False)
    return write_run(tmp_path / "run", [record("i0", caesium_chloride(), -3.0), record("i1", rocksalt(), -3.02)])


def test_it_lists_the_folders_and_says_what_the_threshold_means(run: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["dft-inputs", str(run), "--out", str(tmp_path / "o"), "--threshold", "10"])
    assert result.exit_code == 0, result.output
    assert "001_i1_NaCl_Fm-3m" in result.stdout
    assert "i0_NaCl" not in result.stdout
    assert "Threshold: 10 meV/atom on the energy above the run's best structure" in result.stdout
    assert "POTCAR.spec" in result.stdout
    assert (tmp_path / "o" / "001_i1_NaCl_Fm-3m" / "INCAR").is_file()


def test_refusals_have_exit_code_2(run: Path, tmp_path: Path) -> None:
    (tmp_path / "o").mkdir()
    for arguments, message in (
        (["--out", str(tmp_path / "o")], "there already"),
        (["--threshold", "-5"], "lowest is at"),
        (["--kspacing", "metalic"], "metallic"),
    ):
        result = CliRunner().invoke(cli, ["dft-inputs", str(run), *arguments])
        assert result.exit_code == 2, result.output
        assert message in result.stderr
    result = CliRunner().invoke(cli, ["dft-inputs", str(tmp_path / "nowhere")])
    assert result.exit_code == 2
    assert "There is no" in result.stderr
