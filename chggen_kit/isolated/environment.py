"""Making an environment for a plug-in that cannot share this one: a virtual environment with what it declares."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from chggen_kit.errors import InputError, PluginError
from chggen_kit.plugins import PluginEntry, Registry
from chggen_kit.plugins.entry import ISOLATED_KINDS
from chggen_kit.plugins.environments import FILE_NAME, user_directory
from chggen_kit.plugins.requirements import NO_DEPS

_LOG = logging.getLogger(__name__)
MARK = ".chggen-environment.json"
"""In the folder of an environment that was made by the kit, once it is complete."""
LIGHT = ("numpy", "packaging", "pluggy", "pydantic", "safetensors")
"""What the kit's own source needs in a worker, besides torch."""


@dataclass(frozen=True)
class Recipe:
    """What is done to make an environment.

    Attributes:
        folder: of the environment.
        commands: in their order, as lists of arguments.
        requirements: what is installed for the plug-in.
    """

    folder: Path
    commands: tuple[tuple[str, ...], ...]
    requirements: tuple[str, ...]


def find_entry(registry: Registry, name: str) -> PluginEntry:
    """The potential or score model `name`.

    Raises:
        PluginError: when there is none.
    """
    for kind in ISOLATED_KINDS:
        for entry in registry.entries(kind):
            if entry.name == name:
                return entry
    choices = ", ".join(entry.name for kind in ISOLATED_KINDS for entry in registry.entries(kind))
    raise PluginError(
        f"There is no potential or score model {name!r} to make an environment for. There are: {choices}."
    )


def recipe(
    entry: PluginEntry, folder: Path, *, python: str | None = None, torch: str | None = None, extra: Sequence[str] = ()
) -> Recipe:
    """Commands that make an environment for `entry`.

    Packages come from where pip is configured to look (`PIP_INDEX_URL`, pip.conf). PyTorch is installed first, in this
    environment's version unless `torch` says else, so that a build that is there already (CPU or CUDA) is taken.

    Args:
        entry: what it is for; its `requires` are installed.
        folder: of the environment.
        python: interpreter to make it with; this one by default.
        torch: requirement in place of this environment's version, as `torch==2.4.1`.
        extra: further requirements.
    """
    wanted = [*entry.requires, *extra]
    bare = tuple(one.removeprefix(NO_DEPS) for one in wanted if one.startswith(NO_DEPS))
    others = tuple(one for one in wanted if not one.startswith(NO_DEPS))
    pip = (str(_interpreter(folder)), "-m", "pip", "install")
    commands = [
        (python or sys.executable, "-m", "venv", str(folder)),
        (*pip, torch or _own_torch()),
        (*pip, *LIGHT, *others),
    ]
    if bare:
        commands.append((*pip, "--no-deps", *bare))
    return Recipe(folder, tuple(commands), (*others, *bare))


def make_environment(how: Recipe, *, force: bool = False) -> Path:
    """Run the commands of a recipe; the environment is there whole, or not at all. Returns its interpreter.

    Raises:
        InputError: when the folder holds something else.
        PluginError: when a command fails, with the end of what it said.
    """
    folder = how.folder
    if (folder / MARK).is_file() and not force:
        _LOG.info("%s is there already; --force makes it anew.", folder)
        return _interpreter(folder)
    if folder.exists() and any(folder.iterdir()):
        if not (force and ((folder / MARK).is_file() or (folder / "pyvenv.cfg").is_file())):
            raise InputError(
                f"{folder} holds something already, and no environment that was made for this. Choose another folder "
                "with --path; --force replaces an environment that was left unfinished."
            )
        shutil.rmtree(folder)
    try:
        for command in how.commands:
            _LOG.info("%s", " ".join(command))
            _run(command)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    (folder / MARK).write_text(json.dumps({"requirements": how.requirements}) + "\n", encoding="utf-8")
    return _interpreter(folder)


def enter_in_table(name: str, python: Path, file: Path) -> bool:
    """Write the environment of `name` into a `chggen.toml`, the rest of which stays as it is; False if it was there.

    Raises:
        InputError: when the file cannot be read or written, or has another environment for `name`.
    """
    try:
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        table = tomllib.loads(text).get("environments", {})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"The configuration file {file} cannot be read: {error}.") from error
    present = table.get(name)
    if present is not None:
        there = present if isinstance(present, str) else present.get("python")
        if there == str(python):
            return False
        raise InputError(
            f"{file} has an environment for {name} already: {there}. Change it there to {python}, or name the new one "
            f"on the command line ({name}@{python})."
        )
    entry = f"[environments.{json.dumps(name)}]\npython = {json.dumps(str(python))}\n"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text.rstrip()}\n\n{entry}".lstrip(), encoding="utf-8")
    except OSError as error:
        raise InputError(f"The configuration file {file} cannot be written: {error.strerror}.") from error
    return True


def default_folder(name: str) -> Path:
    """Where environments go when no folder is named."""
    return user_directory() / "environments" / name


def table_file(*, user: bool) -> Path:
    """The `chggen.toml` of the user, or that of the working directory."""
    return (user_directory() if user else Path.cwd()) / FILE_NAME


def _own_torch() -> str:
    try:
        # Without the build (+cpu, +cu126): that is a matter of where packages come from.
        return f"torch=={version('torch').partition('+')[0]}"
    except PackageNotFoundError:
        return "torch"


def _interpreter(folder: Path) -> Path:
    return folder / "Scripts" / "python.exe" if os.name == "nt" else folder / "bin" / "python"


def _run(command: Sequence[str]) -> None:
    hidden = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}
    try:
        done = subprocess.run(  # noqa: S603 - pip and venv, no shell
            command,
            check=False,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={key: value for key, value in os.environ.items() if key not in hidden},
        )
    except OSError as error:
        raise PluginError(f"{command[0]} cannot be started: {error.strerror}.") from error
    if done.returncode:
        end = "\n".join(done.stdout.strip().splitlines()[-12:])
        raise PluginError(f"{' '.join(command)} failed (exit code {done.returncode}):\n{end}")
