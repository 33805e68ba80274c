"""Which interpreter a plug-in runs in: `NAME@WHERE`, and the table `[environments]` of the configuration files.

Three places are read, the earlier ones first:

1. the environment variable `CHGGEN_ENVIRONMENTS`: `mace=/path/to/python`, several with the path separator between them;
2. `chggen.toml` in the working directory;
3. `chggen.toml` in the user's configuration directory (`~/.config/chggen` on Linux).

    [environments]
    mace = "~/envs/mace"                      # an environment or an interpreter

    [environments.sevennet]
    python = "/opt/sevennet/bin/python"
    timeout_s = 60                            # limit on one request, in seconds
    start_timeout_s = 600                     # limit on loading the plug-in
    kit = "installed"                         # the kit as installed there; "shared" is this one's own source

Nothing heavy is imported here: every command reads it.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from chggen_kit.errors import InputError, PluginError, unknown_name

VARIABLE = "CHGGEN_ENVIRONMENTS"
FILE_NAME = "chggen.toml"
KitSource = Literal["shared", "installed"]
_KEYS = ("python", "timeout_s", "start_timeout_s", "kit")


@dataclass(frozen=True)
class Environment:
    """Another interpreter, and how a plug-in is run in it.

    Attributes:
        python: the interpreter.
        timeout_s: seconds after which a request that has no answer ends the worker.
        start_timeout_s: the same for starting the worker and loading the plug-in, which may download weights.
        kit: `shared` runs the source of this kit there (that environment needs a few small packages only);
            `installed` runs the kit that is installed there.
        source: where it was named.
    """

    python: Path
    timeout_s: float = 600.0
    start_timeout_s: float = 600.0
    kit: KitSource = "shared"
    source: str = "NAME@WHERE"

    def __str__(self) -> str:
        return str(self.python)


def split_name(text: str) -> tuple[str, str | None]:
    """Name and place of `NAME@WHERE`; None as the place of a bare name.

    Raises:
        PluginError: when either is empty.
    """
    name, at, where = text.partition("@")
    if at and not (name.strip() and where.strip()):
        raise PluginError(f"{text!r} names no plug-in in an environment: write NAME@/path/to/environment/bin/python.")
    return name, where.strip() if at else None


def read_environments() -> dict[str, Environment]:
    """The table of environments; the keys are names of plug-ins, or of one's own choice for `NAME@KEY`.

    Raises:
        InputError: when a file or the variable cannot be read, or an entry is wrong.
    """
    table: dict[str, Environment] = {}
    for path in (user_directory() / FILE_NAME, Path(FILE_NAME)):
        if path.is_file():
            table.update(_from_file(path))
    table.update(_from_variable(os.environ.get(VARIABLE, "")))
    return table


def find_environment(where: str, table: Mapping[str, Environment]) -> Environment:
    """The environment that `where` names: a key of `table`, an interpreter, or the directory of an environment.

    Raises:
        PluginError: when there is no such key and no such interpreter.
    """
    if where in table:
        environment = table[where]
    elif os.sep in where or "/" in where or Path(where).expanduser().exists():
        environment = Environment(_interpreter(Path(where)))
    else:
        raise PluginError(
            f"{unknown_name('environment', where, table)} Write the path of an interpreter, or add it to the table "
            f"[environments] of {FILE_NAME}."
        )
    if not os.access(environment.python, os.X_OK) or environment.python.is_dir():
        raise PluginError(
            f"There is no Python interpreter at {environment.python} (named by {environment.source}). Give the path "
            "of an environment's interpreter, as in /path/to/environment/bin/python."
        )
    return environment


def _interpreter(path: Path) -> Path:
    """The interpreter of an environment's directory, or `path` itself; links are kept: they tell environments apart."""
    path = Path(os.path.abspath(path.expanduser()))  # noqa: PTH100 - `resolve` would follow the link of the interpreter
    if path.is_dir():
        windows = path / "Scripts" / "python.exe"
        return windows if windows.is_file() else path / "bin" / "python"
    return path


def user_directory() -> Path:
    """The user's configuration directory."""
    import click

    return Path(click.get_app_dir("chggen"))


def _from_variable(text: str) -> dict[str, Environment]:
    table = {}
    for part in filter(None, (p.strip() for p in text.split(os.pathsep))):
        name, equals, path = part.partition("=")
        if not (equals and name.strip() and path.strip()):
            raise InputError(
                f"{VARIABLE} holds {part!r}: write NAME=/path/to/python, several with {os.pathsep!r} between them."
            )
        table[name.strip()] = Environment(_interpreter(Path(path.strip())), source=VARIABLE)
    return table


def _from_file(path: Path) -> dict[str, Environment]:
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8")).get("environments", {})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"The configuration file {path} cannot be read: {error}.") from error
    if not isinstance(entries, Mapping):
        raise InputError(
            f"`environments` in {path} is no table: write a line [environments], and below it NAME = PATH."
        )
    return {str(name): _from_entry(name, entry, path) for name, entry in entries.items()}


def _from_entry(name: str, entry: Any, path: Path) -> Environment:  # noqa: ANN401 - whatever the file holds
    what = f"The environment {name!r} of {path}"
    fields: Any = {"python": entry} if isinstance(entry, str) else entry
    if not isinstance(fields, Mapping) or not isinstance(fields.get("python"), str):
        raise InputError(f'{what} names no interpreter: write {name} = "/path/to/python".')
    for key in fields:
        if key not in _KEYS:
            raise InputError(f"{what}: {unknown_name('key', key, _KEYS)}")
    timeout_s, start_timeout_s = (
        _seconds(fields.get(key, 600.0), f"{what}: {key}") for key in ("timeout_s", "start_timeout_s")
    )
    kit = fields.get("kit", "shared")
    if kit not in get_args(KitSource):
        raise InputError(f"{what}: {unknown_name('value of kit', str(kit), get_args(KitSource))}")
    # A relative path belongs to the file that names it, wherever the command is run.
    python = _interpreter(path.absolute().parent / Path(fields["python"]).expanduser())
    return Environment(python, timeout_s, start_timeout_s, kit, source=str(path))


def _seconds(value: Any, what: str) -> float:  # noqa: ANN401 - whatever the file holds
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise InputError(f"{what} is {value!r}; it is a number of seconds above 0.")
    return float(value)
