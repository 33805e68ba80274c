"""In an environment of their own, with nothing but `pip install`: the example package, and the tutorial to the letter.

Slow: installing took 8 minutes (2 of them torch), the tutorial 3 and the example 5, on two cores that were busy with
other work. There must be an index to install from.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "examples" / "plugin-package"
PAGE = ROOT / "docs" / "add-a-plugin.md"

pytestmark = pytest.mark.slow


class Fresh:
    """A new virtual environment."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)  # noqa: S603 - our own code

    def do(self, *command: str, cwd: Path) -> str:
        left_out = ("PYTHONPATH", "CHGGEN_PLUGINS")
        variables = {name: value for name, value in os.environ.items() if name not in left_out}
        done = subprocess.run(  # noqa: S603 - our own code
            [str(self.bin / command[0]), *command[1:]],
            env=variables,
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
        assert done.returncode == 0, f"{command}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Fresh:
    """The kit installed from its folder, as the README says."""
    environment = Fresh(tmp_path_factory.mktemp("fresh") / "environment")
    environment.do("pip", "install", "--quiet", "torch==2.13.0", cwd=ROOT)
    environment.do("pip", "install", "--quiet", str(ROOT), cwd=ROOT)
    environment.do("pip", "install", "--quiet", "pytest", cwd=ROOT)
    return environment


@pytest.mark.timeout(1800)
def test_the_tutorial_works_to_the_letter(fresh: Fresh, tmp_path: Path) -> None:
    page = PAGE.read_text(encoding="utf-8")
    filled, python = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    commands = [line.strip() for line in page.splitlines() if re.match(r"    (chggen|pip|python) ", line)]
    assert [command.split()[:3] for command in commands[:2]] == [
        ["chggen", "plugins", "new"],
        ["pip", "install", "-e"],
    ]
    outputs = {}
    for command in commands:
        outputs[command] = fresh.do(*shlex.split(command), cwd=tmp_path)
        if "plugins new" in command:
            (module,) = tmp_path.glob("*/src/*/model.py")
            text, marks = module.read_text(), r"(?<=# >>> Yours from here).*?\n\n.*(?=\n    # <<< Yours)"
            module.write_text(re.sub(marks, lambda _: f".\n\n{filled}", text, count=1, flags=re.DOTALL))
            assert "alike" in module.read_text()
    (checked,) = [output for command, output in outputs.items() if "plugins check" in command]
    assert "laws hold." in checked
    assert "BROKEN" not in checked
    assert (tmp_path / "runs" / "springs" / "results.db").is_file()
    assert fresh.do("python", "-c", python, cwd=tmp_path) == "springs\n"
    fresh.do("pip", "uninstall", "--yes", "chggen-springs", cwd=tmp_path)


@pytest.mark.timeout(900)
def test_the_example_package_installs_and_runs_by_name(fresh: Fresh, tmp_path: Path) -> None:
    fresh.do("pip", "install", "--quiet", str(PACKAGE), cwd=tmp_path)
    assert " springs " in fresh.do("chggen", "--strict-plugins", "plugins", cwd=tmp_path)
    check = ("chggen", "plugins", "check", "springs", "--kind")
    assert "laws hold." in fresh.do(*check, "score-model", "--known", "textbook", cwd=tmp_path)
    assert "laws hold." in fresh.do(*check, "potential", cwd=tmp_path)
    fresh.do("python", "-m", "pytest", "-q", str(PACKAGE / "tests"), "-p", "no:cacheprovider", cwd=tmp_path)
    both = ("--backend", "springs", "--potential", "springs")
    fresh.do("chggen", "generate", "MgO", "-n", "4", *both, "--out", "run", cwd=tmp_path)
    assert (tmp_path / "run" / "results.db").is_file()
