"""Comparison of methods: a grid of systems, methods and seeds, run and counted (docs/benchmark.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chggen_kit.benchmark.benchmark import Benchmark, BenchmarkResult
    from chggen_kit.benchmark.spec import BenchmarkSpec

__all__ = ["Benchmark", "BenchmarkResult", "BenchmarkSpec"]


def __getattr__(name: str) -> Any:  # noqa: ANN401  classes
    # The command line reads tables and presets without torch and pymatgen.
    if name in {"Benchmark", "BenchmarkResult"}:
        from chggen_kit.benchmark import benchmark

        return getattr(benchmark, name)
    if name == "BenchmarkSpec":
        from chggen_kit.benchmark.spec import BenchmarkSpec

        return BenchmarkSpec
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
