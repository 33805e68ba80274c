"""Samplers: one shared loop, several policies, and baselines."""

from chggen_kit.samplers.options import ResolvedOptions, SamplerOptions
from chggen_kit.samplers.schedule import repaint_schedule

__all__ = ["ResolvedOptions", "SamplerOptions", "repaint_schedule"]
