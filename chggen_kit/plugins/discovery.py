"""Finding and loading plug-ins, each on its own, so that a broken one cannot take the program down."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Collection
from importlib.metadata import Distribution, EntryPoint

from chggen_kit.errors import unknown_name
from chggen_kit.plugins.entry import BrokenPlugin, Origin
from chggen_kit.plugins.requirements import describe

GROUP = "chggen_kit"
OWN_DISTRIBUTION = "chggen-kit"
ENVIRONMENT_VARIABLE = "CHGGEN_PLUGINS"


def selected_entry_points() -> tuple[str, ...] | None:
    """Entry-point names in the environment variable `CHGGEN_PLUGINS` (commas between them); None when it is not set.

    Set but empty means no plug-in at all.
    """
    value = os.environ.get(ENVIRONMENT_VARIABLE)
    return None if value is None else tuple(n for n in (part.strip() for part in value.split(",")) if n)


def origin_of(entry_point: EntryPoint) -> Origin:
    """Distribution, version and name of `entry_point`, as far as its metadata tell."""
    distribution = entry_point.dist
    return Origin(
        _metadata(distribution, "Name") or "unknown distribution", _metadata(distribution, "Version"), entry_point.name
    )


def find_entry_points(only: Collection[str] | None = None) -> tuple[list[EntryPoint], list[BrokenPlugin]]:
    """Entry points of the kit's group, the kit's own first and then by distribution and name; and what is amiss.

    The order decides which of two plug-ins keeps a name that both claim, so it must not depend on the file system.
    """
    broken: list[BrokenPlugin] = []
    try:
        found = list(importlib.metadata.entry_points(group=GROUP))
    except Exception:  # noqa: BLE001 - one unreadable entry_points.txt makes the library raise anything, for all
        found, broken = _one_by_one()
    names = {e.name for e in found}
    if only is not None:
        broken += [
            BrokenPlugin(
                Origin(ENVIRONMENT_VARIABLE, "", name),
                unknown_name("entry point in CHGGEN_PLUGINS", name, names).rstrip("."),
                f"correct or unset {ENVIRONMENT_VARIABLE}",
            )
            for name in only
            if name not in names
        ]
        found = [e for e in found if e.name in only]
    return sorted(found, key=_precedence), broken


def _precedence(entry_point: EntryPoint) -> tuple[bool, str, bool, str]:
    distribution = origin_of(entry_point).distribution
    return distribution != OWN_DISTRIBUTION, distribution, entry_point.name != "core", entry_point.name


def _one_by_one() -> tuple[list[EntryPoint], list[BrokenPlugin]]:
    found: list[EntryPoint] = []
    broken: list[BrokenPlugin] = []
    seen: set[str] = set()
    for distribution in importlib.metadata.distributions():
        name = _metadata(distribution, "Name") or "unknown distribution"
        if name in seen:  # shadowed by an earlier one on sys.path
            continue
        seen.add(name)
        try:
            found += distribution.entry_points.select(group=GROUP)
        except Exception as exc:  # noqa: BLE001 - as above, but now only this distribution is lost
            if GROUP in (distribution.read_text("entry_points.txt") or ""):
                origin = Origin(name, _metadata(distribution, "Version"), "entry_points.txt")
                broken.append(BrokenPlugin(origin, f"its entry points cannot be read: {describe(exc)}", error=exc))
    return found, broken


def _metadata(distribution: Distribution | None, key: str) -> str:
    try:
        return str(distribution.metadata[key] or "") if distribution is not None else ""
    except Exception:  # noqa: BLE001 - damaged or absent metadata raise differently in every Python version
        return ""
