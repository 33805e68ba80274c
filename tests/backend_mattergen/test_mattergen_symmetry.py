"""MatterGen within a symmetry: its cells are noised as it expects, its atoms keep the group."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mattergen_toys import make_checkpoint
from pymatgen.core import Lattice, Structure

from chggen_kit.errors import InputError
from chggen_kit.interfaces import SamplingTask
from chggen_kit.io.convert import to_batch, to_structures
from chggen_kit.plugins import get_registry
from chggen_kit.relaxers.policies import RelaxPolicy, relax_by_policy
from chggen_kit.state import Known
from chggen_kit.symmetry import find_operations
from chggen_kit.testing.pair_potential import PairPotential
from chggen_mattergen.model import load
from chggen_mattergen.options import MatterGenOptions

pytestmark = pytest.mark.usefixtures("mattergen_installed")

WURTZITE = Structure.from_spacegroup(
    "P6_3mc", Lattice.hexagonal(3.82, 6.26), ["Zn", "S"], [[1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0.374]]
)


@pytest.mark.parametrize("species_known", [True, False], ids=["given-species", "drawn-species"])
def test_every_sample_has_the_group(tmp_path: Path, species_known: bool) -> None:
    model = load(MatterGenOptions(checkpoint=str(make_checkpoint(tmp_path / "model", calm=True))))
    exact, group = find_operations(WURTZITE, 0.01)
    batch = to_batch([exact, exact])
    known = Known.coordinates_only(batch)
    if not species_known:
        known = Known(known.frac_coords, torch.zeros_like(known.species), known.lattice)
    task = SamplingTask(batch, known, symmetry=(group, group))
    result = get_registry().create_sampler("predictor-corrector", {"steps": 10}).sample(model, task, seed=1)
    assert result.reasons == (None, None)
    for sample in to_structures(result.crystals):
        assert group.residual_A(sample) < 1e-4
        relaxer = get_registry().create_relaxer("fire", {}, potential=PairPotential())
        (ended,) = relax_by_policy(relaxer, [sample], RelaxPolicy(name="keep-symmetry"), max_steps=6)
        assert group.residual_A(ended.structure) < 0.01
        numbers = torch.tensor([site.specie.Z for site in sample])
        assert torch.equal(numbers[torch.from_numpy(group.permutations)], numbers.expand(group.n_ops, -1))


def test_a_cell_to_be_drawn_is_refused(tmp_path: Path) -> None:
    model = load(MatterGenOptions(checkpoint=str(make_checkpoint(tmp_path / "model", calm=True))))
    exact, group = find_operations(WURTZITE, 0.01)
    batch = to_batch([exact])
    known = Known.coordinates_only(batch)
    known = Known(known.frac_coords, known.species, torch.zeros_like(known.lattice))
    sampler = get_registry().create_sampler("predictor-corrector", {"steps": 10})
    with pytest.raises(InputError, match="cannot generate 'lattice' within a given symmetry"):
        sampler.sample(model, SamplingTask(batch, known, symmetry=(group,)), seed=1)
