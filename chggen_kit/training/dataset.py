"""The training set: selection, compact tensors, and batches by size that follow from (seed, step) alone."""

from __future__ import annotations

import logging
import pickle
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from chggen_kit.errors import InputError, RunDirectoryError
from chggen_kit.io.readers import StructureRecord, read_structures
from chggen_kit.state import CrystalBatch
from chggen_kit.torus import wrap

_LOG = logging.getLogger(__name__)


def split_of(record: StructureRecord) -> object:
    """The split that a row names, or None."""
    return record.metadata.get("suggested_split", record.metadata.get("split")) or None


@dataclass(frozen=True)
class Selection:
    """Which structures of a data set to use.

    Attributes:
        split: value of the row's `suggested_split` (or `split`); None uses all rows.
        max_atoms: largest number of atoms.
        max_above_hull: largest energy above the hull in eV/atom (`e_above_hull`); unknown energies are used.
        held_out: formulas to leave out, in canonical form.
        min_volume: smallest and
        max_volume: largest volume per atom in Å^3; others are taken for damaged rows (hydrogen at 200 GPa has 2,
            xenon 60).
        named_split_only: whether to leave out rows that name no split.
        validation_formulas: formulas of the validation rows, left out too.
        max_atomic_number: largest atomic number that the network takes.
    """

    split: str | None = "train"
    max_atoms: int = 32
    max_above_hull: float = 0.1
    held_out: frozenset[str] = frozenset()
    min_volume: float = 3.0
    max_volume: float = 90.0
    named_split_only: bool = False
    validation_formulas: frozenset[str] = frozenset()
    max_atomic_number: int = 118

    def reason_against(self, record: StructureRecord) -> str | None:
        """Why `record` is left out, or None."""
        split = split_of(record)
        fits = split == self.split or (split is None and not self.named_split_only)
        if self.split is not None and not fits:
            return "other split"
        if record.n_atoms > self.max_atoms:
            return f"more than {self.max_atoms} atoms"
        if int(record.species.max()) > self.max_atomic_number:
            return f"element beyond Z = {self.max_atomic_number}"
        return self._energy_reason(record) or self._volume_reason(record) or self._formula_reason(record)

    def _volume_reason(self, record: StructureRecord) -> str | None:
        plausible = self.min_volume <= record.volume_per_atom <= self.max_volume
        return None if plausible else "implausible volume"

    def _formula_reason(self, record: StructureRecord) -> str | None:
        if record.formula in self.held_out:
            return "held-out formula"
        return "formula of a validation row" if record.formula in self.validation_formulas else None

    def _energy_reason(self, record: StructureRecord) -> str | None:
        energy = record.metadata.get("e_above_hull")
        if energy is None or energy == "":
            return None
        try:
            value = float(energy)
        except (TypeError, ValueError, OverflowError):
            return "e_above_hull is not a number"
        return f"{self.max_above_hull} eV/atom or more above the hull" if value >= self.max_above_hull else None


@dataclass(frozen=True)
class CrystalSet:
    """Many crystals laid end to end, float32.

    Attributes:
        batch: all of them.
    """

    batch: CrystalBatch

    def __len__(self) -> int:
        return self.batch.n_crystals

    def save(self, path: Path) -> None:
        """Write the tensors, and nothing else, through a temporary name."""
        batch = self.batch
        temporary = path.with_name(f".{path.name}.partial")
        tensors = (batch.frac_coords, batch.lattice, batch.species, batch.num_atoms)
        torch.save(dict(zip(("frac_coords", "lattice", "species", "num_atoms"), tensors, strict=True)), temporary)
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> CrystalSet:
        """Read what `save` wrote.

        Raises:
            RunDirectoryError: when the file is missing, truncated or something else.
        """
        try:
            return cls(CrystalBatch(**torch.load(path, weights_only=True)))
        # The last is what torch raises for anything but tensors and plain values: nothing is unpickled.
        except (OSError, EOFError, RuntimeError, TypeError, ValueError, pickle.UnpicklingError) as error:
            raise RunDirectoryError(
                f"The prepared structures {path} cannot be read ({error}). The file is missing, truncated or not "
                "ours; start again in another --out, with --init-from the run's checkpoint to keep its weights."
            ) from error

    @classmethod
    def from_records(cls, records: Iterable[StructureRecord]) -> CrystalSet:
        """Pack `records`.

        Raises:
            InputError: when there are none.
        """
        rows = list(records)
        if not rows:
            raise InputError("No structure is left to train on. See the log for why rows were left out.")
        frac = wrap(torch.from_numpy(np.concatenate([r.frac_coords for r in rows]))).float()
        return cls(
            CrystalBatch(
                frac_coords=torch.where(frac >= 1, torch.zeros_like(frac), frac),
                lattice=torch.from_numpy(np.stack([r.lattice for r in rows])).float(),
                species=torch.from_numpy(np.concatenate([r.species for r in rows])),
                num_atoms=torch.tensor([r.n_atoms for r in rows], dtype=torch.int64),
            )
        )


def select_structures(paths: Sequence[Path], selection: Selection) -> tuple[list[StructureRecord], dict[str, int]]:
    """Structures of all `paths` that `selection` lets through, and counts of the others by reason."""
    records, unreadable = read_all(paths)
    kept, left_out = select_records(records, selection)
    return kept, dict(Counter(left_out) + unreadable)


def read_all(paths: Sequence[Path]) -> tuple[list[StructureRecord], Counter[str]]:
    """Structures of all `paths`, and counts of the rows that cannot be used by reason."""
    unreadable: Counter[str] = Counter()
    return [record for path in paths for record in read_structures(path, unreadable)], unreadable


def select_records(
    records: Iterable[StructureRecord], selection: Selection
) -> tuple[list[StructureRecord], dict[str, int]]:
    """Those of `records` that `selection` lets through, and counts of the others by reason."""
    kept: list[StructureRecord] = []
    left_out: Counter[str] = Counter()
    for record in records:
        reason = selection.reason_against(record)
        if reason is None:
            kept.append(record)
        else:
            left_out[reason] += 1
    _LOG.info("using %d structures; left out: %s", len(kept), dict(left_out))
    return kept, dict(left_out)


def sample_formulas(records: Iterable[StructureRecord], *, share: float, at_most: int) -> frozenset[str]:
    """A share of the formulas of `records` (rounded down), drawn with a fixed seed: the same ones every time."""
    formulas = sorted({record.formula for record in records})
    order = torch.randperm(len(formulas), generator=generator_of(0, "validation formulas", 0)).tolist()
    return frozenset(formulas[i] for i in order[: min(int(share * len(formulas)), at_most)])


def sample_records(records: Sequence[StructureRecord], count: int) -> list[StructureRecord]:
    """At most `count` of `records`, drawn with a fixed seed: the same rows every time."""
    order = torch.randperm(len(records), generator=generator_of(0, "validation", 0)).tolist()
    return [records[i] for i in order[:count]]


class BatchPlan:
    """Batches of limited size (and at least one crystal), a function of (seed, step) alone.

    Every pass over the set is a permutation drawn from (seed, pass), cut greedily into batches; steps run through the
    passes. Any step can be asked for in any order, which is what makes training resumable to the step.

    Args:
        sizes: size of each crystal `[n_crystals]`: its atoms, or whatever its cost grows with.
        max_size: largest sum of sizes in a batch.
        seed: of the order.
        max_crystals: most crystals in a batch.
    """

    def __init__(self, sizes: Tensor, *, max_size: int, seed: int, max_crystals: int | None = None) -> None:
        self._sizes = sizes.tolist()
        self._max_size, self._seed = max_size, seed
        self._max_crystals = max_crystals or len(self._sizes)
        self._first_steps = [0]
        self._passes: dict[int, list[list[int]]] = {}

    def crystals(self, step: int) -> list[int]:
        """Crystals of the batch of `step` (from 0)."""
        index = self.pass_of(step)
        return self._batches(index)[step - self._first_steps[index]]

    def pass_of(self, step: int) -> int:
        """Which pass over the set `step` belongs to, both from 0."""
        while step >= self._first_steps[-1]:
            self._first_steps.append(self._first_steps[-1] + len(self._batches(len(self._first_steps) - 1)))
        return bisect_right(self._first_steps, step) - 1

    def _batches(self, index: int) -> list[list[int]]:
        if index not in self._passes:
            order = torch.randperm(len(self._sizes), generator=generator_of(self._seed, "order", index)).tolist()
            batches: list[list[int]] = []
            room = 0
            for crystal in order:
                if not batches or self._sizes[crystal] > room or len(batches[-1]) == self._max_crystals:
                    batches.append([])
                    room = self._max_size
                batches[-1].append(crystal)
                room -= self._sizes[crystal]
            self._passes = {index: batches}
        return self._passes[index]


def generator_of(seed: int, purpose: str, number: int) -> torch.Generator:
    """Generator for one purpose and number of a run: the same triple gives the same numbers."""
    words = np.random.SeedSequence([seed, *purpose.encode(), number]).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(words[0]) << 31 ^ int(words[1]))
