"""The plan: cells of the right volume, pieces of bounded size, identities that don't depend on the cut."""

import numpy as np
import pytest
import torch
from pymatgen.core import Composition, Lattice, Structure

from chggen_kit.workflow.plan import cut, fill_template, make_shards, plan_inpaintings, plan_starts, restore_given
from chggen_kit.workflow.records import HostRecord, StructureData


def test_every_start_has_n_times_v0() -> None:
    draws = plan_starts(Composition("ZnP2S6"), (1, 2), 3, 24.0, seed=0)
    assert [draw.record.id for draw in draws] == [f"u000{i}" for i in range(6)]
    for draw in draws:
        units = draw.record.formula_units
        assert units is not None
        assert len(draw.template) == 9 * units
        assert draw.template.volume == pytest.approx(24.0 * 9 * units, rel=1e-9)
        assert draw.template.composition == Composition("ZnP2S6") * units


def test_more_starts_leave_the_first_ones_as_they_were() -> None:
    few = plan_starts(Composition("NaCl"), (1,), 3, 20.0, seed=4)
    many = plan_starts(Composition("NaCl"), (1,), 7, 20.0, seed=4)
    assert many[:3] == few


def test_pieces_are_bounded_and_complete() -> None:
    assert cut([3, 3, 3, 10, 1], 6) == [(0, 2), (2, 3), (3, 4), (4, 5)]
    assert cut([], 6) == []
    assert cut([4], 1) == [(0, 1)]


def test_identities_do_not_depend_on_the_cut() -> None:
    # 22 starts: three cubic cells are equal, so that counting equal templates matters.
    draws = plan_starts(Composition("NaCl"), (1,), 22, 20.0, seed=0)
    whole = make_shards(draws, 10_000)
    pieces = make_shards(draws, 4)
    assert len(whole) == 1
    assert len(pieces) == 11
    ids = [one for shard in pieces for one in shard.task.ids]
    assert ids == list(whole[0].task.ids)
    assert len(set(ids)) == 22
    assert [d.record.id for shard in pieces for d in shard.draws] == [d.record.id for d in draws]


def test_hosts_come_first_and_are_known() -> None:
    host = Structure(Lattice.cubic(4.0), ["Cl", "Na"], [[0.5, 0.5, 0.5], [0, 0, 0]])
    record = HostRecord(id="h0007", start=7, host=StructureData.of(host), guest_counts={"Li": 1, "K": 2})
    draws = plan_inpaintings([record, HostRecord(id="h0008", start=8, outcome="no-symmetry")], 3, {7: 2})
    assert [draw.record.id for draw in draws] == ["i0007-0", "i0007-1", "i0007-2"]
    assert {draw.record.formula_units for draw in draws} == {2}
    assert [site.specie.symbol for site in draws[0].template] == ["Cl", "Na", "Li", "K", "K"]
    (shard,) = make_shards(draws, 100)
    assert shard.task.known.frac_coords.tolist() == [True, True, False, False, False] * 3
    assert bool(shard.task.known.species.all())
    assert bool(shard.task.known.lattice.all())
    assert len(set(shard.task.ids)) == 3


def test_the_given_part_comes_back_bit_for_bit() -> None:
    host = Structure(
        Lattice([[4, 0.1, 0], [0, 5, 1 / 3], [0.7, 0, 6]]), ["Na", "Cl"], [[-0.3, 1.7, 2.0], [1 / 3, 5, 0]]
    )
    template = fill_template(host, {"Li": 1})
    (shard,) = make_shards(
        plan_inpaintings([HostRecord(id="h", start=0, host=StructureData.of(host), guest_counts={"Li": 1})], 1, {}), 9
    )
    folded = shard.task.templates.frac_coords
    assert not torch.equal(folded[:2], torch.from_numpy(np.array(host.frac_coords)))
    drawn = Structure(host.lattice, template.species, np.vstack([folded[:2].numpy(), [[0.2, 0.3, 0.4]]]))
    restored = restore_given(drawn, template, 2).structure()
    assert np.array_equal(restored.frac_coords[:2], host.frac_coords)
    assert restored.lattice.matrix.tobytes() == host.lattice.matrix.tobytes()
    assert np.array_equal(restored.frac_coords[2], [0.2, 0.3, 0.4])


def test_cells_left_to_the_model_are_unknown() -> None:
    draws = plan_starts(Composition("NaCl"), (1, 2), 2, 20.0, seed=0, lattice="generate")
    assert {draw.record.lattice_source for draw in draws} == {"generate"}
    (shard,) = make_shards(draws, 100)
    assert not bool(shard.task.known.lattice.any())
    assert bool(shard.task.known.species.all())
    assert len(set(shard.task.ids)) == 4
    drawn = Structure(Lattice.hexagonal(3, 5), draws[0].template.species, [[0, 0, 0], [0.5, 0.5, 0.5]])
    kept = restore_given(drawn, draws[0].template, 0, lattice_known=False).structure()
    assert kept.lattice == drawn.lattice
    assert restore_given(drawn, draws[0].template, 0).structure().lattice == draws[0].template.lattice
