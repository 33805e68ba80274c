"""Rows of a data set that evaluations use: one split, plausible, in an order that a seed fixes."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from pymatgen.core import Lattice, Structure

from chggen_kit.errors import InputError
from chggen_kit.io.readers import StructureRecord, read_structures
from chggen_kit.state import CrystalBatch
from chggen_kit.torus import wrap

_LOG = logging.getLogger(__name__)

MAX_ABOVE_HULL = 0.1
"""eV/atom; rows at or above it are left out, those of unknown energy are used."""
VOLUMES_A3 = (3.0, 90.0)
"""Volumes per atom outside are taken for damaged rows (hydrogen at 200 GPa has 2 Å^3, xenon 60)."""


def read_rows(path: Path, split: str) -> list[StructureRecord]:
    """Plausible rows of `path` whose `suggested_split` (or `split`) is `split`, in the order of the file.

    Raises:
        InputError: when the file cannot be read or has no such row.
    """
    unreadable: Counter[str] = Counter()
    splits: Counter[str] = Counter()
    kept = []
    for record in read_structures(path, unreadable):
        named = record.metadata.get("suggested_split", record.metadata.get("split")) or None
        splits[str(named)] += 1
        if named == split and _plausible(record):
            kept.append(record)
    if not kept:
        found = ", ".join(f"{name}: {count}" for name, count in splits.most_common(6))
        raise InputError(
            f"{path} has no usable row of the split {split!r} (its rows name: {found}). Name another with --split; "
            "rows carry it under `suggested_split` or `split`."
        )
    _LOG.info("%s: %d rows of the split %s.", path, len(kept), split)
    return kept


def _plausible(record: StructureRecord) -> bool:
    low, high = VOLUMES_A3
    if not low <= record.volume_per_atom <= high:
        return False
    energy = record.metadata.get("e_above_hull")
    if energy is None or energy == "":
        return True
    try:
        return float(energy) < MAX_ABOVE_HULL
    except (TypeError, ValueError):
        return False


def shuffled(rows: Sequence[StructureRecord], seed: int) -> list[StructureRecord]:
    """`rows` in an order drawn with `seed`: the first n are the same whatever n is."""
    # With seed 0 these are the rows that training's own reports of errors take, so that the two can be compared.
    words = np.random.SeedSequence([seed, *b"validation", 0]).generate_state(2, np.uint32)
    generator = torch.Generator().manual_seed(int(words[0]) << 31 ^ int(words[1]))
    return [rows[i] for i in torch.randperm(len(rows), generator=generator).tolist()]


def fingerprint(rows: Iterable[StructureRecord]) -> str:
    """Hash of the names and numbers of `rows`, in order: what an evaluation was done on."""
    digest = hashlib.blake2b(digest_size=16)
    for row in rows:
        digest.update(row.id.encode())
        for array in (row.lattice, row.species, row.frac_coords):
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def to_structure(row: StructureRecord) -> Structure:
    """The row as a pymatgen structure, in its own cell and atom order."""
    return Structure(Lattice(row.lattice), row.species.tolist(), row.frac_coords)


def to_batch(rows: Sequence[StructureRecord]) -> CrystalBatch:
    """The rows as a batch, float64, coordinates folded."""
    return CrystalBatch(
        frac_coords=wrap(torch.from_numpy(np.concatenate([row.frac_coords for row in rows]))),
        lattice=torch.from_numpy(np.stack([row.lattice for row in rows])),
        species=torch.from_numpy(np.concatenate([row.species for row in rows])),
        num_atoms=torch.tensor([row.n_atoms for row in rows], dtype=torch.int64),
    )
