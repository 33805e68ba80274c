"""`random-symmetric`: the null of symmetry. Whole crystals of random space groups, without a score model."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from torch import Tensor

from chggen_kit.draws import Draws
from chggen_kit.errors import InputError
from chggen_kit.interfaces.sampler import Progress, Sampler, SampleResult, SamplingTask
from chggen_kit.interfaces.score_model import ScoreModel
from chggen_kit.samplers.placement import NO_ROOM
from chggen_kit.state import CrystalBatch
from chggen_kit.symmetry.prior import SymmetryPrior
from chggen_kit.symmetry.random_crystals import ABOVE_TRICLINIC, Effort, random_symmetric_crystal


def _group_numbers(groups: tuple[int, ...] | None) -> tuple[int, ...] | None:
    if groups is not None and not (groups and all(1 <= number <= 230 for number in groups)):
        raise ValueError("space groups have numbers from 1 to 230; name at least one")
    return None if groups is None else tuple(sorted(set(groups)))


class RandomSymmetricOptions(BaseModel):
    """Options of the `random-symmetric` baseline."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    groups: Annotated[tuple[int, ...] | None, AfterValidator(_group_numbers)] = Field(
        None, description="numbers of the space groups to draw from, for example [5,8,12]; null: all above P-1"
    )
    min_distance_A: float = Field(1.5, gt=0, allow_inf_nan=False, description="shortest distance of two atoms in Å")
    prior: Literal["uniform", "chemistry"] = Field(
        "uniform",
        description="how groups and Wyckoff positions are chosen: alike, or as known crystals have them",
    )
    group_draws: int = Field(10, ge=1, description="space groups drawn before a crystal is given up (no-room)")
    arrangements: int = Field(20, ge=1, description="cells and Wyckoff assignments drawn for each group")
    positions: int = Field(20, ge=1, description="draws of the free coordinates of each orbit")


class RandomSymmetric(Sampler):
    """Draws a space group, a cell that fits it, a Wyckoff assignment and free coordinates, for each template.

    The group is uniform (see the option `prior`) among those that can host the template's atoms in a primitive cell.
    Where the cell is not known it is drawn within the crystal system of the group, with the volume of the placeholder;
    a known cell is kept, and only groups come into question whose lattice it is. Species must be known, coordinates
    must not. A crystal for which nothing is found gets the reason `no-room`.
    """

    needs_model = False
    draws_cells = True

    def __init__(self, options: RandomSymmetricOptions) -> None:
        self.options = options
        self._effort = Effort(options.min_distance_A, options.group_draws, options.arrangements, options.positions)

    def sample(
        self, model: ScoreModel | None, task: SamplingTask, *, seed: int, progress: Progress | None = None
    ) -> SampleResult:
        del model
        _check(task)
        templates, known = task.templates, task.known
        draws = Draws(seed, task.ids, templates.num_atoms.tolist())
        bounds = templates.offsets.tolist()
        coords, cells, reasons = [], [], []
        for crystal in range(templates.n_crystals):
            rows = slice(bounds[crystal], bounds[crystal + 1])
            frac, cell, reason = self._draw(
                templates.species[rows],
                templates.lattice[crystal].double(),
                draws.generator(crystal, 0, 0, "frac_coords", "placement"),
                cell_known=bool(known.lattice[crystal]),
            )
            coords.append(templates.frac_coords[rows].double() if frac is None else frac)
            cells.append(cell)
            reasons.append(reason)
            if progress is not None:
                progress.update(crystal + 1, templates.n_crystals)
        crystals = CrystalBatch(torch.cat(coords), torch.stack(cells), templates.species, templates.num_atoms)
        return SampleResult(crystals, tuple(reasons), network_calls=0)

    def _draw(
        self, species: Tensor, cell: Tensor, generator: np.random.Generator, *, cell_known: bool
    ) -> tuple[Tensor | None, Tensor, str | None]:
        """Coordinates in the order of `species`, the cell, and why there are none, if so."""
        from pymatgen.core import Element

        counts = Counter(Element.from_Z(int(number)).symbol for number in species)
        found = random_symmetric_crystal(
            counts,
            generator,
            volume_A3=None if cell_known else float(torch.linalg.det(cell).abs()),
            lattice=cell.numpy() if cell_known else None,
            groups=self.options.groups or ABOVE_TRICLINIC,
            effort=self._effort,
            prior=SymmetryPrior.load(tuple(counts)) if self.options.prior == "chemistry" else None,
        )
        if found is None:
            return None, cell, NO_ROOM
        numbers = np.array([site.specie.Z for site in found.structure])
        # The k-th atom of an element goes to the k-th place of that element in the template.
        frac = np.empty((len(numbers), 3))
        frac[np.argsort(species.numpy(), kind="stable")] = found.structure.frac_coords[
            np.argsort(numbers, kind="stable")
        ]
        drawn = cell if cell_known else torch.from_numpy(found.structure.lattice.matrix.copy())
        return torch.from_numpy(frac), drawn, None


def _check(task: SamplingTask) -> None:
    if not bool(task.known.species.all()):
        raise InputError("The random-symmetric sampler places atoms of known species; the mask leaves them open.")
    if bool(task.known.frac_coords.any()):
        raise InputError(
            "The random-symmetric sampler draws whole crystals, and some coordinates are given. For guests in a host "
            "use random or voronoi, or draw them within the host's symmetry (chggen_kit.symmetry.guests)."
        )
    if task.symmetry is not None or task.starts_midway:
        raise InputError(
            "The random-symmetric sampler draws its own symmetry from scratch: it can start from no given operations "
            "and from no given structure."
        )


def build(options: RandomSymmetricOptions) -> RandomSymmetric:
    """Factory for the plug-in manager."""
    return RandomSymmetric(options)
