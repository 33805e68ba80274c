"""Draws that do not depend on batching."""

from __future__ import annotations

import torch

from chggen_kit.draws import Draws, Record
from chggen_kit.interfaces import CrystalId

IDS = [CrystalId("a", 0), CrystalId("a", 1), CrystalId("b", 0)]
COUNTS = [2, 3, 4]


def test_a_crystal_draws_the_same_alone_and_in_any_batch() -> None:
    like = torch.zeros(9, 3)
    together = Draws(5, IDS, COUNTS).at(7, 1, "frac_coords", "atom").normal("p", like)
    alone = Draws(5, IDS[1:2], COUNTS[1:2]).at(7, 1, "frac_coords", "atom").normal("p", like[:3])
    turned = Draws(5, IDS[::-1], COUNTS[::-1]).at(7, 1, "frac_coords", "atom").normal("p", like)
    assert torch.equal(together[2:5], alone)
    assert torch.equal(turned[4:7], alone)


def test_every_part_of_the_key_matters() -> None:
    like = torch.zeros(2, 3)

    def draw(seed: int, name: CrystalId, step: int, pass_: int, field: str, purpose: str) -> torch.Tensor:
        return Draws(seed, [name], [2]).at(step, pass_, field, "atom").normal(purpose, like)

    base = (5, IDS[0], 7, 1, "frac_coords", "p")
    first = draw(*base)
    for position, other in enumerate((6, IDS[1], 8, 2, "species", "q")):
        changed = list(base)
        changed[position] = other  # type: ignore[call-overload]
        assert not torch.equal(first, draw(*changed))  # type: ignore[arg-type]


def test_scopes_and_kinds() -> None:
    draws = Draws(0, IDS, COUNTS)
    assert draws.at(0, 0, "lattice", "crystal").normal("p", torch.zeros(3, 3, 3)).shape == (3, 3, 3)
    uniform = draws.at(0, 0, "frac_coords", "atom").uniform("p", torch.zeros(9, 3))
    assert bool(((uniform >= 0) & (uniform < 1)).all())
    probabilities = torch.tensor([[0.0, 1.0, 0.0]] * 8 + [[1.0, 0.0, 0.0]])
    classes = draws.at(0, 0, "species", "atom").categorical("p", probabilities)
    assert classes.tolist() == [1] * 8 + [0]


def test_categorical_frequencies() -> None:
    draws = Draws(0, [CrystalId("x", 0)], [20_000])
    classes = draws.at(0, 0, "species", "atom").categorical("p", torch.tensor([[0.2, 0.3, 0.5]]).repeat(20_000, 1))
    shares = torch.bincount(classes, minlength=3) / 20_000
    assert torch.allclose(shares, torch.tensor([0.2, 0.3, 0.5]), atol=0.015)


def test_recorded_draws_replay_under_another_seed() -> None:
    record: Record = {}
    like = torch.zeros(9, 3)
    first = Draws(5, IDS, COUNTS, record=record).at(1, 0, "frac_coords", "atom").normal("p", like)
    again = Draws(99, IDS, COUNTS, replay=record).at(1, 0, "frac_coords", "atom").normal("p", like)
    assert torch.equal(first, again)
