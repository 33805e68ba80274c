"""What pyproject.toml promises of the packages."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize(
    "package", ["chggen_kit", *(f"potentials/chggen_{name}" for name in ("chgnet", "sevennet", "mace", "ase"))]
)
def test_packages_say_that_they_are_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()


def test_every_dependency_is_imported_somewhere() -> None:
    sources = [p for folder in ("chggen_kit", "backends", "potentials") for p in (ROOT / folder).rglob("*.py")]
    imports = re.compile(r"^\s*(?:from|import) (\w+)", re.MULTILINE)
    imported = {name for path in sources for name in imports.findall(path.read_text())}
    provided = importlib.metadata.packages_distributions()
    used = {distribution.lower().replace("_", "-") for module in imported for distribution in provided.get(module, ())}
    assert {Requirement(line).name for line in PROJECT["dependencies"]} - used == set()


@pytest.mark.parametrize("tool", ["mypy", "ruff"])
def test_tools_whose_new_versions_bring_new_rules_are_bounded(tool: str) -> None:
    (requirement,) = [r for r in map(Requirement, PROJECT["optional-dependencies"]["test"]) if r.name == tool]
    assert not requirement.specifier.contains("999")
    assert requirement.specifier.contains(importlib.metadata.version(tool))
