"""The example package is found through its entry point alone and passes its own tests, here and in a new environment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import plugin_sites
import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "examples" / "plugin-package"


def test_it_is_found_and_passes_its_own_tests(tmp_path: Path) -> None:
    plugin_sites.install(PACKAGE, tmp_path)
    result = plugin_sites.run(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=PACKAGE, timeout_s=300)
    assert result.returncode == 0, result.stdout + result.stderr
    listing = plugin_sites.chggen(tmp_path, "plugins")
    rows = [line.split()[0] for line in listing.stdout.splitlines() if " springs " in line]
    assert rows == ["score-model", "potential"]


@pytest.mark.slow
def test_it_installs_into_a_fresh_environment_and_runs_by_name(tmp_path: Path) -> None:
    """As a user does it: a new environment, the kit and the package from their folders, a check, and a run.

    Two minutes where packages come from a cache or a near index; no network means no such test.
    """
    folder = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)  # noqa: S603 - our own code
    variables = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "CHGGEN_PLUGINS")}

    def do(*command: str) -> str:
        done = subprocess.run(  # noqa: S603 - our own code
            [str(folder / "bin" / command[0]), *command[1:]],
            env=variables,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
        assert done.returncode == 0, f"{command}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout

    do("python", "-m", "pip", "install", "--quiet", "torch==2.13.0")
    do("python", "-m", "pip", "install", "--quiet", str(ROOT), f"{PACKAGE}[test]")
    assert " springs " in do("chggen", "--strict-plugins", "plugins")
    checked = do("chggen", "plugins", "check", "springs", "--kind", "score-model", "--known", "textbook")
    assert "laws hold." in checked
    do("chggen", "plugins", "check", "springs", "--kind", "potential")
    do("python", "-m", "pytest", "-q", str(PACKAGE / "tests"), "-p", "no:cacheprovider")
    out = tmp_path / "run"
    do("chggen", "generate", "MgO", "-n", "4", "--backend", "springs", "--potential", "springs", "--out", str(out))
    assert (out / "results.db").is_file()
