"""What a plug-in needs and does not find, and the pip line that mends it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import shlex
import traceback
from collections.abc import Sequence
from pathlib import Path

from pluggy import PluginValidationError

from chggen_kit.errors import PluginError

_MACHINERY = ("importlib", "metadata", "pluggy")
NO_DEPS = "--no-deps "
"""Before a requirement whose own requirements cannot be met and are not needed: pip is told to leave them alone."""


def distribution_name(requirement: str) -> str:
    """Name part of a requirement (`mace-torch[cuda]>=0.3` gives `mace-torch`)."""
    return re.split(r"[^A-Za-z0-9._-]", requirement.strip().removeprefix(NO_DEPS), maxsplit=1)[0]


def installed_version(requirement: str) -> str | None:
    """Version of a requirement's distribution that is installed; None when none is."""
    try:
        return importlib.metadata.version(distribution_name(requirement))
    except importlib.metadata.PackageNotFoundError:
        return None


def describe_missing(requirement: str) -> str:
    """A requirement that is not met, with what there is in its place: `library>=1.2 (1.0 is installed)`."""
    found = installed_version(requirement)
    return requirement.removeprefix(NO_DEPS) + (f" ({found} is installed)" if found else "")


def unmet(requirements: object, what: str) -> tuple[str, ...]:
    """Those of `requirements` that are not met; `what` has them, for messages.

    Raises:
        PluginError: when they are no sequence of requirements as pip writes them.
    """
    if isinstance(requirements, str) or not isinstance(requirements, Sequence):
        example = requirements if isinstance(requirements, str) else "library>=1.2"
        raise PluginError(f"The `requires` of {what} is {requirements!r}: write a list, [{example!r}].")
    missing = []
    for requirement in requirements:
        try:
            met = is_met(requirement)
        except (TypeError, ValueError) as exc:
            raise PluginError(
                f"{requirement!r} in the `requires` of {what} is no requirement: write it as for pip, 'library>=1.2'."
            ) from exc
        if not met:
            missing.append(requirement)
    return tuple(missing)


def is_met(requirement: object) -> bool:
    """Whether `requirement` (as pip writes it, or just the name of a module) is installed, in a version that fits.

    It may begin with `--no-deps `, which makes no difference here.

    One whose environment marker does not hold here asks for nothing, and is met.

    Raises:
        TypeError: when it is no text.
        ValueError: when it is no valid requirement.
    """
    from packaging.requirements import Requirement

    if not isinstance(requirement, str):
        raise TypeError(f"A requirement is a text, not {requirement!r}.")
    parsed = Requirement(requirement.removeprefix(NO_DEPS))
    if parsed.marker is not None and not parsed.marker.evaluate():
        return True
    try:
        installed = importlib.metadata.version(parsed.name)
    except importlib.metadata.PackageNotFoundError:
        # A module without metadata (a vendored one, say), whose version nobody can tell.
        return importlib.util.find_spec(parsed.name.replace("-", "_").split(".", maxsplit=1)[0]) is not None
    return parsed.specifier.contains(installed, prereleases=True)


def pip_line(requirements: Sequence[str], distribution: str) -> str:
    """Command that installs `requirements`.

    It names the smallest extra of `distribution` that brings them all, or themselves where there is none. Those marked
    `--no-deps` follow in a command of their own.
    """
    bare = [requirement.removeprefix(NO_DEPS) for requirement in requirements if requirement.startswith(NO_DEPS)]
    others = [requirement for requirement in requirements if not requirement.startswith(NO_DEPS)]
    lines = []
    if others:
        wanted = {_canonical(distribution_name(r)) for r in others}
        bringing = [(len(brought), extra) for extra, brought in _extras(distribution).items() if wanted <= brought]
        what = shlex.quote(f"{distribution}[{min(bringing)[1]}]") if bringing else shlex.join(others)
        lines.append(f"pip install {what}")
    if bare:
        lines.append(f"pip install --no-deps {shlex.join(bare)}")
    return " && ".join(lines)


def mending_line(error: BaseException, distribution: str, own_module: str) -> str:
    """Command that is likely to mend an import of `own_module` that ended with `error`; empty when none is known.

    The name of a missing module is looked up among the requirements of `distribution`: a distribution's name need not
    be that of its module, and its author knows which versions will do.
    """
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return ""
    module = error.name.split(".", maxsplit=1)[0]
    if module == own_module.split(".", maxsplit=1)[0]:
        return f"pip install --force-reinstall {shlex.quote(distribution)}"
    for line in _requires(distribution):
        requirement = line.partition(";")[0].strip()
        if _canonical(distribution_name(requirement)).removeprefix("python-") == _canonical(module):
            return pip_line([requirement], distribution)
    return f"pip install {'--upgrade ' if module != error.name else ''}{module}"


def describe(error: BaseException) -> str:
    """`error` in one line: its type, the first line of its message, and where it was raised."""
    lines = str(error).strip().split("\n")
    if isinstance(error, PluginValidationError):  # names the hook first, and what is wrong with it last
        lines = [f"{lines[0]}: {lines[-1]}"]
    message = lines[0].rstrip(".")
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not _is_machinery(f.filename)]
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {message}{where}" if message else f"{type(error).__name__}{where}"


def _is_machinery(filename: str) -> bool:
    """Whether a frame's file is Python's import system, pluggy, or this package: no place to look for a fault."""
    path = Path(filename)
    return filename.startswith("<frozen") or path.parent == Path(__file__).parent or path.parent.name in _MACHINERY


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _requires(distribution: str) -> list[str]:
    try:
        return importlib.metadata.requires(distribution) or []
    except importlib.metadata.PackageNotFoundError:
        return []


def _extras(distribution: str) -> dict[str, set[str]]:
    extras: dict[str, set[str]] = {}
    for line in _requires(distribution):
        if found := re.search(r"""extra\s*==\s*['"]([^'"]+)['"]""", line):
            extras.setdefault(found.group(1), set()).add(_canonical(distribution_name(line)))
    return extras
