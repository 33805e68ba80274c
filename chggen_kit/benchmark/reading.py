"""Specifications from files and from the presets of the package, and their JSON schema."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from chggen_kit.benchmark.spec import SETTINGS, BenchmarkSpec
from chggen_kit.errors import InputError, unknown_name
from chggen_kit.execution.yaml_files import read_yaml, validated
from chggen_kit.workflow.config import GenerateConfig, InpaintConfig

_SUFFIXES = {".yaml", ".yml", ".json"}


def preset_names() -> list[str]:
    """Names of the presets that the package holds."""
    folder = files("chggen_kit").joinpath("benchmark/presets")
    return sorted(one.name.removesuffix(".yaml") for one in folder.iterdir() if one.name.endswith(".yaml"))


def read_spec(source: str | Path) -> BenchmarkSpec:
    """The specification in a YAML file, or a preset by its name. Paths in a file start from its folder.

    Raises:
        InputError: when there is none, or it is not valid.
    """
    name = str(source)
    if name in preset_names():
        text = files("chggen_kit").joinpath(f"benchmark/presets/{name}.yaml").read_text("utf-8")
        return _parse(text, f"The preset {name}", None)
    path = Path(source)
    if not path.is_file():
        if path.suffix.lower() in _SUFFIXES or len(path.parts) > 1:
            raise InputError(f"There is no file {path}. Check the name, and the directory that you are in.")
        raise InputError(unknown_name("preset", name, preset_names()) + " A file's name ends in .yaml.")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"Cannot read {path}: {error}.") from error
    return _parse(text, str(path), path.parent)


def _parse(text: str, where: str, folder: Path | None) -> BenchmarkSpec:
    plain = read_yaml(text, where)
    if not isinstance(plain, Mapping):
        raise InputError(f"{where} holds no specification: a mapping with `name`, `systems` and `methods`.")
    return validated(BenchmarkSpec, plain if folder is None else _with_paths(plain, folder), where)


def _with_paths(plain: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """`plain` with the paths in it taken from the folder of the file, where they are there."""
    result = dict(plain)
    systems = plain.get("systems")
    if isinstance(systems, list):
        result["systems"] = [_resolved(one, folder, ("host", "known", "references")) for one in systems]
    methods = plain.get("methods")
    if isinstance(methods, Mapping):
        result["methods"] = {name: _resolved(one, folder, ("checkpoint",)) for name, one in methods.items()}
    result.update({"defaults": _resolved(plain["defaults"], folder, ("references",))} if "defaults" in plain else {})
    return result


def _resolved(entry: Any, folder: Path, keys: tuple[str, ...]) -> Any:  # noqa: ANN401  whatever the file holds
    if not isinstance(entry, Mapping):
        return entry
    result = dict(entry)
    for key in keys:
        value = result.get(key)
        if isinstance(value, str):
            result[key] = _path(value, folder)
        elif isinstance(value, list):
            result[key] = [_path(one, folder) if isinstance(one, str) else one for one in value]
    return result


def _path(text: str, folder: Path) -> str:
    # The name of a released model, or a word such as `auto`, is no path.
    beside = folder / text
    return str(beside) if not Path(text).is_absolute() and beside.exists() else text


def json_schema() -> dict[str, Any]:
    """JSON schema of a specification, the settings of runs included."""
    schema = BenchmarkSpec.model_json_schema()
    definitions: dict[str, Any] = schema["$defs"]
    settings: dict[str, Any] = {}
    for config in (InpaintConfig, GenerateConfig):
        of_runs = config.model_json_schema()
        definitions |= {name: one for name, one in of_runs["$defs"].items() if name not in definitions}
        settings |= {name: one for name, one in of_runs["properties"].items() if name in SETTINGS}
    for name in ("SystemSpec", "MethodSpec"):
        definition = definitions[name]
        definition["properties"] = {**settings, **definition["properties"]}
        definition["additionalProperties"] = False
    closed = {"type": "object", "properties": settings, "additionalProperties": False}
    schema["properties"]["defaults"] = {**closed, "default": {}, "title": "Settings of all runs"}
    definitions["Quick"]["properties"]["defaults"] = {
        **closed,
        "default": {},
        "title": "Settings laid over the defaults",
    }
    return schema
