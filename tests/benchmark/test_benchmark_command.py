"""`chggen benchmark` as users call it: a plug-in by its entry point alone, workers, estimates, disordered hosts."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from benchmark_toys import CHANNEL, install_toys, toy_plain
from click.testing import CliRunner, Result
from pymatgen.io.cif import CifWriter
from workflow_toys import toy_registry

from chggen_kit.benchmark import Benchmark
from chggen_kit.benchmark.hosts import crystal
from chggen_kit.benchmark.reading import preset_names, validated
from chggen_kit.benchmark.spec import CrystalSpec
from chggen_kit.cli import cli

Chggen = Callable[..., Result]


@pytest.fixture
def chggen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Chggen:
    """Run the command line over the small plug-ins, in an empty directory."""
    registry = toy_registry()
    for module in ("plugins", "benchmark.benchmark", "benchmark.worker"):
        monkeypatch.setattr(f"chggen_kit.{module}.get_registry", lambda **_: registry)
    monkeypatch.chdir(tmp_path)

    def run(*args: str | Path) -> Result:
        return CliRunner().invoke(cli, [str(one) for one in args])

    return run


def small(tmp_path: Path, **changes: object) -> Path:
    systems = [{"formula": "LiSi", "guests": ["Li"]}]
    path = tmp_path / "small.yaml"
    path.write_text(
        yaml.safe_dump(
            toy_plain(**{"systems": systems, "methods": {"a": {}}, "seeds": [0], "name": "small", **changes})
        )
    )
    return path


def test_a_score_model_of_an_entry_point_is_named_and_nothing_else(tmp_path: Path) -> None:
    """In worker processes too, which find their plug-ins themselves."""
    spec = small(tmp_path)
    environment = install_toys(tmp_path / "site")
    command = [sys.executable, "-c", "from chggen_kit.cli import main; main()", "benchmark", str(spec)]
    done = subprocess.run(  # noqa: S603 - our own code
        [*command, "--out", str(tmp_path / "out"), "--workers", "1", "--progress", "none", "--no-report"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    assert "leaked" not in done.stderr
    result = Benchmark.load(tmp_path / "out")
    assert "chggen-toys" in result.about["versions"]["score-model sites"]
    assert (result.cells["network_calls"] > 0).all()


def test_the_plan_is_printed_and_nothing_is_run(chggen: Chggen, tmp_path: Path) -> None:
    spec = small(tmp_path)
    first = chggen("benchmark", spec, "--dry-run", "--workers", "2", "--out", tmp_path / "out")
    assert first.exit_code == 0, first.output
    assert "rough" in first.output
    assert not (tmp_path / "out").exists()
    ran = chggen("benchmark", spec, "--workers", "0", "--out", tmp_path / "out", "--progress", "none")
    assert ran.exit_code == 0, ran.output
    assert "report.html" in ran.output
    assert (tmp_path / "out" / "report.html").exists()
    again = chggen("benchmark", spec, "--dry-run", "--out", tmp_path / "out")
    assert "done" in again.output
    other = small(tmp_path, seeds=[4])
    cache = tmp_path / "out" / "cells"
    known = chggen("benchmark", other, "--dry-run", "--out", tmp_path / "other", "--cache", cache)
    assert "same method" in known.output


def test_failures_are_told_and_the_exit_code_is_one(chggen: Chggen, tmp_path: Path) -> None:
    spec = small(tmp_path, systems=[{"formula": "UO2"}])
    done = chggen("benchmark", spec, "--workers", "0", "--out", tmp_path / "out", "--progress", "none", "--no-report")
    assert done.exit_code == 1
    assert "1 of 1 runs failed" in done.output
    assert "does not cover U" in done.output


def test_schema_and_presets_are_printed(chggen: Chggen) -> None:
    assert "$defs" in json.loads(chggen("benchmark", "--schema").output)
    listed = chggen("benchmark", "--presets").output
    assert all(f"{name}: " in listed for name in preset_names())


def test_mistakes_are_told_in_a_sentence(chggen: Chggen, tmp_path: Path) -> None:
    for arguments, message in (
        ((), "Name a specification or a preset"),
        (("paper-zn",), "Did you mean 'paper-zn-p-s'"),
        ((small(tmp_path), "--seeds", "a"), "Cannot read --seeds"),
        ((small(tmp_path), "--systems", "LiSj"), "Unknown system 'LiSj'"),
        ((small(tmp_path), "--quick"), "has no quick size"),
    ):
        refused = chggen("benchmark", *arguments)
        assert refused.exit_code == 2
        assert message in refused.output


def test_a_disordered_host_is_filled_end_to_end(chggen: Chggen, tmp_path: Path) -> None:
    disordered = crystal(validated(CrystalSpec, CHANNEL, "the channel"))
    path = tmp_path / "disordered.cif"
    path.write_text(str(CifWriter(disordered)))
    options = ["-n", "2", "--backend", "sites", "--potential", "pairs", "--max-steps", "10", "--null-rates", "0"]
    options += [
        "--sampler-option",
        "steps=6",
        "--sampler-option",
        "jump_length=2",
        "--references",
        "none",
        "--progress",
        "none",
    ]
    done = chggen("inpaint", path, "--out", "filled", *options)
    assert done.exit_code == 0, done.output
    stored = json.loads((tmp_path / "filled" / "run.json").read_text())["identity"]["config"]
    assert stored["guest_counts"] == {"Cl": 2}
    assert stored["host"]["species"] == ["Na"] * 4
    twice = chggen("inpaint", path, "--supercell", "1,1,2", "--out", "twice", *options)
    assert twice.exit_code == 0, twice.output
    counts = json.loads((tmp_path / "twice" / "run.json").read_text())["identity"]["config"]["guest_counts"]
    assert counts == {"Cl": 4}
    path.write_text(str(CifWriter(disordered)).replace("0.5\n", "0.4\n"))
    refused = chggen("inpaint", path, "--out", "refused", *options)
    assert refused.exit_code == 2
    assert "--supercell" in refused.output
