"""The shipped backends within a symmetry: every sample has the group that was asked for, also when it was relaxed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure

from chggen_kit.interfaces import SamplingTask
from chggen_kit.io.convert import to_batch, to_structures
from chggen_kit.metrics.geometry import minimum_distance
from chggen_kit.metrics.symmetry import SpaceGroup, space_group
from chggen_kit.plugins import get_registry
from chggen_kit.relaxers.policies import RelaxPolicy, relax_by_policy
from chggen_kit.state import Known
from chggen_kit.symmetry import find_operations

WURTZITE = Structure.from_spacegroup(
    "P6_3mc", Lattice.hexagonal(3.82, 6.26), ["Zn", "S"], [[1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0.374]]
)
PYRITE = Structure.from_spacegroup("Pa-3", Lattice.cubic(5.42), ["Fe", "S"], [[0, 0, 0], [0.385, 0.385, 0.385]])


def _skewed(structure: Structure) -> Structure:
    """The same crystal in a cell that no backend would keep."""
    change = np.array([[1, 0, 0], [2, 1, 0], [0, -1, 1]])
    frac = structure.frac_coords @ np.linalg.inv(change)
    return Structure(Lattice(change @ structure.lattice.matrix), structure.species, frac)


@pytest.mark.parametrize("backend", ["nequip", "diffcsp"])
@pytest.mark.parametrize("given", [(), ("S",)], ids=["whole", "host"])
@pytest.mark.parametrize("crystal", [WURTZITE, PYRITE, _skewed(WURTZITE)], ids=["wurtzite", "pyrite", "skewed"])
def test_every_sample_has_the_group(backend: str, given: tuple[str, ...], crystal: Structure) -> None:
    registry = get_registry()
    model = registry.create_score_model(backend, {})
    sampler = registry.create_sampler(
        "repaint" if given else "predictor-corrector", {"steps": 12, **({"jump_length": 3} if given else {})}
    )
    exact, group = find_operations(crystal, 0.01)
    batch = to_batch([exact, exact])
    host = torch.tensor([site.specie.symbol in given for site in exact] * 2)
    task = SamplingTask(batch, Known.coordinates_only(batch, host), symmetry=(group, group))
    result = sampler.sample(model, task, seed=1)
    before = space_group(exact, 0.01)
    assert isinstance(before, SpaceGroup)
    samples = to_structures(result.crystals)
    for sample in samples:
        residual = group.residual_A(sample)
        assert residual < 1e-4
    apart = [sample for sample in samples if minimum_distance(sample) > 0.7]
    assert apart
    potential = registry.create_potential("chgnet", {})
    relaxer = registry.create_relaxer("fire", {}, potential=potential)
    for ended in relax_by_policy(relaxer, apart, RelaxPolicy(name="keep-symmetry"), max_steps=6):
        assert ended.steps > 0
        assert group.residual_A(ended.structure) < 0.01
    assert torch.equal(result.crystals.frac_coords[host], batch.frac_coords[host])
    moved = [
        float(np.abs(one.frac_coords - exact.frac_coords - np.round(one.frac_coords - exact.frac_coords)).max())
        for one in samples
    ]
    if crystal is PYRITE and not given:
        assert min(moved) > 1e-3  # u of S is free


def test_diffcsp_draws_cells_within_their_system() -> None:
    """A cubic group leaves a cell that is drawn one number, whatever its placeholder is."""
    registry = get_registry()
    model = registry.create_score_model("diffcsp", {})
    exact, group = find_operations(PYRITE, 0.01)
    batch = to_batch([exact] * 3)
    known = Known.coordinates_only(batch)
    known = Known(known.frac_coords, known.species, torch.zeros_like(known.lattice))
    task = SamplingTask(batch, known, symmetry=(group,) * 3)
    result = registry.create_sampler("predictor-corrector", {"steps": 20}).sample(model, task, seed=4)
    for lattice in result.crystals.lattice:
        lengths = lattice.norm(dim=1)
        assert float(lengths.max() / lengths.min()) == pytest.approx(1, abs=1e-4)
        metric = lattice @ lattice.T
        assert torch.allclose(metric, torch.diag(metric.diagonal()), atol=1e-3)
    assert len({round(float(lattice.norm()), 2) for lattice in result.crystals.lattice}) == 3
