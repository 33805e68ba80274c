"""`chggen env create`: what is installed, what is written, and what is left behind when something fails."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from chggen_kit.cli import cli
from chggen_kit.errors import InputError, PluginError
from chggen_kit.isolated.environment import MARK, Recipe, enter_in_table, find_entry, make_environment, recipe
from chggen_kit.plugins import get_registry
from chggen_kit.plugins.environments import read_environments

VENV = (sys.executable, "-m", "venv", "--without-pip")


def test_the_recipe_installs_what_the_plugin_declares(tmp_path: Path) -> None:
    how = recipe(find_entry(get_registry(), "mace"), tmp_path / "mace", extra=["rich"])
    venv, torch, packages = how.commands
    assert venv == (sys.executable, "-m", "venv", str(tmp_path / "mace"))
    assert torch[-1].startswith("torch==")
    assert "+" not in torch[-1]
    assert {"numpy", "safetensors", "mace-torch>=0.3.16", "rich"} <= set(packages)
    *_, bare = recipe(find_entry(get_registry(), "mattergen"), tmp_path / "mattergen", torch="torch==2.4.1").commands
    assert "--no-deps" in bare
    with pytest.raises(PluginError, match=r"There are: .*mace"):
        find_entry(get_registry(), "mase")


def test_an_environment_is_made_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "environment"
    failing = Recipe(
        folder, ((*VENV, str(folder)), (sys.executable, "-c", "print('no such package'); raise SystemExit(3)")), ("x",)
    )
    with pytest.raises(PluginError, match=r"exit code 3\):\nno such package"):
        make_environment(failing)
    assert not folder.exists()
    good = Recipe(folder, ((*VENV, str(folder)),), ("x",))
    interpreter = make_environment(good)
    assert interpreter.is_file()
    assert (folder / MARK).is_file()
    assert make_environment(failing) == interpreter  # it is there: nothing is done
    with pytest.raises(PluginError):
        make_environment(failing, force=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    for force in (False, True):
        with pytest.raises(InputError, match="holds something already"):
            make_environment(Recipe(tmp_path / "mine", good.commands, ()), force=force)
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years of work"


def test_the_table_keeps_what_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHGGEN_ENVIRONMENTS", "")
    file = tmp_path / "chggen.toml"
    file.write_text('# ours\n[environments]\nsevennet = "/envs/sevennet"\n')
    assert enter_in_table("mace", Path(sys.executable), file)
    assert file.read_text().startswith("# ours\n")
    assert tomllib.loads(file.read_text())["environments"]["sevennet"] == "/envs/sevennet"
    assert str(read_environments()["mace"].python) == sys.executable
    assert not enter_in_table("mace", Path(sys.executable), file)
    with pytest.raises(InputError, match="already: /envs/sevennet"):
        enter_in_table("sevennet", Path(sys.executable), file)
    file.write_text("[environments\n")
    with pytest.raises(InputError, match="cannot be read"):
        enter_in_table("mace", Path(sys.executable), file)


def test_the_command_says_what_it_would_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, ["env", "create", "sevennet", "--path", "here/env", "--dry-run"])
    assert done.exit_code == 0, done.output
    assert f"{tmp_path}/here/env/bin/python -m pip install" in done.output
    assert "sevenn" in done.output
    assert not list(tmp_path.iterdir())
    done = CliRunner().invoke(cli, ["env", "create", "mase"])
    assert done.exit_code == 2
    assert "mace" in done.output
    (tmp_path / "chggen.toml").write_text(f'[environments]\nmace = "{sys.executable}"\n')
    listed = CliRunner().invoke(cli, ["env", "list"]).output
    assert "mace" in listed
    assert str(tmp_path / "chggen.toml") in listed or "chggen.toml" in listed
