"""What the result of a run rests on beside its configuration: parts, versions, and the content of files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from chggen_kit.plugins import Registry
from chggen_kit.workflow.assembly import assemble, describe_parts, versions
from chggen_kit.workflow.config import GenerateConfig, InpaintConfig, PluginChoice


class KnownParts:
    """What parts of runs resolve to; parts are made once for all systems."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._found: dict[str, dict[str, Any]] = {}

    def identity(self, config: GenerateConfig | InpaintConfig) -> dict[str, Any]:
        parts_of = {"seed", "formula", "formula_units", "host", "guest_counts", "n", "guests", "volume_per_atom"}
        key = config.model_dump_json(exclude=parts_of)
        if key not in self._found:
            parts = assemble(config, self._registry)
            self._found[key] = {
                "parts": describe_parts(parts),
                "versions": versions(config, parts, self._registry),
                "files": _files_of(config),
            }
        return self._found[key]


def _files_of(config: GenerateConfig | InpaintConfig) -> dict[str, str]:
    """Hashes of the files that options of plug-ins name: a path says nothing of a result."""
    found = {}
    for setting in type(config).model_fields:
        choice = getattr(config, setting)
        if isinstance(choice, PluginChoice):
            for option, value in choice.options.items():
                if isinstance(value, str) and len(value) < 4096 and (path := Path(value)).exists():
                    found[f"{setting}.{option}"] = content_hash(path)
    return found


def content_hash(path: Path) -> str:
    """Hash of a file, or of all files of a folder with their names."""
    digest = hashlib.sha256()
    files = [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file())
    for file in files:
        if file != path:
            digest.update(json.dumps(str(file.relative_to(path))).encode())
        with file.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
    return f"sha256:{digest.hexdigest()}"
