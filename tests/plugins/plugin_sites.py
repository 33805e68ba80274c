"""Source packages installed into a folder as pip leaves them, and the command line run with that folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path


def install(package: Path, folder: Path) -> None:
    """Copy the modules of a package (layout `src/`) to `folder`, with metadata and entry points from its pyproject."""
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    shutil.copytree(package / "src", folder, dirs_exist_ok=True)
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    lines = [
        line
        for group, points in project["entry-points"].items()
        for line in (f"[{group}]", *(f"{name} = {target}" for name, target in points.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


def environment(folder: Path) -> dict[str, str]:
    """Variables of a process that has `folder` installed, all plug-ins loaded."""
    variables = {name: value for name, value in os.environ.items() if name != "CHGGEN_PLUGINS"}
    variables["PYTHONPATH"] = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    return variables


def run(
    folder: Path, *arguments: str, cwd: Path | None = None, timeout_s: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run `python ARGUMENTS` in a process of its own, with `folder` installed."""
    return subprocess.run(  # noqa: S603 - our own code
        [sys.executable, *arguments],
        env=environment(folder),
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
    )


def chggen(folder: Path, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, with `folder` installed."""
    return run(folder, "-c", "from chggen_kit.cli import main; main()", *arguments, cwd=cwd)
