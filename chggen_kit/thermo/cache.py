"""The user's cache: relaxations of reference phases by what they depend on (structure, potential, settings)."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from chggen_kit.workflow.records import Measured, StructureData
from chggen_kit.workflow.rundir import write_atomically

_LOG = logging.getLogger(__name__)
VARIABLE = "CHGGEN_CACHE"


def cache_directory() -> Path:
    """`CHGGEN_CACHE`, else `chggen` in the platform's directory for caches (`XDG_CACHE_HOME`, `~/.cache` on Linux)."""
    given = os.environ.get(VARIABLE, "").strip()
    if given:
        return Path(given).expanduser()
    if os.environ.get("XDG_CACHE_HOME", "").strip():
        return Path(os.environ["XDG_CACHE_HOME"]).expanduser() / "chggen"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "chggen"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", str(Path.home()))) / "chggen" / "Cache"
    return Path.home() / ".cache" / "chggen"


class CachedRelaxation(BaseModel):
    """Outcome of the relaxation of one phase.

    Attributes:
        identity: what it depends on, beside the structure.
        structure: as relaxed.
        energy: total energy in eV; None when the relaxation failed.
        reason: `converged`, `max-steps`, or why it failed.
        steps: optimiser steps taken.
        max_force: largest force in eV/Å.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    identity: Mapping[str, Any]
    structure: StructureData
    energy: Measured
    reason: str
    steps: int
    max_force: Measured


class RelaxationCache:
    """One JSON file for each relaxation, named by a hash of what it depends on and written atomically.

    Two processes that do the same work write the same file. A damaged file counts as absent, with a warning.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = (cache_directory() if folder is None else folder) / "references"

    def path(self, structure: StructureData, identity: Mapping[str, Any]) -> Path:
        """File of the relaxation of `structure` under `identity` (plain JSON)."""
        text = json.dumps(
            {"structure": structure.model_dump(mode="json"), **identity}, sort_keys=True, separators=(",", ":")
        )
        return self.folder / f"{hashlib.blake2b(text.encode(), digest_size=16).hexdigest()}.json"

    def get(self, structure: StructureData, identity: Mapping[str, Any]) -> CachedRelaxation | None:
        """What is known of it, or None."""
        path = self.path(structure, identity)
        try:
            return CachedRelaxation.model_validate_json(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, UnicodeDecodeError, ValidationError) as error:
            _LOG.warning("The cached relaxation %s is not readable (%s); it is done again.", path, error)
            return None

    def put(self, structure: StructureData, outcome: CachedRelaxation) -> None:
        """Keep an outcome; a folder that cannot be written to costs no more than that, and a warning."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path(structure, outcome.identity), outcome.model_dump_json() + "\n")
        except OSError as error:
            _LOG.warning(
                "Cannot write to the cache %s: %s. Relaxed references are not kept; name another folder with %s.",
                self.folder,
                error.strerror,
                VARIABLE,
            )
