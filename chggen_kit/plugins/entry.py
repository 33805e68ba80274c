"""What the manager knows of a plug-in: its kind, where it comes from, and how to make it."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from chggen_kit.errors import PluginError, unknown_name
from chggen_kit.plugins.environments import Environment
from chggen_kit.plugins.requirements import describe, describe_missing, mending_line, pip_line

if TYPE_CHECKING:
    from pydantic import BaseModel

Kind = Literal["score-model", "sampler", "host-refiner", "relaxer", "potential", "trainer", "executor"]
Status = Literal["ok", "missing requirement", "isolated"]

KINDS: tuple[Kind, ...] = get_args(Kind)
ISOLATED_KINDS: tuple[Kind, ...] = ("score-model", "potential")
"""Kinds whose products can run in another environment."""
INTERFACES: dict[Kind, str] = {
    "score-model": "chggen_kit.interfaces:ScoreModel",
    "sampler": "chggen_kit.interfaces:Sampler",
    "host-refiner": "chggen_kit.interfaces:HostRefiner",
    "relaxer": "chggen_kit.interfaces:Relaxer",
    "potential": "chggen_kit.interfaces:Potential",
    "trainer": "click:Command",
    "executor": "chggen_kit.interfaces:Executor",
}
"""Import string of the class that each kind's products must be instances of."""

_IMPORT_STRING = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")


def canonical_name(name: str) -> str:
    """Spelling under which names are compared: lower case, runs of underscores and hyphens as one hyphen."""
    return re.sub(r"[-_]+", "-", name.strip()).lower()


def canonical_kind(kind: str) -> Kind:
    """The kind that `kind` means (`score_model` and `Score-Model` are `score-model`).

    Raises:
        PluginError: for an unknown kind.
    """
    for known in KINDS:
        if canonical_name(kind) == known:
            return known
    raise PluginError(unknown_name("kind of plug-in", kind, KINDS))


def hook_name(kind: Kind) -> str:
    """Name of the hook through which plug-ins of `kind` are registered."""
    return f"chggen_kit_register_{kind.replace('-', '_')}s"


def load_import_string(text: str) -> Any:  # noqa: ANN401 - whatever the string names
    """Object named by `module:attribute`; whatever goes wrong on import is raised as it is."""
    module, _, attribute = text.partition(":")
    found: Any = importlib.import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    return found


@dataclass(frozen=True)
class Origin:
    """Where a plug-in comes from, and the interpreter that it runs in where that is not this one."""

    distribution: str
    version: str
    entry_point: str
    environment: str = ""

    def __str__(self) -> str:
        place = f" in {self.environment}" if self.environment else ""
        return f"{self.distribution} {self.version}".strip() + place


@dataclass(frozen=True)
class BrokenPlugin:
    """A plug-in, or one name of it, that could not be taken up.

    Attributes:
        origin: distribution, version and entry point.
        reason: why, in one line.
        hint: what to do about it; empty when nothing better than reporting it is known.
        error: the exception behind it, for `--strict-plugins`.
    """

    origin: Origin
    reason: str
    hint: str = ""
    error: BaseException | None = None

    def __str__(self) -> str:
        mend = f" To mend it: {self.hint}." if self.hint else ""
        return f"Plug-in {self.origin.entry_point!r} of {self.origin} is broken: {self.reason}.{mend}"


@dataclass(frozen=True)
class PluginEntry:
    """One registered name.

    Attributes:
        kind: what it makes.
        name: canonical name.
        factory: import string, or the object itself.
        options: pydantic model of its options, as an import string or itself; None when it has none.
        summary: one line on what it is.
        origin: distribution, version and entry point.
        missing: requirements that are not met, each as pip writes it.
        default: registered as the one used where nothing is named.
        requires: all its requirements, met or not.
        environment: the other environment that it runs in; None for this one.
    """

    kind: Kind
    name: str
    factory: str | Callable[..., Any]
    options: str | type[BaseModel] | None
    summary: str
    origin: Origin
    missing: tuple[str, ...] = ()
    default: bool = False
    requires: tuple[str, ...] = ()
    environment: Environment | None = None

    @classmethod
    def elsewhere(cls, kind: Kind, name: str, environment: Environment) -> PluginEntry:
        """A name that nothing here has registered, to be found among the plug-ins of `environment`."""
        origin = Origin("distribution not known here", "", "not known here", str(environment))
        return cls(kind, canonical_name(name), _refuse, None, "", origin, environment=environment)

    def placed(self, environment: Environment) -> PluginEntry:
        """This entry, run in `environment`: what is missing here does not matter then."""
        origin = replace(self.origin, environment=str(environment))
        return replace(self, origin=origin, missing=(), environment=environment)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise PluginError(
                f"{self.name!r} cannot be the name of a {self.kind}: use letters, digits, dots and hyphens only."
            )
        for what, value in (("factory", self.factory), ("options", self.options)):
            if isinstance(value, str) and not _IMPORT_STRING.fullmatch(value):
                raise PluginError(
                    f"The {what} {value!r} of {self.kind} {self.name!r} is no import string: "
                    "write 'package.module:attribute'."
                )
        if not isinstance(self.factory, str) and not callable(self.factory):
            raise PluginError(f"The factory of {self.kind} {self.name!r} is neither an import string nor callable.")
        if not isinstance(self.summary, str):
            raise PluginError(
                f"The summary of {self.kind} {self.name!r} is {self.summary!r}: write a line of text, or leave it out."
            )

    @property
    def status(self) -> Status:
        """Whether it can be used here, as far as is known without importing it."""
        if self.environment is not None:
            return "isolated"
        return "missing requirement" if self.missing else "ok"

    @property
    def hint(self) -> str:
        """The pip line that brings what is missing; empty when nothing is."""
        return pip_line(self.missing, self.origin.distribution) if self.missing else ""

    def load_factory(self) -> Any:  # noqa: ANN401 - a callable, or a click command for trainers
        """The factory, imported if need be.

        Raises:
            PluginError: when a requirement is missing or the import fails.
        """
        if self.missing:
            what = ", ".join(describe_missing(requirement) for requirement in self.missing)
            other = f". Or give it an environment of its own: {self.name}@/path/to/environment"
            raise PluginError(
                f"The {self.kind} {self.name!r} of {self.origin} needs {what}, which this environment does not have. "
                f"Install it with: {self.hint}{other if self.kind in ISOLATED_KINDS else ''}"
            )
        return self._load(self.factory, "factory")

    def load_options(self) -> type[BaseModel] | None:
        """The options model, imported if need be; None when the plug-in has no options.

        Raises:
            PluginError: when the import fails or what it names is no pydantic model.
        """
        if self.options is None:
            return None
        from pydantic import BaseModel

        model: Any = self._load(self.options, "options model")
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            raise PluginError(
                f"The options of {self.kind} {self.name!r} of {self.origin} are {model!r}, not a pydantic model. "
                "This is a fault of the plug-in."
            )
        return model

    def _load(self, what: Any, part: str) -> Any:  # noqa: ANN401 - whatever the plug-in registered
        if not isinstance(what, str):
            return what
        try:
            return load_import_string(what)
        except (Exception, SystemExit) as exc:  # a module that exits on import must not end the program silently
            mend = mending_line(exc, self.origin.distribution, what)
            raise PluginError(
                f"The {part} {what!r} of {self.kind} {self.name!r} ({self.origin}) cannot be imported: {describe(exc)}."
                + (f" To mend it: {mend}." if mend else "")
            ) from exc


def _refuse() -> None:
    """Stand in for the factory of a plug-in that is registered in another environment only.

    Raises:
        PluginError: always.
    """
    raise PluginError("This plug-in is registered in another environment: it cannot be made here.")
