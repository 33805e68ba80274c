"""Which structures are the same: the fingerprint never keeps from the matcher what it would have matched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from chggen_kit.benchmark.same import Known, Sameness, fingerprint, formula_key, packaged_known, read_known
from chggen_kit.benchmark.spec import Matching
from chggen_kit.io.files import write_structure

ROCKSALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
CSCL = Structure(Lattice.cubic(4.1), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
BLENDE = Structure.from_spacegroup("F-43m", Lattice.cubic(5.41), ["Na", "Cl"], [[0, 0, 0], [0.25, 0.25, 0.25]])
PEROVSKITE = Structure.from_spacegroup(
    "Pm-3m", Lattice.cubic(3.9), ["Sr", "Ti", "O"], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]]
)
RUTILE = Structure.from_spacegroup(136, Lattice.tetragonal(4.594, 2.959), ["Ti", "O"], [[0, 0, 0], [0.305, 0.305, 0]])


@pytest.mark.parametrize("structure", [ROCKSALT, PEROVSKITE, RUTILE])
def test_fingerprints_do_not_depend_on_cell_origin_and_volume(structure: Structure) -> None:
    same = structure.copy()
    same.translate_sites(range(len(same)), [0.13, 0.41, 0.77])
    same.scale_lattice(structure.volume * 1.3)
    same.make_supercell([[1, 1, 0], [0, 1, 0], [0, 0, 2]])
    np.testing.assert_allclose(fingerprint(same), fingerprint(structure), atol=1e-6)


def test_fingerprints_tell_types_apart() -> None:
    prints = [fingerprint(one) for one in (ROCKSALT, CSCL, BLENDE)]
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert np.linalg.norm(prints[first] - prints[second]) > 0.3


@pytest.mark.parametrize("stol", [0.3, 0.5])
@pytest.mark.parametrize("structure", [ROCKSALT, PEROVSKITE, RUTILE], ids=["rocksalt", "perovskite", "rutile"])
def test_what_the_matcher_takes_for_the_same_is_never_kept_from_it(structure: Structure, stol: float) -> None:
    """Of distorted copies, to the limit of what matches."""
    generator = np.random.default_rng(0)
    sameness = Sameness(Matching(stol=stol))
    matched = kept_away = 0
    for width in np.linspace(0.02, 0.45, 10):
        for _ in range(3):
            copy = structure.copy()
            strain = np.eye(3) + 0.15 * width * generator.normal(size=(3, 3))
            moved = Structure(
                copy.lattice.matrix @ strain,
                copy.species,
                copy.frac_coords + generator.normal(size=(len(copy), 3)) * width @ np.linalg.inv(copy.lattice.matrix),
            )
            if sameness.distance(structure, moved) is None:
                continue
            matched += 1
            kept_away += np.linalg.norm(fingerprint(structure) - fingerprint(moved)) > sameness.far
    assert matched >= 5
    assert kept_away == 0


def test_kinds_are_counted_by_formula() -> None:
    double = ROCKSALT.copy()
    double.perturb(0.02)
    sameness = Sameness(Matching())
    kinds = sameness.kinds([ROCKSALT, BLENDE, double, RUTILE, CSCL, ROCKSALT.get_primitive_structure()])
    assert kinds[0] == kinds[2] == kinds[5]
    assert len(set(kinds)) == 4
    # Crystals of other compositions are never compared.
    assert sameness.asked <= 6


def test_a_structure_that_no_matcher_can_take_has_no_kind() -> None:
    flat = Structure([[3, 0, 0], [0, 3, 0], [0, 0, 1e-6]], ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    assert Sameness(Matching()).kinds([flat, CSCL])[0] is None


def test_known_structures_are_found(tmp_path: Path) -> None:
    for name, structure in (("salt", ROCKSALT), ("rutile", RUTILE)):
        write_structure(structure, tmp_path / f"{name}.cif", "cif")
    known = read_known([tmp_path], {formula_key(ROCKSALT)})
    assert len(known) == 1
    found = Sameness(Matching()).matches({"a": ROCKSALT.get_primitive_structure(), "b": BLENDE, "c": RUTILE}, known)
    assert found["a"][0] is not None
    assert found["a"][1] == pytest.approx(0, abs=1e-4)
    assert found["b"] == found["c"] == (None, None)


def test_the_nearest_known_structure_is_named() -> None:
    bent = ROCKSALT.copy()
    bent.perturb(0.3)
    found = Sameness(Matching()).matches({"a": ROCKSALT}, [Known("bent", bent), Known("straight", ROCKSALT)])
    assert found["a"][0] == "straight"


def test_packaged_phases_are_known() -> None:
    blende = Structure.from_spacegroup("F-43m", Lattice.cubic(5.41), ["Zn", "S"], [[0, 0, 0], [0.25, 0.25, 0.25]])
    known = packaged_known({"Zn", "S"}, {formula_key(blende)})
    assert known
    assert Sameness(Matching()).matches({"a": blende}, known)["a"][0] is not None
    assert packaged_known({"Np"}, {"Np1"}) == []
