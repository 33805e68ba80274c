"""The layers point one way: core, then plug-ins; the command line starts light; files stay short."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CORE = ROOT / "chggen_kit"
PACKAGES = sorted(p.parent for folder in ("backends", "potentials") for p in (ROOT / folder).glob("*/__init__.py"))
ALL_FILES = [*CORE.rglob("*.py"), *(f for p in PACKAGES for f in p.rglob("*.py"))]
HEAVY = ("torch", "numpy", "scipy", "pymatgen", "ase", "e3nn", "torch_geometric", "chgnet", "lightning", "spglib")


def imports(file: Path) -> list[tuple[str, tuple[str, ...]]]:
    """Every import in `file`, also inside functions: module and the names taken from it."""
    found: list[tuple[str, tuple[str, ...]]] = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(a.name, ()) for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative imports hide where a name comes from"
            found.append((node.module or "", tuple(a.name for a in node.names)))
    return found


def test_there_is_something_to_check() -> None:
    assert {p.name for p in PACKAGES} >= {"chggen_nequip", "chggen_chgnet"}
    assert len(ALL_FILES) > 20


@pytest.mark.parametrize("package", [p.name for p in PACKAGES])
def test_the_core_does_not_know_the_plugin_packages(package: str) -> None:
    offenders = [str(f.relative_to(ROOT)) for f in CORE.rglob("*.py") if package in f.read_text(encoding="utf-8")]
    assert offenders == []


def test_plugin_packages_use_public_names_of_the_core_only() -> None:
    offenders = []
    for file in (f for p in PACKAGES for f in p.rglob("*.py")):
        for module, names in imports(file):
            parts = [*module.split("."), *names]
            if parts[0] == "chggen_kit" and any(p.startswith("_") and not p.startswith("__") for p in parts):
                offenders.append(f"{file.relative_to(ROOT)}: {module} {names}")
    assert offenders == []


def test_plugin_packages_do_not_import_each_other() -> None:
    names = {p.name for p in PACKAGES}
    offenders = [
        f"{file.relative_to(ROOT)}: {module}"
        for package in PACKAGES
        for file in package.rglob("*.py")
        for module, _ in imports(file)
        if module.split(".")[0] in names - {package.name}
    ]
    assert offenders == []


def test_nothing_below_the_workflow_imports_upwards() -> None:
    upper = ("chggen_kit.cli", "chggen_kit.workflow", "chggen_kit.evaluation", "chggen_kit.benchmark")
    below = ("interfaces", "processes", "samplers", "refiners", "relaxers", "plugins", "io", "metrics", "training")
    offenders = [
        f"{file.relative_to(ROOT)}: {module}"
        for layer in below
        for file in (CORE / layer).rglob("*.py")
        for module, _ in imports(file)
        if module.startswith(upper)
    ]
    assert offenders == []


def test_files_are_short() -> None:
    long = {
        str(f.relative_to(ROOT)): n for f in ALL_FILES if (n := len(f.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert long == {}


@pytest.mark.parametrize(
    "code",
    [
        "import chggen_kit, chggen_kit.cli, chggen_kit.errors, chggen_kit.plugins, chggen_kit.progress",
        "from chggen_kit.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass",
        "from chggen_kit.cli import main\ntry:\n    main(['plugins'])\nexcept SystemExit:\n    pass",
    ],
)
def test_the_command_line_starts_without_heavy_libraries(code: str) -> None:
    script = f"{code}\nimport sys\nprint('loaded:', *sorted({{m.split('.')[0] for m in sys.modules}} & {set(HEAVY)!r}))"
    result = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.splitlines()[-1] == "loaded:", result.stdout
