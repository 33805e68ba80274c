"""`Registry`: everything that is registered, and creation by name."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import pluggy

from chggen_kit.errors import ChggenError, PluginError, unknown_name
from chggen_kit.plugins import hookspecs
from chggen_kit.plugins.discovery import (
    ENVIRONMENT_VARIABLE,
    OWN_DISTRIBUTION,
    find_entry_points,
    origin_of,
    selected_entry_points,
)
from chggen_kit.plugins.entry import (
    INTERFACES,
    ISOLATED_KINDS,
    KINDS,
    BrokenPlugin,
    Kind,
    Origin,
    PluginEntry,
    canonical_kind,
    canonical_name,
    hook_name,
    load_import_string,
)
from chggen_kit.plugins.environments import Environment, find_environment, read_environments, split_name
from chggen_kit.plugins.options import validate_options
from chggen_kit.plugins.requirements import describe, mending_line, unmet

if TYPE_CHECKING:
    import click
    from pydantic import BaseModel

    from chggen_kit.interfaces import HostRefiner, Potential, Relaxer, Sampler, ScoreModel

    OptionValues = Mapping[str, Any] | BaseModel | None


class Registry:
    """The registered plug-ins of every kind.

    `get_registry()` gives the one of the installed entry points; `Registry.from_modules` builds one for tests.
    """

    def __init__(self) -> None:
        self.broken: list[BrokenPlugin] = []
        self._entries: dict[tuple[Kind, str], PluginEntry] = {}
        self._manager = pluggy.PluginManager("chggen_kit")
        self._manager.add_hookspecs(hookspecs)

    @classmethod
    def discover(cls, only: Collection[str] | None = None) -> Registry:
        """Registry of the installed entry points, or of those named `only`; broken ones are recorded, not raised."""
        registry = cls()
        entry_points, broken = find_entry_points(only)
        registry.broken += broken
        for entry_point in entry_points:
            origin = origin_of(entry_point)
            try:
                registry.broken += registry._take_up(entry_point.load(), origin)
            except (Exception, SystemExit) as exc:  # noqa: BLE001 - a plug-in may raise anything; it is reported
                hint = mending_line(exc, origin.distribution, entry_point.module)
                reason = str(exc).rstrip(".") if isinstance(exc, PluginError) else describe(exc)
                registry.broken.append(BrokenPlugin(origin, reason, hint, exc))
        return registry

    @classmethod
    def from_modules(cls, modules: Iterable[object]) -> Registry:
        """Registry of the given plug-in modules (or objects) alone, without entry points.

        Raises:
            PluginError: as `register_plugin`.
        """
        registry = cls()
        for module in modules:
            registry.register_plugin(module, getattr(module, "__name__", type(module).__name__))
        return registry

    def register_plugin(self, module: object, name: str) -> None:
        """Add what the hooks of `module` register, under the origin `name`.

        Raises:
            PluginError: when a hook fails or is unknown, or a name is taken.
        """
        origin = Origin(name, "", name)
        try:
            duplicates = self._take_up(module, origin)
        except ChggenError:
            raise
        except (Exception, SystemExit) as exc:
            raise PluginError(f"Plug-in {name!r} cannot be registered: {describe(exc)}.") from exc
        if duplicates:
            raise PluginError(str(duplicates[0]))

    def raise_if_broken(self) -> None:
        """Raise `PluginError` when any plug-in is broken (`--strict-plugins`)."""
        if self.broken:
            raise PluginError("\n".join(str(b) for b in self.broken)) from self.broken[0].error

    def entries(self, kind: str | None = None) -> list[PluginEntry]:
        """All entries, or those of one kind, by kind and name; placed where the table of environments has their name.

        Raises:
            InputError: when the table cannot be read.
        """
        wanted = KINDS if kind is None else (canonical_kind(kind),)
        table = _environments()
        placed = [
            e.placed(table[e.name]) if e.kind in ISOLATED_KINDS and e.name in table else e
            for e in self._entries.values()
            if e.kind in wanted
        ]
        return sorted(placed, key=lambda e: (KINDS.index(e.kind), e.name))

    def get(self, kind: str, name: str) -> PluginEntry:
        """The entry of one name, bare or `NAME@WHERE`.

        A score model or potential runs in the environment WHERE, or in the one that the table of environments has for
        its name; it need not be known here then.

        Raises:
            PluginError: for an unknown name, with near matches, what is installed, and broken plug-ins if any; for an
                unknown environment; for another kind than score models and potentials in an environment.
            InputError: when the table of environments cannot be read.
        """
        canonical, (bare, where) = canonical_kind(kind), split_name(name)
        if canonical not in ISOLATED_KINDS:
            if where is not None:
                raise PluginError(f"{name!r}: only score models and potentials run in another environment.")
            return self.get_here(kind, name)
        table = _environments()
        key = canonical_name(bare if where is None else where)
        if key in table:
            where = key
        if where is None:
            return self.get_here(kind, name)
        environment = find_environment(where, table)
        entry = self._entries.get((canonical, canonical_name(bare)))
        return entry.placed(environment) if entry else PluginEntry.elsewhere(canonical, bare, environment)

    def get_here(self, kind: str, name: str) -> PluginEntry:
        """The entry of one bare name, in this environment whatever the table says.

        Raises:
            PluginError: for an unknown name, with near matches, what is installed, and broken plug-ins if any.
        """
        entry = self._entries.get((canonical_kind(kind), canonical_name(name)))
        if entry is None:
            raise PluginError(self.explain_unknown(name, kind))
        return entry

    def find(self, name: str) -> list[PluginEntry]:
        """The entries of one name, bare or `NAME@WHERE`, of whatever kind; empty when none is registered here.

        Raises:
            PluginError: as `get`, for WHERE.
        """
        bare, where = split_name(name)
        found = [e for e in self.entries() if e.name == canonical_name(bare)]
        return found if where is None else [self.get(e.kind, name) for e in found if e.kind in ISOLATED_KINDS]

    def explain_unknown(self, name: str, kind: str | None = None) -> str:
        """Message for a name that is not registered."""
        label = canonical_kind(kind) if kind else "plug-in"
        parts = [unknown_name(label, name, {e.name for e in self.entries(kind)})]
        elsewhere = sorted({e.kind for e in self.find(name)}) if kind else []
        if elsewhere:
            parts.append(f"{name!r} is the name of a {' and a '.join(elsewhere)}.")
        suspects = [b for b in self.broken if _may_provide(b, name)]
        if suspects:
            parts.append("It may belong to a plug-in that is broken: " + " ".join(map(str, suspects)))
        elif self.broken:
            parts.append(f"Broken, and so left out: {', '.join(b.origin.entry_point for b in self.broken)}.")
        if ENVIRONMENT_VARIABLE in os.environ:
            parts.append(
                f"Only the plug-ins of {ENVIRONMENT_VARIABLE}={os.environ[ENVIRONMENT_VARIABLE]!r} are loaded."
            )
        elif not self._entries:
            parts.append("No plug-in is installed at all: install the kit itself (pip install chggen-kit).")
        parts.append("`chggen plugins` lists what is installed.")
        return " ".join(parts)

    def default_name(self, kind: str) -> str:
        """Name used where the user names none: the kit's own default, else its only own, else the only one there is.

        Raises:
            PluginError: when that leaves a choice, or nothing.
        """
        entries = self.entries(kind)
        own = [e for e in entries if e.origin.distribution == OWN_DISTRIBUTION]
        for candidates in ([e for e in own if e.default], own, entries):
            if len(candidates) == 1:
                return candidates[0].name
        label = canonical_kind(kind)
        if entries:
            raise PluginError(f"Name a {label}: there is no default among {', '.join(e.name for e in entries)}.")
        raise PluginError(
            " ".join([f"No {label} is installed.", *map(str, self.broken), "`chggen plugins` lists what is."])
        )

    def options_model(self, kind: str, name: str) -> type[BaseModel] | None:
        """The pydantic model of a plug-in's options; None when it has none.

        Raises:
            PluginError: when the name is unknown or the model cannot be imported.
        """
        return self.get(kind, name).load_options()

    def create_score_model(self, name: str, options: OptionValues = None) -> ScoreModel:
        """Score model by name (see `create`)."""
        return cast("ScoreModel", self.create("score-model", name, options))

    def create_sampler(self, name: str, options: OptionValues = None) -> Sampler:
        """Sampler by name (see `create`)."""
        return cast("Sampler", self.create("sampler", name, options))

    def create_host_refiner(self, name: str, options: OptionValues = None) -> HostRefiner:
        """Host refiner by name (see `create`)."""
        return cast("HostRefiner", self.create("host-refiner", name, options))

    def create_relaxer(self, name: str, options: OptionValues = None, *, potential: Potential) -> Relaxer:
        """Relaxer by name, over `potential` (see `create`)."""
        return cast("Relaxer", self.create("relaxer", name, options, potential=potential))

    def create_potential(self, name: str, options: OptionValues = None) -> Potential:
        """Potential by name (see `create`)."""
        return cast("Potential", self.create("potential", name, options))

    def load_trainer(self, name: str) -> click.Command:
        """The click command of a trainer.

        Raises:
            PluginError: when it is unknown, cannot be imported, or is no click command.
        """
        entry = self.get("trainer", name)
        return cast("click.Command", _checked(entry.load_factory(), entry))

    def create(self, kind: str, name: str, options: OptionValues = None, **context: object) -> object:
        """Make a plug-in's product from options; `context` is passed on to its factory as keywords.

        Raises:
            PluginError: when the name is unknown, a requirement is missing, the plug-in cannot be imported, its factory
                fails with an error of its own, its product is not of its kind, or its environment cannot be used.
            InputError: for options that its model refuses.
        """
        return self.create_entry(self.get(kind, name), options, **context)

    def create_entry(self, entry: PluginEntry, options: OptionValues = None, **context: object) -> object:
        """Make the product of `entry`, as `get` gave it, in its environment.

        Raises:
            PluginError, InputError: as `create`.
        """
        if entry.environment is None:
            return self.create_here(entry, options, **context)
        from chggen_kit.isolated.create import create_isolated

        own = [e.factory for e in self._entries.values() if e.origin.distribution == OWN_DISTRIBUTION]
        packages = {f.partition(":")[0].partition(".")[0] for f in own if isinstance(f, str)}
        return _checked(create_isolated(entry, options, packages), entry)

    def create_here(self, entry: PluginEntry, options: OptionValues = None, **context: object) -> object:
        """Make the product of `entry` in this environment, whatever the table of environments says.

        Raises:
            PluginError, InputError: as `create`.
        """
        factory = entry.load_factory()
        model = validate_options(entry, options)
        try:
            product = factory(**context) if model is None else factory(model, **context)
        except ChggenError:
            raise
        except (Exception, SystemExit) as exc:
            raise PluginError(
                f"The {entry.kind} {entry.name!r} of {entry.origin} could not be made: {describe(exc)}. "
                f"This looks like a fault of the plug-in or of its options ({model!r})."
            ) from exc
        return _checked(product, entry)

    def _take_up(self, plugin: Any, origin: Origin) -> list[BrokenPlugin]:  # noqa: ANN401 - as pluggy has it
        """Run the hooks of one plug-in: all of its names or, on an exception, none. Returns its duplicate names."""
        collected: list[PluginEntry] = []
        # pluggy would drop a second plug-in of the same name silently, so the distribution is part of it.
        registered = self._manager.register(plugin, f"{origin.distribution}:{origin.entry_point}")
        if registered is None:
            raise PluginError(f"The plug-in {origin.entry_point!r} of {origin} is blocked.")
        try:
            self._refuse_unknown_hooks(plugin, origin)
            others = [p for p in self._manager.get_plugins() if p is not plugin]
            for kind in KINDS:
                hook = self._manager.subset_hook_caller(hook_name(kind), others)
                hook(register=_Collector(kind, origin, collected))
        except BaseException:
            self._manager.unregister(plugin)
            raise
        return [b for b in map(self._add, collected) if b is not None]

    def _refuse_unknown_hooks(self, plugin: Any, origin: Origin) -> None:  # noqa: ANN401 - as pluggy has it
        known = [hook_name(k) for k in KINDS]
        callers = self._manager.get_hookcallers(plugin) or []
        for caller in callers:
            if caller.name not in known:
                raise PluginError(unknown_name("hook", caller.name, known))
        if not callers:
            raise PluginError(
                f"{origin.entry_point!r} of {origin} implements no hook of the kit: mark its functions with "
                "`@chggen_kit.hookimpl` and name them as in chggen_kit.plugins.hookspecs"
            )

    def _add(self, entry: PluginEntry) -> BrokenPlugin | None:
        taken = self._entries.setdefault((entry.kind, entry.name), entry)
        if taken is entry:
            return None
        return BrokenPlugin(
            entry.origin,
            f"duplicate: the {entry.kind} {entry.name!r} of {entry.origin} is already provided by {taken.origin} "
            f"(entry point {taken.origin.entry_point!r}), which stays",
            f"uninstall one of the two, or choose with {ENVIRONMENT_VARIABLE}",
        )


class _Collector:
    """The `register` callback of one plug-in and one kind."""

    def __init__(self, kind: Kind, origin: Origin, collected: list[PluginEntry]) -> None:
        self._kind, self._origin, self._collected = kind, origin, collected

    def __call__(
        self,
        name: str,
        factory: Any,  # noqa: ANN401 - checked by PluginEntry
        options: Any = None,  # noqa: ANN401 - checked when it is used
        summary: str = "",
        requires: Sequence[str] = (),
        default: bool = False,
    ) -> None:
        what = f"{self._kind} {name!r}"
        self._collected.append(
            PluginEntry(
                self._kind,
                canonical_name(name),
                factory,
                options,
                summary,
                self._origin,
                unmet(requires, what),
                default,
                tuple(requires),
            )
        )


def _checked(product: object, entry: PluginEntry) -> object:
    interface = load_import_string(INTERFACES[entry.kind])
    if not isinstance(product, interface):
        raise PluginError(
            f"The {entry.kind} {entry.name!r} of {entry.origin} gave a {type(product).__name__}, which is no "
            f"{interface.__name__}. This is a fault of the plug-in: derive it from {INTERFACES[entry.kind]!r}."
        )
    return product


def _environments() -> dict[str, Environment]:
    return {canonical_name(name): environment for name, environment in read_environments().items()}


def _may_provide(broken: BrokenPlugin, name: str) -> bool:
    words = (broken.origin.entry_point, broken.origin.distribution)
    wanted = canonical_name(name)
    return any(wanted in canonical_name(w) for w in words) or bool(get_close_matches(wanted, words, cutoff=0.6))


@cache
def _discovered(only: tuple[str, ...] | None) -> Registry:
    return Registry.discover(only)


def get_registry(*, strict: bool = False) -> Registry:
    """The registry of the installed plug-ins (those named in `CHGGEN_PLUGINS` where it is set), built once.

    Raises:
        PluginError: when `strict` and any plug-in is broken.
    """
    registry = _discovered(selected_entry_points())
    if strict:
        registry.raise_if_broken()
    return registry
