"""The laws of both plug-ins, that they are found, and that one samples what the other holds together."""

from __future__ import annotations

import torch
from chggen_kit.interfaces import SamplingTask
from chggen_kit.io import to_structures
from chggen_kit.plugins import get_registry
from chggen_kit.state import CrystalBatch, Known
from chggen_kit.testing.crystals import disturbed, face_centred, rocksalt
from chggen_kit.testing.mixins import PotentialConformance, ScoreModelConformance

from chggen_springs.model import SpringsScoreModel, SpringsScoreModelOptions
from chggen_springs.potential import SpringsPotential, SpringsPotentialOptions


class TestSpringsScoreModel(ScoreModelConformance):
    """Everything that `chggen plugins check springs --kind score-model` measures."""

    def make_score_model(self) -> SpringsScoreModel:
        return SpringsScoreModel(SpringsScoreModelOptions())

    def known_crystals(self) -> CrystalBatch:
        """What the model should know: metals and a salt with bonds as long as the sum of the radii."""
        return CrystalBatch.concatenate([face_centred(29, 3.73), face_centred(47, 4.1), rocksalt(12, 8, 4.14)])


class TestSpringsPotential(PotentialConformance):
    """Everything that `chggen plugins check springs --kind potential` measures."""

    def make_potential(self) -> SpringsPotential:
        return SpringsPotential(SpringsPotentialOptions())


def test_the_entry_point_provides_both() -> None:
    assert isinstance(get_registry().create_score_model("springs"), SpringsScoreModel)
    assert isinstance(get_registry().create_potential("springs"), SpringsPotential)


def test_copper_relaxes_to_the_sum_of_the_radii() -> None:
    potential = get_registry().create_potential("springs")
    relaxer = get_registry().create_relaxer("fire", potential=potential)
    (start,) = to_structures(disturbed(face_centred(29, 3.6), rattle_A=0.1, strain=0.02, seed=0))
    (ended,) = relaxer.relax([start], fmax=0.02)
    assert ended.reason == "converged"
    assert abs(ended.structure.volume - 3.73**3) < 1.5


def test_a_guest_finds_its_place_in_the_host() -> None:
    """The fourth atom of a cell of copper, wherever the noise puts it, ends in the hole that it left."""
    model, sampler = get_registry().create_score_model("springs"), get_registry().create_sampler("repaint")
    crystals = face_centred(29, 3.73).select([0] * 4)
    known = Known.coordinates_only(crystals, torch.tensor([True, True, True, False] * 4))
    drawn = sampler.sample(model, SamplingTask(crystals, known), seed=0).crystals
    offset = drawn.frac_coords - crystals.frac_coords
    distance_A = 3.73 * (offset - offset.round()).norm(dim=1)
    assert float(distance_A.max()) < 0.5
