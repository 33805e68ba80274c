"""Records keep every digit, through JSON and back."""

import json
import math

import numpy as np
from pymatgen.core import Lattice, Structure

from chggen_kit.workflow.records import OK, Record, StructureData


def awkward_structure() -> Structure:
    """A skewed cell, coordinates outside [0, 1), and numbers without a short decimal form."""
    lattice = Lattice([[5.1 / 3, 0.1, 1e-17], [math.pi, 7.0, -2.0 / 7], [0.3, 1 / 3, 6.0]])
    return Structure(
        lattice, ["Zn", "S", "P"], [[1 / 3, -0.2, 2.7], [0.1 + 0.2, 1.0, -1e-18], [0.9999999999999999, 0, 5]]
    )


def test_a_structure_survives_json_bit_for_bit() -> None:
    before = awkward_structure()
    text = json.dumps(StructureData.of(before).model_dump(mode="json"))
    after = StructureData.model_validate(json.loads(text)).structure()
    assert after.lattice.matrix.tobytes() == before.lattice.matrix.tobytes()
    assert np.array_equal(after.frac_coords, before.frac_coords)
    assert [s.specie for s in after] == [s.specie for s in before]


def test_numbers_that_json_does_not_know_become_missing() -> None:
    record = Record(id="u0000", stage="unconditional", start=0, energy=math.nan, max_force=math.inf)
    assert record.energy is None
    assert record.max_force is None
    assert Record.model_validate(json.loads(json.dumps(record.model_dump(mode="json")))) == record


def test_energies_count_per_atom_of_the_relaxed_structure() -> None:
    data = StructureData.of(awkward_structure())
    record = Record(
        id="u0", stage="unconditional", start=0, generated=data, relaxed=data, initial_energy=-3.0, energy=-9
    )
    assert record.energy_per_atom == -3.0
    assert record.energy_change == -2.0
    assert record.updated(relaxed=None).energy_per_atom is None


def test_only_what_came_through_counts_as_symmetric() -> None:
    record = Record(id="u0", stage="unconditional", start=0, spacegroup_number=6)
    assert record.outcome == OK
    assert record.is_symmetric((1, 2))
    assert not record.is_symmetric((1, 2, 6))
    assert not record.updated(outcome="exploded").is_symmetric((1, 2))
    assert not record.updated(spacegroup_number=None).is_symmetric(())
