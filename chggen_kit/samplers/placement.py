"""Null baselines that place one atom after another, without a score model."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import numpy.typing as npt
import torch

from chggen_kit.draws import Draws
from chggen_kit.errors import InputError
from chggen_kit.interfaces.sampler import Progress, Sampler, SampleResult, SamplingTask
from chggen_kit.interfaces.score_model import ScoreModel
from chggen_kit.state import CrystalBatch

Array = npt.NDArray[np.float64]

NO_ROOM = "no-room"
"""Reason of a crystal in which an atom found no place."""


class SequentialPlacement(Sampler):
    """Places the atoms whose coordinates are unknown, crystal by crystal, with draws of the crystal's own.

    Species and cells must be known. A crystal that has no room gets the reason `no-room`.
    """

    needs_model = False
    title: str
    """Name of the sampler in messages."""

    def sample(
        self, model: ScoreModel | None, task: SamplingTask, *, seed: int, progress: Progress | None = None
    ) -> SampleResult:
        del model
        templates, known = task.templates, task.known
        if not (bool(known.species.all()) and bool(known.lattice.all())):
            raise InputError(
                f"The {self.title} sampler places atoms of known species in a known cell; the mask leaves them open."
            )
        if task.symmetry is not None or task.starts_midway:
            raise InputError(
                f"The {self.title} sampler places atoms afresh: it keeps no symmetry and starts from no structure. Use "
                "predictor-corrector, or random-symmetric for symmetric crystals at random."
            )
        draws = Draws(seed, task.ids, templates.num_atoms.tolist())
        bounds = templates.offsets.tolist()
        placed, reasons = [], []
        for crystal in range(templates.n_crystals):
            rows = slice(bounds[crystal], bounds[crystal + 1])
            coords, reason = self._place(
                templates.frac_coords[rows].double().numpy(),
                templates.lattice[crystal].double().numpy(),
                known.frac_coords[rows].numpy(),
                draws.generator(crystal, 0, 0, "frac_coords", "placement"),
            )
            placed.append(torch.from_numpy(coords))
            reasons.append(reason)
            if progress is not None:
                progress.update(crystal + 1, templates.n_crystals)
        crystals = CrystalBatch(torch.cat(placed), templates.lattice.double(), templates.species, templates.num_atoms)
        return SampleResult(crystals, tuple(reasons), network_calls=0)

    @abstractmethod
    def _place(
        self, frac: Array, lattice: Array, given: npt.NDArray[np.bool_], generator: np.random.Generator
    ) -> tuple[Array, str | None]:
        """Coordinates `[n_atoms, 3]` of one crystal, those that are `given` unchanged, and why it failed, if it did."""
