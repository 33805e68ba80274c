"""`chggen plugins new` writes packages that are found, keep every law, and are clean."""

from __future__ import annotations

from pathlib import Path

import plugin_sites
import pytest
from click.testing import CliRunner

from chggen_kit.cli import cli
from chggen_kit.cli.plugins.check import CHECKED_KINDS
from chggen_kit.errors import InputError
from chggen_kit.plugins.scaffold import write_package


def test_the_command_says_what_it_wrote_and_what_is_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, ["plugins", "new", "My_Springs", "--kind", "score-model"])
    assert result.exit_code == 0, result.output
    assert "chggen plugins check my-springs" in result.stdout
    module = tmp_path / "chggen-my-springs" / "src" / "chggen_my_springs" / "model.py"
    assert str(module.relative_to(tmp_path)) in result.stdout
    text = module.read_text()
    start, end = text.index(">>> Yours from here"), text.index("<<< Yours to here")
    assert text[start:end].count("\n") <= 40


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        write_package("mine", "sampler", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("name", ["", "7up", "a/b", "class", "naïve", "a b", "../evil"])
def test_names_that_cannot_be_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be the name"):
        write_package(name, "potential", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_trainers_have_no_template(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no template for a trainer.*score-model"):
        write_package("mine", "trainer", tmp_path / "out")


@pytest.mark.parametrize("kind", CHECKED_KINDS)
def test_no_placeholder_is_left_and_the_package_is_clean(kind: str, tmp_path: Path) -> None:
    package = write_package("fresh", kind, tmp_path / "package")
    files = [path for path in package.folder.rglob("*") if path.is_file()]
    assert len(files) == 7
    for path in files:
        assert "@name@" not in path.read_text()
        assert "@class@" not in path.read_text()
    for command in (["check", "."], ["format", "--check", "."]):
        result = plugin_sites.run(tmp_path, "-m", "ruff", *command, "--no-cache", cwd=package.folder)
        assert result.returncode == 0, result.stdout + result.stderr


def test_a_written_package_is_found_and_keeps_every_law(tmp_path: Path) -> None:
    package = write_package("fresh", "potential", tmp_path / "package")
    plugin_sites.install(package.folder, tmp_path / "site")
    result = plugin_sites.chggen(tmp_path / "site", "plugins", "check", "fresh")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "16 of 16 laws hold" in result.stdout


@pytest.mark.slow
@pytest.mark.parametrize("kind", CHECKED_KINDS)
def test_every_written_package_passes_its_own_tests_and_mypy(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = write_package("fresh", kind, tmp_path / "package")
    plugin_sites.install(package.folder, tmp_path / "site")
    tests = plugin_sites.run(tmp_path / "site", "-m", "pytest", "-q", cwd=package.folder, timeout_s=600)
    assert tests.returncode == 0, tests.stdout + tests.stderr
    monkeypatch.setenv("MYPYPATH", str(Path(__file__).parents[2]))
    cache = str(tmp_path.parent / "mypy-cache")  # one for all kinds: torch takes a while
    types = plugin_sites.run(tmp_path / "site", "-m", "mypy", "--cache-dir", cache, cwd=package.folder, timeout_s=600)
    assert types.returncode == 0, types.stdout + types.stderr
