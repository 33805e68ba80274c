"""Where plug-ins run: `NAME@WHERE`, the configuration files, the variable, and what the registry makes of them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from chggen_kit import hookimpl
from chggen_kit.cli import cli
from chggen_kit.errors import InputError, PluginError
from chggen_kit.plugins import Registry, get_registry
from chggen_kit.plugins.environments import Environment, find_environment, read_environments, split_name
from chggen_kit.plugins.hookspecs import Register


class NeedyPotential:
    @hookimpl
    def chggen_kit_register_potentials(self, register: Register) -> None:
        register("needy", "nowhere:build", summary="Not here", requires=["no-such-library>=1"])


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def registry() -> Registry:
    return Registry.from_modules([NeedyPotential()])


def test_names_are_split_at_the_first_at() -> None:
    assert split_name("mace") == ("mace", None)
    assert split_name("mace@/a/b@c") == ("mace", "/a/b@c")
    for wrong in ("mace@", "@/a/b"):
        with pytest.raises(PluginError, match="NAME@/path"):
            split_name(wrong)


def test_an_interpreter_an_environment_and_a_key_are_found(tmp_path: Path) -> None:
    assert find_environment(sys.executable, {}).python == Path(sys.executable)
    folder = tmp_path / "environment" / "bin"
    folder.mkdir(parents=True)
    (folder / "python").symlink_to(sys.executable)
    for where in (str(folder.parent), "environment"):
        found = find_environment(where, {})
        assert found.python == folder / "python", "the link itself: what it points to is another environment"
    table = {"mace": Environment(Path(sys.executable), timeout_s=5)}
    assert find_environment("mace", table) is table["mace"]
    with pytest.raises(PluginError, match="Did you mean 'mace'"):
        find_environment("macee", table)
    with pytest.raises(PluginError, match="no Python interpreter at /nowhere/python"):
        find_environment("/nowhere/python", table)


def test_the_file_here_comes_before_the_users_and_the_variable_before_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    users = tmp_path / "config" / "chggen"
    users.mkdir(parents=True)
    (users / "chggen.toml").write_text('[environments]\na = "/user/python"\nb = "/user/python"\nc = "/user/python"\n')
    Path("chggen.toml").write_text(
        '[environments]\nb = "envs/python"\n[environments.c]\npython = "/c"\ntimeout_s = 5\n'
    )
    monkeypatch.setenv("CHGGEN_ENVIRONMENTS", os.pathsep.join(["c=/variable/python", "d=/d"]))
    table = read_environments()
    assert {name: str(e.python) for name, e in table.items()} == {
        "a": "/user/python",
        "b": str(tmp_path / "envs" / "python"),
        "c": "/variable/python",
        "d": "/d",
    }
    assert table["c"].timeout_s == 600
    monkeypatch.delenv("CHGGEN_ENVIRONMENTS")
    assert read_environments()["c"] == Environment(Path("/c"), 5.0, source="chggen.toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("environments = 3", "is no table"),
        ("[environments", "cannot be read"),
        ("[environments]\na = 3", 'write a = "/path/to/python"'),
        ('[environments.a]\npython = "/a"\ntimeout = 3', "Did you mean 'timeout_s'"),
        ('[environments.a]\npython = "/a"\ntimeout_s = 0', "seconds above 0"),
        ('[environments.a]\npython = "/a"\nkit = "own"', "Available: installed, shared"),
    ],
)
def test_a_wrong_file_is_explained(text: str, message: str) -> None:
    Path("chggen.toml").write_text(text)
    with pytest.raises(InputError, match=message):
        read_environments()


def test_a_wrong_variable_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHGGEN_ENVIRONMENTS", "/path/python")
    with pytest.raises(InputError, match="write NAME=/path/to/python"):
        read_environments()


def test_an_entry_is_placed_by_its_name_or_by_the_table(registry: Registry) -> None:
    assert registry.get("potential", "needy").status == "missing requirement"
    placed = registry.get("potential", f"Needy@{sys.executable}")
    assert (placed.status, placed.missing, placed.requires) == ("isolated", (), ("no-such-library>=1",))
    assert str(placed.origin).endswith(f" in {sys.executable}")
    Path("chggen.toml").write_text(f'[environments]\nNEEDY = "{sys.executable}"\nother = "{sys.executable}"\n')
    assert registry.get("potential", "needy").environment is not None
    assert [e.status for e in registry.entries("potential")] == ["isolated"]
    assert registry.get_here("potential", "needy").environment is None
    assert registry.get("score-model", "other").environment is not None, "registered there, not here"
    assert [e.status for e in registry.find("needy@other")] == ["isolated"]
    assert registry.find("strange@other") == []


def test_only_score_models_and_potentials_run_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = get_registry()
    monkeypatch.setenv("CHGGEN_ENVIRONMENTS", f"repaint={sys.executable}")
    assert registry.get("sampler", "repaint").environment is None
    with pytest.raises(PluginError, match="only score models and potentials"):
        registry.get("sampler", f"repaint@{sys.executable}")


def test_the_list_tells_where_a_plugin_runs() -> None:
    Path("chggen.toml").write_text('[environments]\nchgnet = "/some/python"\n')
    result = CliRunner().invoke(cli, ["plugins"])
    (line,) = [part for part in result.output.splitlines() if " chgnet " in part]
    assert "isolated" in line
    assert "In /some/python: CHGNet" in line


def test_a_plugin_elsewhere_is_shown_from_there() -> None:
    result = CliRunner().invoke(cli, ["plugins", "show", f"chgnet@{sys.executable}"])
    assert f"runs in {sys.executable}" in result.output
    assert "energy_frame: mp2020-corrected" in result.output
