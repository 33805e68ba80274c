"""The methods of a specification with other backends: `chggen benchmark paper-zn-p-s --backend mine`."""

from __future__ import annotations

from collections.abc import Sequence

from chggen_kit.benchmark.spec import BenchmarkSpec, MethodSpec
from chggen_kit.errors import InputError


def for_backends(spec: BenchmarkSpec, backends: Sequence[str]) -> BenchmarkSpec:
    """`spec` with the methods of the first backend that it names made for each of `backends` instead.

    Methods that name no backend (nulls) stay; those of further backends are left out. Where the name of a method holds
    that of its backend it is replaced, else the new one is added to it; baselines follow.

    Raises:
        InputError: when no method names a backend, or a backend is given twice.
    """
    if len(set(backends)) != len(backends):
        raise InputError("A backend is given twice.")
    named = {name: _backend(method) for name, method in spec.methods.items()}
    first = next((backend for backend in named.values() if backend is not None), None)
    if first is None:
        raise InputError(f"No method of the benchmark {spec.name} names a backend, so none can be replaced.")
    templates = [name for name, backend in named.items() if backend == first]
    methods: dict[str, MethodSpec] = {}
    for backend in backends:
        new = {
            name: name.replace(first, backend)
            if first in name
            else (name if len(backends) == 1 else f"{name}, {backend}")
            for name in templates
        }
        for name in templates:
            plain = spec.methods[name].model_dump(mode="python")
            baseline = plain["baseline"]
            methods[new[name]] = MethodSpec.model_validate(
                {**plain, "backend": backend, "checkpoint": None, "baseline": new.get(baseline, baseline)}
            )
    methods |= {name: spec.methods[name] for name, backend in named.items() if backend is None}
    kept = {
        name: method
        if method.baseline is None or method.baseline in methods
        else method.model_copy(update={"baseline": None})
        for name, method in methods.items()
    }
    return spec.model_copy(update={"methods": kept})


def _backend(method: MethodSpec) -> str | None:
    value = method.settings.get("backend")
    if isinstance(value, dict):
        value = value.get("name")
    return None if value is None else str(value)
