"""A package to begin a plug-in with, from the templates of the kit: what `chggen plugins new` writes."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from chggen_kit.errors import InputError
from chggen_kit.plugins.entry import Kind, canonical_kind, canonical_name, hook_name

_MODULES: dict[str, tuple[str, str]] = {
    "score-model": ("model", "Balls on springs: a toy to begin with"),
    "sampler": ("sampler", "One descent down the noise levels, host imposed at each"),
    "host-refiner": ("refiner", "The symmetry that spglib finds at one tolerance"),
    "relaxer": ("relaxer", "BFGS of ASE with a line search, one structure after another"),
    "potential": ("potential", "Lennard-Jones by covalent radii: a toy to begin with"),
}
"""Module that the plug-in lives in, and the summary that it is listed with."""
_PLAIN_NAME = re.compile(r"[a-z][a-z0-9-]*")


@dataclass(frozen=True)
class WrittenPackage:
    """What was written.

    Attributes:
        name: of the plug-in.
        folder: of the package.
        module: file with the lines to fill in.
    """

    name: str
    folder: Path
    module: Path


def write_package(name: str, kind: str, out: Path | None = None) -> WrittenPackage:
    """Write an installable package with a plug-in `name` of `kind` that works, and a test of its laws.

    Args:
        name: of the plug-in: a letter, then letters, digits and hyphens.
        kind: what it is to be.
        out: folder, new or empty; `chggen-NAME` by default.

    Raises:
        InputError: for a name that cannot be one, or a folder that holds something.
        PluginError: for an unknown kind.
    """
    plain = canonical_name(name)
    if not _PLAIN_NAME.fullmatch(plain) or plain.endswith("-") or keyword.iskeyword(plain):
        raise InputError(
            f"{name!r} cannot be the name of a new plug-in: begin with a letter, and use letters, digits and hyphens."
        )
    chosen = canonical_kind(kind)
    if chosen not in _MODULES:
        raise InputError(f"There is no template for a {chosen}. Choose from: {', '.join(_MODULES)}.")
    folder = Path(f"chggen-{plain}") if out is None else out
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists and is not empty: name another folder with --out.")
    words = _words(plain, chosen)
    source = folder / "src" / words["package"]
    module = source / f"{words['module']}.py"
    for path, template in (
        (folder / "pyproject.toml", "pyproject.toml"),
        (folder / "README.md", "README.md"),
        (source / "__init__.py", "init.py"),
        (source / "plugin.py", "plugin.py"),
        (module, f"{chosen}.py"),
        (folder / "tests" / f"test_{words['package']}.py", f"test_{chosen}.py"),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_filled(template, words), encoding="utf-8")
    (source / "py.typed").touch()
    return WrittenPackage(plain, folder, module)


def _words(name: str, kind: Kind) -> dict[str, str]:
    module, summary = _MODULES[kind]
    title, suffix = "".join(part.capitalize() for part in name.split("-")), _SUFFIX[kind]
    return {
        "name": name,
        "kind": kind.replace("-", " "),
        "distribution": f"chggen-{name}",
        "package": f"chggen_{name.replace('-', '_')}",
        "module": module,
        "hook": hook_name(kind),
        "class": title.removesuffix(suffix) + suffix,
        "summary": summary,
    }


_SUFFIX: dict[str, str] = {
    "score-model": "ScoreModel",
    "sampler": "Sampler",
    "host-refiner": "Refiner",
    "relaxer": "Relaxer",
    "potential": "Potential",
}


def _filled(template: str, words: dict[str, str]) -> str:
    text = resources.files("chggen_kit").joinpath("templates", "plugin", f"{template}.tmpl").read_text("utf-8")
    return re.sub(r"@([a-z_]+)@", lambda found: words[found.group(1)], text)
