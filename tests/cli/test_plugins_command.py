from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from chggen_kit.cli import cli

BROKEN = """
from chggen_kit import hookimpl
import a_library_that_nobody_has
"""
NEEDY = """
from chggen_kit import hookimpl

@hookimpl
def chggen_kit_register_potentials(register):
    register("needy", "nowhere:build", summary="Not here", requires=["a-library-that-nobody-has>=2"])

@hookimpl
def chggen_kit_register_trainers(register):
    register("toy", "cli_needy_trainer:train", summary="Trains a toy")
    register("slow", "cli_needy:nothing", summary="Cannot", requires=["a-library-that-nobody-has>=2"])
"""
QUITTER = """
from chggen_kit import hookimpl

@hookimpl
def chggen_kit_register_potentials(register):
    register("quits", "cli_quits:build")
"""
TRAINER = """
import click

@click.command()
@click.option("--epochs", default=1)
def train(epochs):
    click.echo(f"trained for {epochs}")
"""


def install(folder: Path, distribution: str, source: str) -> None:
    module = distribution.replace("-", "_")
    (folder / f"{module}.py").write_text(source)
    info = folder / f"{module}-0.3.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 0.3\n")
    (info / "entry_points.txt").write_text(f"[chggen_kit]\n{distribution} = {module}\n")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with a broken plug-in and one that lacks a library, as pip would leave them."""
    install(tmp_path, "cli-broken", BROKEN)
    install(tmp_path, "cli-needy", NEEDY)
    (tmp_path / "cli_needy_trainer.py").write_text(TRAINER)
    return tmp_path


def chggen(site: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, with `site` installed."""
    environment = {k: v for k, v in os.environ.items() if k != "CHGGEN_PLUGINS"}
    environment["PYTHONPATH"] = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    code = "from chggen_kit.cli import main; main()"
    return subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code, *args], env=environment, capture_output=True, text=True, check=False, timeout=60
    )


def test_broken_plugins_are_explained_below_and_the_rest_listed(site: Path) -> None:
    result = chggen(site, "plugins")
    assert result.returncode == 0, result.stderr
    assert "repaint" in result.stdout
    assert "ModuleNotFoundError: No module named 'a_library_that_nobody_has'" in result.stdout
    assert "to mend it: pip install a_library_that_nobody_has" in result.stdout
    assert result.stdout.index("cli-broken") > result.stdout.index("fire")
    (needy,) = [line for line in result.stdout.splitlines() if "needy " in line and "potential" in line]
    assert "missing requirement" in needy
    assert "pip install 'a-library-that-nobody-has>=2'" in needy


def test_strict_makes_a_broken_plugin_fatal(site: Path) -> None:
    result = chggen(site, "--strict-plugins", "plugins")
    assert result.returncode == 2
    assert "cli-broken" in result.stderr


def test_json_holds_the_same(site: Path) -> None:
    listing = json.loads(chggen(site, "plugins", "--json").stdout)
    assert {p["name"] for p in listing["plugins"]} >= {"repaint", "ladder", "fire", "needy"}
    assert "cli-broken" in {b["entry_point"] for b in listing["broken"]}


@pytest.mark.parametrize(("verb", "limit_s"), [("--help", 0.5), ("plugins", 1.0)])
def test_help_and_listing_are_fast_with_a_broken_plugin_installed(site: Path, verb: str, limit_s: float) -> None:
    chggen(site, verb)  # compiles and warms the file cache
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert chggen(site, verb).returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Processor time, which is all that an idle machine would take: what else runs here does not count.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < limit_s


def test_trainers_are_dispatched_with_their_own_options(site: Path) -> None:
    listing = chggen(site, "train", "--help")
    assert "Trains a toy" in listing.stdout
    assert "not usable: pip install 'a-library-that-nobody-has>=2'" in " ".join(listing.stdout.split())
    assert chggen(site, "train", "toy", "--epochs", "7").stdout == "trained for 7\n"
    unusable = chggen(site, "train", "slow")
    assert (unusable.returncode, "needs a-library-that-nobody-has>=2" in unusable.stderr) == (2, True)
    unknown = chggen(site, "train", "tyo")
    assert (unknown.returncode, "Did you mean 'toy'" in unknown.stderr) == (2, True)


def test_show_explains_what_cannot_be_used(site: Path) -> None:
    result = chggen(site, "plugins", "show", "needy")
    assert result.returncode == 0, result.stderr
    assert "cannot be read before it is installed: pip install 'a-library-that-nobody-has>=2'" in result.stdout


def test_a_module_that_exits_on_import_is_explained(site: Path) -> None:
    install(site, "cli-quitter", QUITTER)
    (site / "cli_quits.py").write_text("import sys\nsys.exit(0)\n")
    result = chggen(site, "plugins", "show", "quits")
    assert result.returncode == 0, result.stderr
    assert "capabilities unknown: The factory 'cli_quits:build'" in result.stdout
    assert "SystemExit: 0 (cli_quits.py, line 2)" in result.stdout


def test_a_trainer_with_an_odd_summary_leaves_the_others_alone(site: Path) -> None:
    install(site, "cli-odd", NEEDY.replace('summary="Trains a toy"', "summary=None").replace('"toy"', '"odd"'))
    result = chggen(site, "train", "--help")
    assert result.returncode == 0, result.stderr
    assert "Trains a toy" in result.stdout
    assert "odd" not in result.stdout
    assert "summary of trainer 'odd' is None" in chggen(site, "plugins").stdout


def show(*args: str) -> Result:
    return CliRunner().invoke(cli, ["plugins", "show", *args])


def test_show_gives_options_with_types_defaults_and_meaning() -> None:
    result = show("random")
    assert result.exit_code == 0, result.output
    (line,) = [line for line in result.stdout.splitlines() if "min_distance_A" in line]
    assert "float, > 0" in line
    assert "1.5" in line
    (facts,) = json.loads(show("random", "--json").stdout)
    assert facts["kind"] == "sampler"
    assert {o["name"] for o in facts["options"]} == {"min_distance_A", "attempts", "restarts"}


def test_show_of_an_unknown_name_is_refused_with_near_matches() -> None:
    result = show("repiant")
    assert result.exit_code == 2
    assert "Did you mean 'repaint'" in result.stderr
    result = show("repaint", "--kind", "relaxer")
    assert result.exit_code == 2
    assert "is the name of a sampler" in result.stderr
