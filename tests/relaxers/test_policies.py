"""What may move: policies of relaxation over a real relaxer and a potential with known minima."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError
from pymatgen.core import Lattice, Structure

from chggen_kit.errors import InputError
from chggen_kit.io import to_structures
from chggen_kit.metrics.symmetry import SpaceGroup, space_group
from chggen_kit.relaxers.fire import FireOptions, FireRelaxer
from chggen_kit.relaxers.policies import RelaxPolicy, relax_by_policy
from chggen_kit.state import CrystalBatch
from chggen_kit.testing.crystals import disturbed, face_centred, rocksalt
from chggen_kit.testing.pair_potential import PairPotential

RELAXER = FireRelaxer(PairPotential())


def group_number(structure: Structure, symprec_A: float = 0.01) -> int:
    found = space_group(structure, symprec_A, 1.0)
    assert isinstance(found, SpaceGroup)
    return found.number


def rattled(rattle_A: float) -> list[Structure]:
    batch = CrystalBatch.concatenate([rocksalt(11, 17, 5.0), face_centred(18, 3.7)])
    return to_structures(disturbed(batch, rattle_A=rattle_A, strain=0.0005, seed=0))


def simple_cubic() -> Structure:
    """A saddle of a potential between all atoms alike, which packs them as densely as it can."""
    return to_structures(rocksalt(14, 14, 5.2))[0]


def test_free_and_fixed_cell_are_those_of_the_relaxer() -> None:
    structures = rattled(0.1)
    for name, cell in (("free", "free"), ("fixed-cell", "fixed")):
        mine = relax_by_policy(RELAXER, structures, RelaxPolicy(name=name), max_steps=10)
        plain = RELAXER.relax(structures, cell=cell, max_steps=10)
        assert [one.energy for one in mine] == [one.energy for one in plain]


def test_a_fixed_host_stays_and_its_guests_move() -> None:
    structures = rattled(0.1)
    hosts = [[number % 2 == 0 for number in range(len(one))] for one in structures]
    ended = relax_by_policy(RELAXER, structures, RelaxPolicy(name="fixed-host"), hosts=hosts, max_steps=10)
    for before, host, after in zip(structures, hosts, ended, strict=True):
        assert np.array_equal(before.lattice.matrix, after.structure.lattice.matrix)
        assert np.array_equal(before.frac_coords[host], after.structure.frac_coords[host])
        guests = ~np.array(host)
        assert (before.frac_coords[guests] != after.structure.frac_coords[guests]).any(axis=1).all()
    with pytest.raises(InputError, match="name the guests"):
        relax_by_policy(RELAXER, structures, RelaxPolicy(name="fixed-host"))


def test_the_symmetry_of_the_start_is_imposed_and_kept() -> None:
    structures = rattled(0.01)
    assert [group_number(one) for one in structures] == [1, 1]
    ended = relax_by_policy(RELAXER, structures, RelaxPolicy(name="keep-symmetry"), fmax=0.02)
    assert [group_number(one.structure) for one in ended] == [225, 225]
    assert [(one.reason, one.freed) for one in ended] == [("converged", False)] * 2
    assert [site.specie for site in ended[0].structure] == [site.specie for site in structures[0]]


def test_without_symmetry_within_the_tolerance_nothing_is_imposed() -> None:
    structures = rattled(0.02)
    tight = relax_by_policy(RELAXER, structures, RelaxPolicy(name="keep-symmetry", symprec_A=1e-3), max_steps=10)
    free = relax_by_policy(RELAXER, structures, RelaxPolicy(), max_steps=10)
    assert [one.energy for one in tight] == [one.energy for one in free]


def test_broken_structures_end_with_the_reasons_of_the_relaxer() -> None:
    lattice = Lattice.cubic(4)
    broken = Structure(lattice, ["Ar", "Ar"], [[0, 0, 0], [0.02, 0, 0]])
    not_finite = Structure(lattice, ["Ar"], [[np.nan, 0, 0]])
    ended = relax_by_policy(RELAXER, [broken, not_finite], RelaxPolicy(name="keep-symmetry"))
    assert [one.reason for one in ended] == ["overlap", "non-finite"]


def test_a_saddle_is_left_only_for_a_gain() -> None:
    start, limits = simple_cubic(), {"fmax": 0.01, "max_steps": 80}
    relaxer = FireRelaxer(PairPotential(), FireOptions(trajectory_every=10))
    (kept,) = relax_by_policy(relaxer, [start], RelaxPolicy(name="keep-symmetry"), **limits)
    assert (group_number(kept.structure), kept.freed) == (221, False)
    # The saddle has no force along the way out: without a push the free relaxation ends where it starts.
    (still,) = relaxer.relax([kept.structure], **limits)
    assert still.steps == 0
    (freed,) = relax_by_policy(relaxer, [start], RelaxPolicy(name="keep-symmetry", min_gain=0.01), **limits)
    assert freed.freed
    gain = (kept.energy - freed.energy) / len(start)
    assert gain > 0.01
    assert freed.initial_energy == kept.initial_energy
    assert freed.steps > kept.steps
    assert len(freed.trajectory) > len(kept.trajectory)
    assert group_number(freed.structure) != 221
    (again,) = relax_by_policy(relaxer, [start], RelaxPolicy(name="keep-symmetry", min_gain=gain * 1.01), **limits)
    assert (again.freed, again.energy) == (False, kept.energy)


def test_a_policy_is_a_name_or_settings_that_belong_to_it() -> None:
    assert RelaxPolicy.model_validate("fixed-cell") == RelaxPolicy(name="fixed-cell")
    for policy in (RelaxPolicy(), RelaxPolicy(name="fixed-host"), RelaxPolicy(name="keep-symmetry", min_gain=0.1)):
        assert RelaxPolicy.model_validate_json(policy.model_dump_json()) == policy
    with pytest.raises(ValidationError, match="only keep-symmetry has the settings min_gain, symprec_A"):
        RelaxPolicy(name="free", symprec_A=0.2, min_gain=0.0)
    with pytest.raises(ValidationError):
        RelaxPolicy(name="keep-symmetry", min_gain=-0.1)


def test_a_stored_policy_can_be_read_back() -> None:
    for policy in (RelaxPolicy(), RelaxPolicy(name="keep-symmetry", symprec_A=0.2, min_gain=0.01)):
        assert RelaxPolicy.model_validate_json(policy.model_dump_json()) == policy
