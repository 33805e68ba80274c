"""Both sides of a comparison of local environments, and the verb."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from report_samples import make_benchmark, make_run, rocksalt

from chggen_kit.cli import cli
from chggen_kit.cli._environments import FINDERS as OFFERED
from chggen_kit.errors import InputError
from chggen_kit.io.files import write_structure
from chggen_kit.metrics.environments import FINDERS
from chggen_kit.report.environment_sets import reference_structures, structures_in


def test_structures_come_from_files_folders_runs_and_benchmarks(tmp_path: Path) -> None:
    write_structure(rocksalt(), tmp_path / "salt.cif", "cif")
    assert len(structures_in(tmp_path / "salt.cif")) == len(structures_in(tmp_path)) == 1
    run = make_run(tmp_path / "run", n=2)
    relaxed, drawn = structures_in(run), structures_in(run, "generated")
    assert len(relaxed) == len(drawn) > 0
    assert relaxed[0].volume != pytest.approx(drawn[0].volume, rel=1e-6)
    assert len(structures_in(run / "results.db")) == len(relaxed)
    benchmark = make_benchmark(tmp_path / "benchmark")
    assert len(structures_in(benchmark)) == 80
    with pytest.raises(InputError, match="holds no structure files"):
        structures_in(benchmark / "cells")


def test_packaged_phases_of_the_same_elements() -> None:
    silicide = rocksalt("Li", "Si")
    found, name = reference_structures("packaged", [silicide])
    assert name == "packaged phases of Li-Si"
    assert len(found) > 5
    assert {symbol for one in found for symbol in one.symbol_set} == {"Li", "Si"}
    with pytest.raises(InputError, match="No packaged phase holds all of Cl, Na"):
        reference_structures("packaged", [rocksalt()])


def test_the_verb_prints_a_table_and_draws(tmp_path: Path) -> None:
    for name, edge in (("a", 5.6), ("b", 5.9)):
        (tmp_path / name).mkdir()
        write_structure(rocksalt(edge_A=edge), tmp_path / name / "salt.cif", "cif")
    command = ["environments", str(tmp_path / "a"), str(tmp_path / "b")]
    result = CliRunner().invoke(cli, [*command, "--out", str(tmp_path / "o"), "--ligands", "Cl"])
    assert result.exit_code == 0, result.output
    assert "g(r), mean over pairs" in result.stdout
    assert {path.name for path in (tmp_path / "o").iterdir()} >= {"environments-rdf.png", "environments-rdf.svg"}
    again = CliRunner().invoke(cli, [*command, "--out", str(tmp_path / "o")])
    assert again.exit_code == 2
    assert "there already" in again.stderr
    plain = json.loads(CliRunner().invoke(cli, [*command, "--json"]).stdout)
    assert plain["mean_rdf_distance_A"]["value"] > 0.05
    assert plain["mean_coordination_distance"]["value"] == 0
    assert CliRunner().invoke(cli, [*command, "--ligands", "Xx"]).exit_code == 2


def test_the_command_line_offers_all_finders() -> None:
    assert set(OFFERED) == set(FINDERS)
