"""`Sampler`: draws crystals from a score model, given what is known of them."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Protocol

from chggen_kit.errors import InputError
from chggen_kit.interfaces.score_model import ScoreModel
from chggen_kit.state import CrystalBatch, Known

if TYPE_CHECKING:
    from chggen_kit.symmetry import SymmetryOperations


class Progress(Protocol):
    """Receives the advance of a long piece of work."""

    def update(self, done: int, total: int, message: str = "") -> None:
        """`done` of `total` units are finished."""
        ...


@dataclass(frozen=True)
class CrystalId:
    """Identity of one crystal to be drawn: the template's hash and the copy's number.

    Random draws are keyed by it, so they do not depend on what else is in the batch.
    """

    template: str
    copy: int


def template_hash(batch: CrystalBatch, known: Known, crystal: int) -> str:
    """Hash of what is known of one crystal: species, lattice and coordinates where given, as float64 bytes."""
    low, high = int(batch.offsets[crystal]), int(batch.offsets[crystal + 1])
    digest = hashlib.blake2b(digest_size=16)
    given_species = known.species[low:high]
    given_coords = known.frac_coords[low:high]
    digest.update(given_species.cpu().numpy().tobytes())
    digest.update((batch.species[low:high] * given_species).cpu().numpy().tobytes())
    digest.update(given_coords.cpu().numpy().tobytes())
    digest.update(batch.frac_coords[low:high][given_coords].double().cpu().numpy().tobytes())
    if bool(known.lattice[crystal]):
        digest.update(batch.lattice[crystal].double().cpu().numpy().tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class SamplingTask:
    """What to draw: templates, what of them is known, and who they are.

    Attributes:
        templates: one crystal for each draw; unknown entries are placeholders.
        known: masks of the given entries.
        ids: identity of each crystal; by default the template's hash and its count among equal templates.
        start_level: index into the time grid at which to start from the noised template instead of the prior.
        start_sigma_A: the same, at the level of the grid whose displacements in Å have about this standard deviation.
        start_fraction: the same, at this fraction of the grid: near 0 the clean end, 1 the prior's level.
        symmetry: operations of each template, which has that symmetry; samples are drawn within it. None: no such wish.
    """

    templates: CrystalBatch
    known: Known
    ids: tuple[CrystalId, ...] = ()
    start_level: int | None = None
    start_sigma_A: float | None = None
    start_fraction: float | None = None
    symmetry: tuple[SymmetryOperations, ...] | None = None

    def __post_init__(self) -> None:
        self.known.check(self.templates)
        if not self.ids:
            seen: Counter[str] = Counter()
            ids = []
            for crystal in range(self.templates.n_crystals):
                name = template_hash(self.templates, self.known, crystal)
                ids.append(CrystalId(name, seen[name]))
                seen[name] += 1
            object.__setattr__(self, "ids", tuple(ids))
        if len(self.ids) != self.templates.n_crystals:
            raise InputError(f"{len(self.ids)} ids for {self.templates.n_crystals} templates.")
        starts = (self.start_level, self.start_sigma_A, self.start_fraction)
        if sum(start is not None for start in starts) > 1:
            raise InputError(
                "A sampling task starts at a level of the grid, at a noise in Å or at a fraction: one of them."
            )
        if self.start_sigma_A is not None and not 0 < self.start_sigma_A < math.inf:
            raise InputError(
                f"The noise that a sampling task starts from must be positive and finite, not {self.start_sigma_A} Å."
            )

        if self.start_fraction is not None and not 0 < self.start_fraction <= 1:
            raise InputError(
                f"The fraction of the grid to start from is above 0 and at most 1, not {self.start_fraction}."
            )

    @property
    def starts_midway(self) -> bool:
        """Whether sampling begins from the noised templates instead of the prior."""
        return not (self.start_level is None and self.start_sigma_A is None and self.start_fraction is None)

    def select(self, crystals: Sequence[int]) -> SamplingTask:
        """Task of the named crystals, which keep their ids (so their draws stay the same)."""
        return SamplingTask(
            self.templates.select(crystals),
            self.known.select(self.templates, crystals),
            tuple(self.ids[c] for c in crystals),
            self.start_level,
            self.start_sigma_A,
            self.start_fraction,
            None if self.symmetry is None else tuple(self.symmetry[c] for c in crystals),
        )


@dataclass(frozen=True)
class SampleResult:
    """Crystals as drawn.

    Attributes:
        crystals: float64, on the CPU, in the templates' cells, axes and atom order; known entries bit-equal to the
            templates'. A failed crystal holds its last finite state.
        reasons: None for a good crystal, else a reason code (`non-finite`, `exploded`, `no-room`).
        network_calls: evaluations of the model for the whole batch.
        trajectory: snapshots (level index, crystals) when they were asked for.
    """

    crystals: CrystalBatch
    reasons: tuple[str | None, ...]
    network_calls: int
    trajectory: tuple[tuple[int, CrystalBatch], ...] = field(default=())


class Sampler(ABC):
    """Draws crystals; unconditional sampling is sampling with nothing known.

    Laws: the same seed and task give the same crystals bit for bit; the draws of one crystal do not depend on the
    others in the batch; known entries come back exactly.
    """

    needs_model: ClassVar[bool] = True
    """False for baselines that place atoms without a score model."""

    draws_cells: ClassVar[bool] = False
    """True for a sampler without a score model that draws cells where none is known, of the placeholder's volume."""

    @abstractmethod
    def sample(
        self, model: ScoreModel | None, task: SamplingTask, *, seed: int, progress: Progress | None = None
    ) -> SampleResult:
        """Draw one crystal for each template of `task`."""
