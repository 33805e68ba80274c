"""`results.db`: what ase.db cannot hold as it is, and what it must hold exactly."""

from pathlib import Path

import ase.db
import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from chggen_kit.errors import RunDirectoryError
from chggen_kit.workflow.collect import write_database
from chggen_kit.workflow.records import Record, StructureData

BEFORE = StructureData.of(Structure(Lattice.cubic(4.1), ["Na", "Cl"], [[-1 / 3, 2.1, 0], [0.5, 0.5, 0.1 + 0.2]]))
AFTER = StructureData.of(Structure(Lattice.cubic(4.3), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]))
RECORD = Record(
    id="u0000", stage="unconditional", start=0, generated=BEFORE, relaxed=AFTER, energy=-7.5, initial_energy=-7.0
)


def write(path: Path, *records: Record, **named: object) -> None:
    write_database(path, records, [], {"unconditional": named}, {"run": {"seed": 0}})


def test_both_structures_are_stored_and_the_atoms_are_the_relaxed_ones(tmp_path: Path) -> None:
    write(tmp_path / "results.db", RECORD, RECORD.updated(id="u0001", relaxed=None, outcome="exploded"))
    with ase.db.connect(str(tmp_path / "results.db")) as database:
        good, bad = database.select()
        assert database.metadata == {"run": {"seed": 0}}
    assert good.energy == -7.5
    assert good.energy_per_atom == -3.75
    assert good.energy_change == -0.25
    assert np.array_equal(good.cell, AFTER.lattice)
    assert StructureData.model_validate(good.data["as_generated"]) == BEFORE
    assert StructureData.model_validate(good.data["relaxed"]) == AFTER
    assert bad.outcome == "exploded"
    assert np.array_equal(bad.cell, BEFORE.lattice)
    assert "relaxed" not in bad.data
    assert "energy_per_atom" not in bad


@pytest.mark.parametrize("text", ["12", "1e5", "nan", "True", "0x"])
def test_text_that_reads_as_a_number_is_stored_as_text(tmp_path: Path, text: str) -> None:
    write(tmp_path / "results.db", RECORD, checkpoint=text)
    with ase.db.connect(str(tmp_path / "results.db")) as database:
        stored = next(database.select()).checkpoint
    assert isinstance(stored, str)
    assert text in stored


def test_rows_can_be_selected_by_formula_and_space_group(tmp_path: Path) -> None:
    write(tmp_path / "results.db", RECORD.updated(spacegroup_number=225), RECORD.updated(spacegroup_number=1))
    with ase.db.connect(str(tmp_path / "results.db")) as database:
        assert len(list(database.select("NaCl,spacegroup_number>2"))) == 1


def test_an_existing_database_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "results.db"
    write(path, RECORD)
    with pytest.raises(RunDirectoryError, match="u0009"):
        write(path, RECORD, Record(id="u0009", stage="unconditional", start=9))
    with ase.db.connect(str(path)) as database:
        assert len(database) == 1
