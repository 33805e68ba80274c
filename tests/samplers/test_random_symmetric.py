"""The `random-symmetric` baseline as a sampler: symmetric crystals, draws of their own, honest failures."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from pymatgen.core import Lattice, Structure

from chggen_kit.errors import InputError
from chggen_kit.interfaces import SamplingTask
from chggen_kit.io.convert import to_batch, to_structures
from chggen_kit.metrics.geometry import minimum_distance
from chggen_kit.metrics.symmetry import SpaceGroup, space_group
from chggen_kit.plugins import get_registry
from chggen_kit.samplers.random_symmetric import RandomSymmetric, RandomSymmetricOptions
from chggen_kit.state import Known
from chggen_kit.symmetry import SymmetryOperations

SPECIES = ["S", "Zn", "P", "S", "S", "P", "S", "S", "S"]


def task(*cells: Lattice, known: bool) -> SamplingTask:
    batch = to_batch([Structure(cell, SPECIES, [[0, 0, 0]] * 9) for cell in cells])
    nothing = torch.zeros(batch.n_atoms, dtype=torch.bool)
    return SamplingTask(batch, Known(nothing, ~nothing, torch.full((len(cells),), known)))


def test_drawn_cells_keep_the_volume_and_have_the_symmetry() -> None:
    sampler = get_registry().create_sampler("random-symmetric", {})
    drawn = sampler.sample(None, task(*[Lattice.cubic(6)] * 12, known=False), seed=4)
    good = [one for one, reason in zip(to_structures(drawn.crystals), drawn.reasons, strict=True) if reason is None]
    assert len(good) >= 10
    numbers = set()
    for structure in good:
        assert [site.specie.symbol for site in structure] == SPECIES
        assert structure.volume == pytest.approx(216)
        assert minimum_distance(structure) >= 1.5 - 1e-9
        named = space_group(structure, 1e-3, 0.1)
        assert isinstance(named, SpaceGroup)
        assert named.number > 2
        numbers.add(named.number)
    assert len(numbers) >= 4
    assert drawn.network_calls == 0


def test_a_known_cell_is_kept_and_one_without_symmetry_has_no_room() -> None:
    sampler = RandomSymmetric(RandomSymmetricOptions.model_validate({}))
    cells = [Lattice.hexagonal(6, 7), Lattice.from_parameters(6, 6.5, 7, 80, 85, 95)]
    given = task(*cells, known=True)
    drawn = sampler.sample(None, given, seed=0)
    assert torch.equal(drawn.crystals.lattice, given.templates.lattice)
    assert drawn.reasons == (None, "no-room")


def test_draws_do_not_depend_on_the_batch() -> None:
    sampler = RandomSymmetric(RandomSymmetricOptions.model_validate({"groups": [5, 8, 12]}))
    whole = task(*[Lattice.cubic(6)] * 3, known=False)
    together = sampler.sample(None, whole, seed=1)
    alone = sampler.sample(None, whole.select([2]), seed=1)
    assert torch.equal(alone.crystals.frac_coords, together.crystals.select([2]).frac_coords)
    assert torch.equal(alone.crystals.lattice, together.crystals.select([2]).lattice)
    other = sampler.sample(None, whole.select([2]), seed=2)
    assert not torch.equal(alone.crystals.lattice, other.crystals.lattice)


def test_what_it_cannot_do_is_refused() -> None:
    sampler = RandomSymmetric(RandomSymmetricOptions.model_validate({}))
    free = task(Lattice.cubic(6), known=False)
    host = Known(torch.arange(9) < 3, free.known.species, free.known.lattice)
    with pytest.raises(InputError, match="whole crystals"):
        sampler.sample(None, SamplingTask(free.templates, host), seed=0)
    with pytest.raises(InputError, match="known species"):
        sampler.sample(
            None,
            SamplingTask(free.templates, Known(*[torch.zeros_like(free.known.species)] * 2, free.known.lattice)),
            seed=0,
        )
    with pytest.raises(InputError, match="own symmetry"):
        sampler.sample(
            None, SamplingTask(free.templates, free.known, symmetry=(SymmetryOperations.identity(9),)), seed=0
        )
    for groups in ([], [0], [231]):
        with pytest.raises(ValidationError, match="1 to 230"):
            RandomSymmetricOptions.model_validate({"groups": groups})
