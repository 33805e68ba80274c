"""The plug-in manager: hooks, discovery, and creation by name.

    from chggen_kit.plugins import get_registry

    registry = get_registry()
    sampler = registry.create_sampler("repaint", {"steps": 100})

Nothing heavy is imported before a plug-in is used.
"""

from chggen_kit.plugins.entry import KINDS, BrokenPlugin, Kind, Origin, PluginEntry
from chggen_kit.plugins.options import OptionInfo, describe_options
from chggen_kit.plugins.registry import Registry, get_registry

__all__ = [
    "KINDS",
    "BrokenPlugin",
    "Kind",
    "OptionInfo",
    "Origin",
    "PluginEntry",
    "Registry",
    "describe_options",
    "get_registry",
]
