"""Matches whose answer is known, and cells that must give a reason instead of an error, an hour, or all memory."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Composition, Lattice, Structure

from chggen_kit.errors import InputError
from chggen_kit.metrics.matching import CspMatcher, is_valid_composition, is_valid_structure, unusable

ROCKSALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
CSCL_TYPE = Structure(Lattice.cubic(3.5), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
PEROVSKITE = Structure(
    Lattice.cubic(3.905),
    ["Sr", "Ti", "O", "O", "O"],
    [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]],
)
MATCHER = CspMatcher()


def _displaced(structure: Structure, atom: int, vector_A: tuple[float, float, float]) -> Structure:
    moved = structure.copy()
    moved.translate_sites([atom], vector_A, frac_coords=False)
    return moved


def test_the_description_names_the_parameters_of_the_benchmark() -> None:
    assert MATCHER.description == "StructureMatcher(stol=0.5, ltol=0.3, angle_tol=10)"


def test_identical_permuted_shifted_scaled_and_rotated_structures_match_exactly() -> None:
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    variants = {
        "identical": PEROVSKITE,
        "permuted": Structure.from_sites(list(reversed(PEROVSKITE.sites))),
        "shifted": Structure(
            PEROVSKITE.lattice, PEROVSKITE.species, PEROVSKITE.frac_coords + np.array([0.13, 0.4, 0.77])
        ),
        "twice the volume": Structure(
            Lattice(PEROVSKITE.lattice.matrix * 2 ** (1 / 3)), PEROVSKITE.species, PEROVSKITE.frac_coords
        ),
        "rotated": Structure(Lattice(PEROVSKITE.lattice.matrix @ turn), PEROVSKITE.species, PEROVSKITE.frac_coords),
        "supercell": PEROVSKITE * (1, 1, 2),
    }
    for name, variant in variants.items():
        found = MATCHER.compare(variant, PEROVSKITE)
        assert found.reason is None, name
        assert found.rmsd == pytest.approx(0, abs=1e-5), name


def test_the_displacement_is_normalised_by_the_volume_of_an_atom() -> None:
    """One of two atoms moved by d: after the best shift both are d/2 off, over the cube root of V/N."""
    displacement = 0.2
    found = MATCHER.compare(_displaced(CSCL_TYPE, 1, (displacement, 0, 0)), CSCL_TYPE)
    assert found.rmsd == pytest.approx(displacement / 2 / (3.5**3 / 2) ** (1 / 3), rel=1e-3)


def test_other_structures_and_other_compositions_do_not_match() -> None:
    assert MATCHER.compare(CSCL_TYPE, ROCKSALT).reason == "different"
    potassium = Structure(CSCL_TYPE.lattice, ["K", "Cl"], CSCL_TYPE.frac_coords)
    assert MATCHER.compare(potassium, CSCL_TYPE).reason == "composition"
    assert MATCHER.compare(Structure(Lattice.cubic(3.5), ["Na"], [[0, 0, 0]]), CSCL_TYPE).reason == "composition"


def test_tolerances_decide() -> None:
    far = _displaced(CSCL_TYPE, 1, (1.0, 0, 0))
    assert MATCHER.compare(far, CSCL_TYPE).matches
    assert not CspMatcher(stol=0.1).compare(far, CSCL_TYPE).matches
    with pytest.raises(InputError, match="positive"):
        CspMatcher(stol=0)


PATHOLOGICAL = {
    "not-finite": [
        Structure(Lattice.cubic(3.5), ["Na", "Cl"], [[0, 0, 0], [np.nan, 0, 0]]),
        Structure(Lattice([[np.nan, 0, 0], [0, 3, 0], [0, 0, 3]]), ["Na", "Cl"], [[0, 0, 0], [0.5, 0, 0]]),
    ],
    "no-volume": [
        Structure(Lattice([[5, 0, 0], [0, 5, 0], [3, 3, 1e-4]]), ["Na", "Cl"], [[0, 0, 0], [0.5, 0, 0]]),
        Structure(Lattice.cubic(0.1), ["Na", "Cl"], [[0, 0, 0], [0.5, 0, 0]]),
    ],
    "degenerate-cell": [
        Structure(Lattice([[1e4, 0, 0], [0, 1e4, 0], [1e4, 1e4, 1e-6]]), ["Na", "Cl"], [[0, 0, 0], [0.5, 0, 0]]),
    ],
    # Unguarded, the matcher takes minutes and all memory for these.
    "elongated-cell": [
        Structure(Lattice.orthorhombic(0.3, 0.3, 3000), ["Na", "Cl"], [[0, 0, 0], [0.5, 0, 0]]),
        Structure(Lattice.orthorhombic(300, 300, 0.01), ["Na", "Cl"], [[0, 0, 0], [0.5, 0, 0]]),
    ],
}


@pytest.mark.parametrize("reason", PATHOLOGICAL)
@pytest.mark.timeout(20)
def test_pathological_cells_are_a_reason(reason: str) -> None:
    for structure in PATHOLOGICAL[reason]:
        assert unusable(structure) == reason
        assert MATCHER.compare(structure, CSCL_TYPE).reason == reason
        assert MATCHER.compare(CSCL_TYPE, structure).reason == reason
        assert MATCHER.compare(structure, CSCL_TYPE).rmsd is None


@pytest.mark.timeout(60)
def test_odd_cells_and_heaps_of_atoms_end_soon() -> None:
    rng = np.random.default_rng(1)
    species = ["Na", "Cl"] * 6
    reference = Structure(Lattice.orthorhombic(4, 4, 15), species, rng.random((12, 3)))
    skew = Lattice(np.eye(3) * 6 @ [[1, 0, 0], [1000.3, 1, 0], [5000.7, 77.1, 1]])
    for structure in (
        Structure(skew, species, rng.random((12, 3))),
        Structure(Lattice.cubic(6), species, np.zeros((12, 3))),
        Structure(Lattice.cubic(6), species, np.outer(rng.random(12), [0, 0, 1])),
        *(
            Structure(Lattice(rng.normal(size=(3, 3)) * 10 ** rng.uniform(-2, 3, (3, 1))), species, rng.random((12, 3)))
            for _ in range(10)
        ),
    ):
        assert MATCHER.compare(structure, reference).reason is not None


def test_a_failure_of_the_matcher_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ValueError("can't find niggli")

    matcher = CspMatcher()
    monkeypatch.setattr(matcher._matcher, "get_rms_dist", fail)
    assert matcher.compare(CSCL_TYPE, CSCL_TYPE).reason == "matcher-failed"


def test_validity_of_structures() -> None:
    assert is_valid_structure(ROCKSALT)
    assert is_valid_structure(Structure(Lattice.cubic(3), ["Na"], [[0, 0, 0]]))
    for distance, valid in ((0.49, False), (0.51, True)):
        pair = Structure(Lattice.cubic(10), ["Na", "Cl"], [[0, 0, 0], [1 - distance / 10, 0, 0]])
        assert is_valid_structure(pair) is valid
    assert not is_valid_structure(PATHOLOGICAL["not-finite"][0])
    assert not is_valid_structure(PATHOLOGICAL["no-volume"][1])


def test_validity_of_compositions() -> None:
    pytest.importorskip("smact", reason="the extra csp is not installed")
    for formula in ("NaCl", "SrTiO3", "YMg3", "He", "Na8Cl8"):
        assert is_valid_composition(Composition(formula)), formula
    for formula in ("Na2Cl", "Li5Si2", "PtF9"):
        assert not is_valid_composition(Composition(formula)), formula


def test_the_gate_on_compositions_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "smact.screening", None)
    with pytest.raises(InputError, match=r"chggen-kit\[csp\]"):
        is_valid_composition(Composition("NaCl"))
