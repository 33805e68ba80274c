"""chggen-kit: host-guided crystal structure prediction with swappable generative backends and potentials."""

from __future__ import annotations

import pluggy

__version__ = "0.1.0"

hookimpl = pluggy.HookimplMarker("chggen_kit")
"""Marks the functions with which a plug-in registers what it provides (see `chggen_kit.plugins.hookspecs`)."""
