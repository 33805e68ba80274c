"""Known structures that are to be predicted from their composition, and the templates that a sampler gets for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from pymatgen.core import Lattice, Structure

from chggen_kit.errors import InputError
from chggen_kit.evaluation.rows import shuffled, to_structure
from chggen_kit.interfaces import CrystalId, SamplingTask
from chggen_kit.io.convert import to_batch
from chggen_kit.io.readers import StructureRecord
from chggen_kit.state import Known
from chggen_kit.workflow.lattices import lattice_for_start
from chggen_kit.workflow.volume import volume_per_atom

Cells = Literal["given", "searched", "generated"]
"""Where cells come from: the known structure, the kit's lattice search, or the model."""

BENCHMARK_TAG = "diffcsp15:"
"""Tag of the 15 compounds on which DiffCSP was compared with USPEX (arXiv:2309.04475)."""

_PLACEHOLDER_A3 = 20.0
"""Volume per atom of the cube that stands in for a cell that the model draws; nothing depends on it."""


@dataclass(frozen=True)
class CspReference:
    """A known structure to be predicted.

    Attributes:
        id: unique in the list; the draws are keyed by it.
        structure: the structure; its composition and number of atoms are what is predicted from.
        group: references of one group are scored together.
    """

    id: str
    structure: Structure
    group: str = "all"


def every_reference(rows: Sequence[StructureRecord]) -> list[CspReference]:
    """All `rows` in one group, in their order."""
    return [CspReference(row.id, to_structure(row)) for row in rows]


def choose_references(
    rows: Sequence[StructureRecord], *, count: int, polymorphs: int, max_atoms: int, seed: int
) -> list[CspReference]:
    """Up to three groups of references, the same for the same rows and seed.

    - `diffcsp15`: rows with a tag `diffcsp15:...`;
    - `single`: `count` rows of at most `max_atoms` atoms whose formula has no other such row;
    - `polymorphs`: all such rows of `polymorphs` formulas with several: METRe says more than the match rate only there.

    Raises:
        InputError: when `rows` have none of them.
    """
    tagged = [row for row in rows if any(str(tag).startswith(BENCHMARK_TAG) for tag in row.metadata.get("tags") or ())]
    taken = {row.formula for row in tagged}
    small = [row for row in shuffled(rows, seed) if row.n_atoms <= max_atoms and row.formula not in taken]
    times = Counter(row.formula for row in small)
    single = [row for row in small if times[row.formula] == 1][:count]
    repeated = list(dict.fromkeys(row.formula for row in small if times[row.formula] > 1))[:polymorphs]
    several = [row for formula in repeated for row in small if row.formula == formula]
    groups = {"diffcsp15": tagged, "single": single, "polymorphs": several}
    chosen = [CspReference(row.id, to_structure(row), name) for name, members in groups.items() for row in members]
    if not chosen:
        raise InputError(
            f"None of the {len(rows)} rows can be predicted: none has a tag {BENCHMARK_TAG}... or at most {max_atoms} "
            "atoms. Raise --csp-max-atoms, or take every row with --references 0."
        )
    return chosen


def check_unique(references: Sequence[CspReference]) -> None:
    """Raise `InputError` when two references have one id: their draws would be the same."""
    twice = [name for name, times in Counter(one.id for one in references).items() if times > 1]
    if twice:
        raise InputError(f"The references {', '.join(twice[:5])} appear more than once. Ids must be unique.")


def templates(reference: CspReference, cells: Cells, samples: int, seed: int) -> list[Structure]:
    """What is known of each of `samples` predictions: species and cell; nothing else of the reference gets through.

    The lattice search is that of `chggen generate`, with the volume estimated from the composition; its draws depend on
    the reference, so that references do not share their cells.

    Raises:
        InputError: when the volume of the composition cannot be estimated.
    """
    structure = reference.structure
    size = len(structure)
    if cells == "given":
        matrices = [structure.lattice.matrix] * samples
    elif cells == "searched":
        volume = volume_per_atom(structure.composition).value_A3 * size
        own = int(np.random.SeedSequence([seed, *reference.id.encode()]).generate_state(1)[0])
        matrices = [lattice_for_start(volume, own, index).matrix for index in range(samples)]
    else:
        matrices = [np.eye(3) * (_PLACEHOLDER_A3 * size) ** (1 / 3)] * samples
    return [Structure(Lattice(matrix), structure.species, np.zeros((size, 3))) for matrix in matrices]


def prediction_task(members: Sequence[tuple[str, int, Structure]], cells: Cells) -> SamplingTask:
    """Task of predictions given as (reference id, copy, template).

    Draws are keyed by id and copy, so that two references of one composition get predictions of their own.
    """
    batch = to_batch([template for _, _, template in members])
    known = Known(
        frac_coords=torch.zeros(batch.n_atoms, dtype=torch.bool),
        species=torch.ones(batch.n_atoms, dtype=torch.bool),
        lattice=torch.full((batch.n_crystals,), cells != "generated"),
    )
    return SamplingTask(batch, known, tuple(CrystalId(name, copy) for name, copy, _ in members))
