"""Local environments: crystals with known neighbours, distances with known values, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from chggen_kit.errors import InputError
from chggen_kit.metrics.environments import (
    FINDERS,
    EnvironmentSet,
    EnvironmentSettings,
    compare,
    coordination_distance,
    measure,
    rdf_distance_A,
)


def rocksalt(edge_A: float = 5.6) -> Structure:
    half = edge_A / 2
    lattice = Lattice([[0, half, half], [half, 0, half], [half, half, 0]])
    return Structure(lattice, ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def caesium_chloride(edge_A: float = 3.5) -> Structure:
    return Structure(Lattice.cubic(edge_A), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


@pytest.fixture(scope="module")
def salts() -> tuple[EnvironmentSet, EnvironmentSet]:
    return EnvironmentSet.of([rocksalt(), rocksalt(5.7)]), EnvironmentSet.of(
        [caesium_chloride(), caesium_chloride(3.52)]
    )


@pytest.mark.parametrize("finder", FINDERS)
def test_known_coordination_numbers(finder: str) -> None:
    chosen = EnvironmentSettings(finder=finder, ligands=("Cl",))
    found = measure(rocksalt(), chosen)
    assert found.failure == ""
    assert found.coordination["Na"] == {6: 1}
    # The chlorines have sodium neighbours, which are no ligands here.
    assert found.coordination["Cl"].get(0, 0) == 1 or finder == "voronoi"


def test_neighbours_are_at_the_known_distances(salts: tuple[EnvironmentSet, EnvironmentSet]) -> None:
    one = measure(rocksalt(), EnvironmentSettings(bin_A=0.1))
    counts, edges = one.pairs["Cl", "Na"], EnvironmentSettings(bin_A=0.1).edges_A
    assert counts[:28].sum() == 6 - counts[28]
    assert counts[(edges[:-1] > 2.65) & (edges[1:] < 2.95)].sum() == 6
    assert one.pairs["Na", "Na"][(edges[:-1] > 3.8) & (edges[1:] < 4.15)].sum() == 12
    assert salts[1].coordination("Na") == {8: 1.0}


def test_a_supercell_and_a_copy_change_nothing() -> None:
    # Odd numbers keep distances away from the edges of bins.
    single, doubled = rocksalt(5.6123), rocksalt(5.6123)
    doubled.make_supercell([2, 1, 1])
    ours, theirs = EnvironmentSet.of([single]), EnvironmentSet.of([doubled, doubled])
    for pair in ours.pairs:
        first, second = ours.rdf(pair), theirs.rdf(pair)
        assert first is not None
        assert second is not None
        assert np.allclose(first, second)
    assert rdf_distance_A(ours, theirs, ("Cl", "Na")) == pytest.approx(0, abs=1e-12)
    assert ours.coordination("Cl") == theirs.coordination("Cl")


def test_an_ideal_gas_has_g_of_one() -> None:
    generator = np.random.default_rng(0)
    structure = Structure(Lattice.cubic(20), ["Ar"] * 400, generator.random((400, 3)))
    found = EnvironmentSet(
        EnvironmentSettings(), [measure(structure, EnvironmentSettings(finder="minimum-distance"))]
    ).rdf(("Ar", "Ar"))
    assert found is not None
    assert found[80:].mean() == pytest.approx(1, abs=0.02)


def test_distances_have_their_known_values(salts: tuple[EnvironmentSet, EnvironmentSet]) -> None:
    ours, theirs = salts
    assert coordination_distance(ours, theirs, "Na") == pytest.approx(2)
    assert rdf_distance_A(ours, ours, ("Cl", "Na")) == 0
    found = compare(ours, theirs)
    assert found.species["Na"].value == pytest.approx(2)
    assert found.mean_coordination.value == pytest.approx(2)
    assert found.mean_rdf_A.value == pytest.approx(np.mean([one.value for one in found.pairs.values()]))
    assert found.mean_rdf_A.low <= found.mean_rdf_A.value <= found.mean_rdf_A.high
    # Halves of the reference, two cells of 3.5 and 3.52 Å, differ by far less than the two kinds of crystals.
    assert 0 < found.mean_rdf_A.floor < found.mean_rdf_A.value / 2
    assert found.mean_coordination.floor == 0


@settings(max_examples=15)
@given(scale=st.floats(1.005, 1.2))
def test_the_distance_is_symmetric_and_grows_with_the_difference(scale: float) -> None:
    chosen = EnvironmentSettings(r_max_A=6, finder="minimum-distance")
    base, wider = EnvironmentSet.of([rocksalt()], chosen), EnvironmentSet.of([rocksalt(5.6 * scale)], chosen)
    forth, back = (rdf_distance_A(*pair, ("Cl", "Na")) for pair in ((base, wider), (wider, base)))
    assert forth == pytest.approx(back)
    assert forth >= 0


def test_what_one_set_lacks_has_no_distance(salts: tuple[EnvironmentSet, EnvironmentSet]) -> None:
    potash = rocksalt()
    potash.replace_species({"Na": "K"})
    ours = EnvironmentSet.of([potash])
    assert math.isnan(rdf_distance_A(ours, salts[0], ("Cl", "K")))
    assert math.isnan(coordination_distance(ours, salts[0], "K"))
    found = compare(ours, salts[0])
    assert list(found.pairs) == [("Cl", "Cl")]
    assert list(found.species) == ["Cl"]
    # A single structure cannot be resampled.
    plain = found.as_json()
    assert plain["rdf"]["Cl-Cl"]["distance_A"]["low"] is None
    assert plain["structures"] == {"generated": 1, "reference": 2}


def test_structures_without_neighbours_count_as_failures() -> None:
    lonely = Structure(Lattice.cubic(5.0), ["Na", "Na"], [[0, 0, 0], [0, 0, 0.0001]])
    found = EnvironmentSet.of([lonely, rocksalt()])
    assert len(found.failures) in {0, 1}  # finders differ in what they refuse
    assert found.coordination("Cl") == {6: 1.0}


def test_refusals() -> None:
    with pytest.raises(InputError, match=r"no structures"):
        EnvironmentSet.of([])
    with pytest.raises(InputError, match=r"Did you mean 'crystal-nn'"):
        EnvironmentSettings(finder="crystalnn")
    with pytest.raises(InputError, match=r"must be positive|narrower"):
        EnvironmentSettings(r_max_A=1, bin_A=2)
    argon = Structure(Lattice.cubic(5.3), ["Ar"], [[0, 0, 0]])
    chosen = EnvironmentSettings(finder="minimum-distance")
    with pytest.raises(InputError, match=r"share no pair.*Ar"):
        compare(EnvironmentSet.of([argon], chosen), EnvironmentSet.of([rocksalt()], chosen))
    with pytest.raises(InputError, match=r"different ways"):
        compare(EnvironmentSet.of([argon], chosen), EnvironmentSet.of([rocksalt()]))
    disordered = Structure(Lattice.cubic(4.0), [{"Na": 0.5, "K": 0.5}], [[0, 0, 0]])
    with pytest.raises(InputError, match=r"ordered structure"):
        measure(disordered, EnvironmentSettings())
