"""`chggen plugins check`: a report that a person, or a program, can read; and an exit code."""

from __future__ import annotations

import json
from pathlib import Path

import plugin_sites
import pytest
from click.testing import CliRunner, Result

from chggen_kit.cli import cli
from chggen_kit.io import to_structures
from chggen_kit.io.files import write_structure
from chggen_kit.state import CrystalBatch
from chggen_kit.testing.crystals import face_centred

BROKEN = """
from chggen_kit import hookimpl
from chggen_kit.samplers.random_placement import RandomOptions, RandomPlacement

class Drifting(RandomPlacement):
    def sample(self, model, task, *, seed, progress=None):
        result = super().sample(model, task, seed=seed, progress=progress)
        result.crystals.frac_coords.mul_(0.999)
        return result

@hookimpl
def chggen_kit_register_samplers(register):
    register("drifting", Drifting, RandomOptions)

@hookimpl
def chggen_kit_register_trainers(register):
    register("drifting-trainer", "nowhere:train")
"""


def check(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["plugins", "check", *arguments])


def test_a_right_plugin_passes_law_by_law() -> None:
    result = check("random")
    assert result.exit_code == 0, result.output
    assert "laws hold." in result.stdout
    assert "known-values-exact" in result.stdout
    assert "BROKEN" not in result.stdout


def test_json_holds_what_the_table_shows() -> None:
    result = check("random", "--json", "--option", "min_distance_A=1.2")
    report = json.loads(result.stdout)
    assert (report["kind"], report["name"], report["passed"]) == ("sampler", "random", True)
    laws = {law["law"]: law for law in report["laws"]}
    assert laws["independent-of-batch"]["measured"] <= laws["independent-of-batch"]["limit"]
    assert all(law["passed"] for law in report["laws"])


def test_a_broken_plugin_is_named_by_the_law_and_ends_with_1(tmp_path: Path) -> None:
    (tmp_path / "drifting_plugin.py").write_text(BROKEN)
    info = tmp_path / "drifting-2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: drifting\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text("[chggen_kit]\ndrifting = drifting_plugin\n")
    result = plugin_sites.chggen(tmp_path, "plugins", "check", "drifting")
    assert result.returncode == 1, result.stdout + result.stderr
    assert "Broken: known-values-exact." in result.stdout
    (line,) = [line for line in result.stdout.splitlines() if "known-values-exact" in line and "BROKEN" in line]
    assert "0.00" in line
    trainer = plugin_sites.chggen(tmp_path, "plugins", "check", "drifting-trainer")
    assert (trainer.returncode, "no laws for that kind" in trainer.stderr) == (2, True)


def test_crystals_of_ones_own(tmp_path: Path) -> None:
    files = []
    for number, crystal in enumerate(
        to_structures(CrystalBatch.concatenate([face_centred(29, 3.6), face_centred(47, 4.1)]))
    ):
        files += ["--crystals", str(tmp_path / f"{number}.cif")]
        write_structure(crystal, tmp_path / f"{number}.cif", "cif")
    result = check("random", *files)
    assert (result.exit_code, "leave out --crystals" in result.stderr) == (2, True)
    options = ["calculator=ase.calculators.emt:EMT", "energy_frame=toy", 'elements=["Cu","Ag"]']
    metal = ["ase", *(word for option in options for word in ("--option", option))]
    result = check(*metal, *files[:2])
    assert (result.exit_code, "at least two crystals" in result.stderr) == (2, True)
    result = check(*metal, *files)
    assert result.exit_code == 0, result.output
    assert "stress-is-strain-derivative" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["repiant"], "Did you mean 'repaint'"),
        (["random", "--known", "textbook"], "leave out --known"),
        (["random", "--option", "min_distance=1"], "Did you mean 'min_distance_A'"),
        (["random", "--kind", "relaxer"], "is the name of a sampler"),
    ],
)
def test_what_cannot_be_checked_is_refused(arguments: list[str], message: str) -> None:
    result = check(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
