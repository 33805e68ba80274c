"""Checks of installed plug-ins by name: what `chggen plugins check` runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

from chggen_kit.errors import InputError, PluginError
from chggen_kit.interfaces import HostRefiner, Potential, Relaxer, Sampler, ScoreModel
from chggen_kit.io import to_batch
from chggen_kit.io.files import read_structures
from chggen_kit.plugins import PluginEntry, Registry
from chggen_kit.state import CrystalBatch
from chggen_kit.testing.crystals import covered, disturbed, textbook_crystals
from chggen_kit.testing.host_refiner import check_host_refiner
from chggen_kit.testing.potential import check_potential
from chggen_kit.testing.relaxer import check_relaxer
from chggen_kit.testing.report import ConformanceReport
from chggen_kit.testing.sampler import check_sampler
from chggen_kit.testing.score_model import check_score_model

TEXTBOOK = "textbook"
"""In place of files of known crystals: the kit's textbook crystals that the model covers."""


def check_entry(
    registry: Registry,
    entry: PluginEntry,
    options: Mapping[str, Any],
    *,
    crystals: Sequence[Path] = (),
    known: Sequence[str] = (),
) -> ConformanceReport:
    """Make what `entry` registers and measure the laws of its kind.

    Args:
        registry: where the plug-in is made.
        entry: as the registry gave it; its environment is heeded.
        options: of the plug-in.
        crystals: files of crystals (at least two) that a score model or a potential is checked on, slightly disturbed;
            textbook crystals by default.
        known: files of crystals that a trained score model should know, or `textbook`.

    Raises:
        InputError: for files that cannot be used, or that this kind has no use for.
        PluginError: when the plug-in cannot be made, or is of a kind without laws.
    """
    if crystals and entry.kind not in ("score-model", "potential"):
        raise InputError(f"A {entry.kind} is checked on crystals of the kit's own: leave out --crystals.")
    if known and entry.kind != "score-model":
        raise InputError(f"Only score models know crystals: leave out --known for a {entry.kind}.")
    if entry.kind == "relaxer":
        return check_relaxer(
            lambda potential: cast("Relaxer", registry.create_entry(entry, options, potential=potential))
        )
    if entry.kind not in ("score-model", "potential", "sampler", "host-refiner"):
        raise PluginError(
            f"There are no laws for a {entry.kind}; score models, samplers, host refiners, ... have some."
        )
    product = registry.create_entry(entry, options)
    given = _disturbed(_read(crystals)) if crystals else None
    if isinstance(product, ScoreModel):
        return check_score_model(product, given, known_crystals=_known(product, known))
    check = {
        "potential": partial(check_potential, cast("Potential", product), given),
        "sampler": partial(check_sampler, cast("Sampler", product)),
        "host-refiner": partial(check_host_refiner, cast("HostRefiner", product)),
    }[entry.kind]
    return check()


def _known(model: ScoreModel, known: Sequence[str]) -> CrystalBatch | None:
    if not known:
        return None
    parts = [covered(textbook_crystals(), model.capabilities.elements)] if TEXTBOOK in known else []
    files = [Path(name) for name in known if name != TEXTBOOK]
    return CrystalBatch.concatenate([*parts, *([_read(files)] if files else [])])


def _read(files: Sequence[Path]) -> CrystalBatch:
    return to_batch([structure for file in files for structure in read_structures(file)])


def _disturbed(batch: CrystalBatch) -> CrystalBatch:
    if batch.n_crystals < 2:
        raise InputError("A check tells a batch from its parts: give at least two crystals with --crystals.")
    return disturbed(batch, rattle_A=0.1, strain=0.03, seed=0)
