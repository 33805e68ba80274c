"""The hull and E_d: by hand, and against pymatgen's own numbers on random sets."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
from pymatgen.core import Composition

from chggen_kit.errors import InputError
from chggen_kit.thermo import DFT, Hull, Phase, ReferencePhase, References, amounts_of


def phase(name: str, formula: str, per_atom: float, frame: str = "f", potential: str = "p") -> ReferencePhase:
    composition = Composition(formula)
    return ReferencePhase(
        name, amounts_of(composition), per_atom * composition.num_atoms, frame, potential, "by hand", None
    )


def candidate(formula: str, per_atom: float, name: str = "c", frame: str = "f", potential: str = "p") -> Phase:
    composition = Composition(formula)
    return Phase(name, amounts_of(composition), per_atom * composition.num_atoms, frame, potential)


# Elements at 0; AB at -1 and A3B at -0.6 are stable (their line passes A at 0 by -0.6 * ... below), AB2 is not.
SET = [phase("a", "Li", 0.0), phase("b", "Si", 0.0), phase("ab", "LiSi", -1.0), phase("ab2", "LiSi2", -0.5)]


def test_by_hand() -> None:
    hull = Hull(References(SET, "by hand"))
    # Li3Si: half of its atoms in LiSi (-1 eV/atom), half in Li (0): the hull is at -0.5.
    placed = hull.place(candidate("Li6Si2", -0.6))
    assert placed.decomposition_energy == pytest.approx(-0.1)
    assert placed.above_hull == 0.0
    assert {(one.formula, round(one.fraction, 9)) for one in placed.products} == {("Li", 0.5), ("LiSi", 0.5)}
    assert placed.decomposition == "0.500 Li + 0.500 LiSi"
    assert placed.energy_frame == "f"
    assert not placed.exclude_composition
    assert placed.left_out == ()
    # LiSi2: 2/3 of the atoms in LiSi: -2/3.
    assert hull.place(candidate("LiSi2", -0.5)).decomposition_energy == pytest.approx(1 / 6)
    assert hull.place(candidate("LiSi2", -0.5)).above_hull == pytest.approx(1 / 6)
    assert hull.place(candidate("Si2", 0.2)).decomposition_energy == pytest.approx(0.2)


def test_candidates_share_the_hull_of_e_hull_only() -> None:
    hull = Hull(References(SET, "by hand"))
    low, high, other = candidate("Li3Si", -0.8), candidate("Li3Si", -0.7), candidate("Li7Si", -0.25)
    placed = hull.place_all([low, high, other])
    assert [one.decomposition_energy for one in placed] == pytest.approx([-0.3, -0.2, 0.0])
    # Below Li3Si at -0.8, the hull at Li7Si (half of whose atoms are those of Li3Si) is at -0.4.
    assert [one.above_hull for one in placed] == pytest.approx([0.0, 0.1, 0.15])


def test_exclude_composition_leaves_all_phases_of_the_formula_out() -> None:
    hull = Hull(References([*SET, phase("ab'", "Li4Si4", -0.9)], "by hand"))
    target = candidate("Li2Si2", -1.0)
    assert hull.place(target).decomposition_energy == pytest.approx(0.0)
    placed = hull.place(target, exclude_composition=True)
    assert placed.exclude_composition
    assert set(placed.left_out) == {"ab", "ab'"}
    # Without both polymorphs: 3/4 of the atoms in LiSi2 at -0.5, a quarter in Li.
    assert placed.decomposition_energy == pytest.approx(-1.0 + 0.375)
    assert "LiSi" not in {one.formula for one in placed.products}
    assert hull.place(candidate("Li3Si", -0.6), exclude_composition=True).left_out == ()
    with pytest.raises(InputError, match="without a reference"):
        hull.place(candidate("Li2", 0.0), exclude_composition=True)


@pytest.mark.parametrize("seed", range(4))
def test_against_pymatgen(seed: int) -> None:
    """Stable phases: minus the depth is pymatgen's phase separation energy; all: its energy above the hull."""
    rng = np.random.default_rng(seed)
    made: dict[str, ReferencePhase] = {}
    for number in range(30):
        counts = rng.integers(0, 4, size=3)
        if not counts.any():
            continue
        composition = Composition(dict(zip(("Li", "P", "S"), (int(n) for n in counts), strict=True)))
        mixing = 0.0 if len(composition.elements) == 1 else -float(rng.uniform(0.1, 1.0))
        name = composition.reduced_formula
        made[name] = phase(f"r{number}", composition.formula, mixing)
    phases = [*made.values(), *(phase(f"e{symbol}", symbol, 0.0) for symbol in ("Li", "P", "S"))]
    entries = {one.id: PDEntry(one.composition, one.energy) for one in phases}
    diagram = PhaseDiagram(list(entries.values()))
    stable = [one for one in phases if len(one.amounts) > 1 and entries[one.id] in diagram.stable_entries]
    assert stable
    for one in stable:
        depth = diagram.get_phase_separation_energy(entries[one.id])
        assert depth < 0
        rest = References((other for other in phases if other is not one), "rest")
        assert Hull(rest).place(one).decomposition_energy == pytest.approx(depth, abs=1e-9)
        within = Hull(References(phases, "all"))
        assert within.place(one).decomposition_energy == pytest.approx(0.0, abs=1e-9)
        assert within.place(one, exclude_composition=True).decomposition_energy == pytest.approx(depth, abs=1e-9)
    for one in phases:
        expected = diagram.get_e_above_hull(entries[one.id])
        assert Hull(References(phases, "all")).place(one).above_hull == pytest.approx(expected, abs=1e-9)


def test_mixed_frames_and_potentials_are_refused() -> None:
    with pytest.raises(InputError, match="mix energy frames: f, g"):
        References([*SET, phase("x", "Li2Si", -0.1, frame="g")], "mixed")
    with pytest.raises(InputError, match="mix potentials: p, q"):
        References([*SET, phase("x", "Li2Si", -0.1, potential="q")], "mixed")
    hull = Hull(References(SET, "by hand"))
    with pytest.raises(InputError, match=r"frame 'g'.*'f'"):
        hull.place(candidate("LiSi", -1.0, frame="g"))
    with pytest.raises(InputError, match="energies of p, not of q"):
        hull.place(candidate("LiSi", -1.0, potential="q"))


def test_computed_references_take_any_potential_of_their_frame() -> None:
    computed = References([phase(one.id, one.formula, one.energy_per_atom, potential=DFT) for one in SET], "computed")
    assert Hull(computed).place(candidate("LiSi", -0.9)).decomposition_energy == pytest.approx(0.1)
    with pytest.raises(InputError, match="frame"):
        Hull(computed).place(candidate("LiSi", -0.9, frame="g"))


@pytest.mark.parametrize("energy", [math.nan, math.inf, -math.inf])
def test_energies_that_are_no_numbers_are_refused(energy: float) -> None:
    with pytest.raises(InputError, match=r"reference phase x .*not a finite number"):
        References([*SET, phase("x", "Li2Si", energy)], "broken")
    with pytest.raises(InputError, match=r"energy of c .*not a finite number"):
        Hull(References(SET, "by hand")).place(candidate("LiSi", energy))


def test_an_element_without_a_reference_is_named() -> None:
    with pytest.raises(InputError, match="no phase of the element P, S itself"):
        Hull(References(SET, "by hand")).place(candidate("LiPS3", -1.0))
    compound_only = References([phase("a", "Li", 0.0), phase("ab", "LiSi", -1.0)], "by hand")
    assert compound_only.missing_elements(["Li", "Si"]) == ["Si"]
    with pytest.raises(InputError, match="no phase of the element Si itself"):
        Hull(compound_only).place(candidate("LiSi", -1.0))


def test_an_empty_set_is_refused() -> None:
    with pytest.raises(InputError, match="hold no phase"):
        References([], "nothing")


def test_elements_count_by_their_symbol() -> None:
    assert phase("s", "S8", 0.0).formula == "S"
    assert phase("o", "O2", 0.0).formula == "O"
    assert phase("x", "Li6Si2", 0.0).formula == "Li3Si"
