"""Making a plug-in's product in another environment."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from chggen_kit.errors import PluginError
from chggen_kit.isolated.frames import PROTOCOL
from chggen_kit.isolated.plain import to_plain
from chggen_kit.isolated.potential import IsolatedPotential
from chggen_kit.isolated.process import Worker
from chggen_kit.isolated.score_model import IsolatedScoreModel
from chggen_kit.plugins.entry import PluginEntry

if TYPE_CHECKING:
    from pydantic import BaseModel


def create_isolated(
    entry: PluginEntry, options: Mapping[str, Any] | BaseModel | None, packages: Collection[str]
) -> IsolatedPotential | IsolatedScoreModel:
    """Twin, in this process, of the product of `entry`, which is made in the environment of `entry`.

    Args:
        entry: a potential or a score model with an environment.
        options: checked there, against the plug-in's own model.
        packages: top-level packages of the kit's own distribution, whose source is shared.

    Raises:
        PluginError: when the worker cannot be started, or the plug-in cannot be found or made there.
        InputError: for options that it refuses.
        CheckpointError: for weights that cannot be used.
    """
    what = f"{entry.kind} {entry.name!r}"
    if entry.environment is None:
        raise PluginError(f"No environment is named for the {what}.")
    values = options if options is None or isinstance(options, Mapping) else options.model_dump(exclude_unset=True)
    described = _describe(entry) if entry.environment.kit == "shared" else None
    shared = set(packages) | ({_package(described["factory"])} if described else set())
    worker = Worker(entry.environment, what, sorted(shared - {"chggen_kit"}))
    try:
        facts, _ = worker.request(
            "load",
            timeout_s=entry.environment.start_timeout_s,
            protocol=PROTOCOL,
            kind=entry.kind,
            name=entry.name,
            options=to_plain(values or {}),
            entry=described,
        )
        return (IsolatedPotential if entry.kind == "potential" else IsolatedScoreModel)(worker, facts)
    except BaseException:
        worker.close()
        raise


def _describe(entry: PluginEntry) -> dict[str, Any] | None:
    """How the kit here knows the plug-in; None when it does not, so that it must be registered there."""
    if not isinstance(entry.factory, str) or not isinstance(entry.options, str | None):
        return None
    origin = entry.origin
    return {
        "factory": entry.factory,
        "options": entry.options,
        "requires": list(entry.requires),
        "origin": {
            "distribution": origin.distribution,
            "version": origin.version,
            "entry_point": origin.entry_point,
        },
    }


def _package(import_string: str) -> str:
    return import_string.partition(":")[0].partition(".")[0]
