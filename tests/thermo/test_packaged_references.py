"""The references that ship with the kit: what they hold, that their energies are right, and E_d against them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
from scipy.optimize import linprog

from chggen_kit.errors import InputError
from chggen_kit.interfaces import Evaluation, Potential, PotentialInfo
from chggen_kit.io.convert import to_batch
from chggen_kit.plugins import get_registry
from chggen_kit.state import CrystalBatch
from chggen_kit.testing.pair_potential import PairPotential
from chggen_kit.thermo import ActivePotential, Hull, ReferencePhase, References
from chggen_kit.thermo.cache import RelaxationCache
from chggen_kit.thermo.packaged import (
    NEAR_HULL,
    POLYMORPH_ATOMS,
    POLYMORPHS,
    packaged_references,
    packaged_set,
    read_set,
    representatives,
)
from chggen_kit.thermo.relaxed import ReferenceSettings
from chggen_kit.thermo.sources import find_references

FIRST = "chgnet-0.3.0"
SYSTEMS = (("Li", "Si"), ("P", "S", "Zn"), ("Li", "P", "S"))


class Declared(Potential):
    """A potential of a given name, which must not be asked."""

    def __init__(self, name: str, frame: str) -> None:
        self._info = PotentialInfo(name, frame, frozenset(range(1, 95)), 6.0, 128, "MIT")

    @property
    def info(self) -> PotentialInfo:
        return self._info

    def evaluate(self, batch: CrystalBatch) -> Evaluation:
        raise AssertionError("the packaged energies are known")


def declared(name: str) -> ActivePotential:
    return ActivePotential(Declared(name, packaged_set().potentials[name].energy_frame), {}, get_registry())


def packaged(symbols: tuple[str, ...], name: str = FIRST) -> References:
    found = packaged_references(symbols, declared(name))
    assert found is not None
    return found


def lowest_mixture(phase: ReferencePhase, others: Sequence[ReferencePhase]) -> float:
    """Lowest energy in eV/atom of a mixture of `others` with the composition of `phase`."""
    symbols = sorted(phase.symbols)
    usable = [one for one in others if one.symbols <= phase.symbols]
    shares = np.array([[one.composition.get_atomic_fraction(symbol) for one in usable] for symbol in symbols])
    wanted = np.array([phase.composition.get_atomic_fraction(symbol) for symbol in symbols])
    found = linprog([one.energy_per_atom for one in usable], A_eq=shares, b_eq=wanted, bounds=(0, None))
    assert found.success
    return float(found.fun)


def test_what_the_file_holds() -> None:
    known = packaged_set()
    assert tuple(tuple(sorted(one)) for one in known.systems) == tuple(tuple(sorted(one)) for one in SYSTEMS)
    assert next(iter(known.potentials)) == FIRST
    assert known.potentials[FIRST].energy_frame == "mp2020-corrected"
    names = [phase.id for phase in known.phases]
    assert len(set(names)) == len(names)
    assert all(FIRST in phase.energies for phase in known.phases)
    path = Path(str(files("chggen_kit.thermo") / "data" / "references.json.gz"))
    assert path.stat().st_size < 300_000
    # Nothing but the kit's own relaxations and where they started: no field of the sources.
    (one, *_) = json.loads(gzip.decompress(path.read_bytes()))["phases"]
    assert set(one) == {"id", "source", "structure", "energies", "above_hull"}
    assert (path.parent / "README.md").read_text().count("CC BY 4.0") >= 1


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("name", list(packaged_set().potentials))
def test_stable_phases_lie_at_zero_and_others_above(system: tuple[str, ...], name: str) -> None:
    """And the E_d of a stable phase without itself is minus the hull's depth, by a linear programme and by pymatgen."""
    references = packaged(system, name)
    assert references.energy_frame == packaged_set().potentials[name].energy_frame
    hull = Hull(references)
    entries = {phase.id: PDEntry(phase.composition, phase.energy) for phase in references.phases}
    diagram = PhaseDiagram(list(entries.values()))
    heights = {}
    for phase in references.phases:
        placed = hull.place(phase)
        heights[phase.id] = placed.decomposition_energy
        assert placed.decomposition_energy == pytest.approx(diagram.get_e_above_hull(entries[phase.id]), abs=1e-7)
        if entries[phase.id] not in diagram.stable_entries:
            assert placed.decomposition_energy > 0
            continue
        assert placed.decomposition_energy == pytest.approx(0.0, abs=1e-7)
        if len(phase.amounts) == 1:
            continue
        depth = phase.energy_per_atom - lowest_mixture(
            phase, [o for o in references.phases if o.formula != phase.formula]
        )
        # Pymatgen searches for the mixture numerically, and misses the best one by up to 4e-5 eV/atom here.
        assert depth == pytest.approx(diagram.get_phase_separation_energy(entries[phase.id]), abs=1e-4)
        excluded = hull.place(phase, exclude_composition=True)
        assert excluded.decomposition_energy == pytest.approx(depth, abs=1e-7)
        assert phase.id in excluded.left_out
        rest = References((one for one in references.phases if one.formula != phase.formula), "rest")
        assert Hull(rest).place(phase).decomposition_energy == pytest.approx(depth, abs=1e-7)
        assert depth < 0
    stable = [name for name, height in heights.items() if abs(height) < 1e-7]
    assert len(stable) > len(system)
    assert len(stable) < len(heights)


def test_the_ground_states_are_the_known_ones() -> None:
    """CHGNet knows what everybody knows: these compounds are stable."""
    stable = {
        phase.formula
        for system in SYSTEMS
        for references in [packaged(system)]
        for phase in references.phases
        if Hull(references).place(phase).above_hull < 1e-7
    }
    assert stable >= {"Li", "Si", "P", "S", "Zn", "ZnS", "Li2S", "Li3P", "P2S5", "Zn3P2", "ZnP2", "Li3PS4", "Li15Si4"}


def test_the_energies_are_those_of_the_structures() -> None:
    """CHGNet itself, on the smallest phase of every subsystem: energies to 0.1 meV/atom, forces below the limit."""
    potential = get_registry().create_potential("chgnet")
    known = packaged_set()
    chosen = {}
    for phase in sorted(known.phases, key=lambda one: -len(one.structure.species)):
        chosen[frozenset(phase.structure.species)] = phase
    found = potential.evaluate(to_batch([one.structure.structure() for one in chosen.values()]))
    sizes = [len(one.structure.species) for one in chosen.values()]
    stored = [one.energies[FIRST] for one in chosen.values()]
    for size, energy, expected in zip(sizes, found.energies.tolist(), stored, strict=True):
        assert energy / size == pytest.approx(expected / size, abs=1e-4)
    assert float(found.forces.norm(dim=1).max()) < known.potentials[FIRST].settings.fmax + 1e-3


def test_the_active_potential_of_a_run_finds_them() -> None:
    active = ActivePotential(get_registry().create_potential("chgnet"), {"device": "cpu"}, get_registry())
    found = find_references("auto", {"Zn", "P", "S"}, active)
    assert found.references is not None
    assert found.references.label.startswith("packaged-")
    assert found.references.potential == FIRST


def test_another_potential_relaxes_the_representatives_once() -> None:
    class Renamed(PairPotential):
        crystals = 0

        def evaluate(self, batch: CrystalBatch) -> Evaluation:
            self.crystals += batch.n_crystals
            return super().evaluate(batch)

    potential = Renamed()
    active = ActivePotential(potential, {}, get_registry())
    quick = ReferenceSettings(fmax=5.0, max_steps=2)
    cache = RelaxationCache()
    found = packaged_references({"Li", "Si"}, active, quick, cache=cache)
    assert found is not None
    assert found.energy_frame == "lennard-jones"
    expected = representatives(
        [p for p in packaged_set().phases if set(p.structure.species) <= {"Li", "Si"}], NEAR_HULL
    )
    assert {one.id for one in found.phases} <= {one.id for one in expected}
    assert found.missing_elements({"Li", "Si"}) == []
    asked = potential.crystals
    assert asked >= len(expected)
    again = packaged_references({"Li", "Si"}, active, quick, cache=cache)
    assert again is not None
    assert again.phases == found.phases
    assert potential.crystals == asked


def test_representatives() -> None:
    chosen = representatives(packaged_set().phases, NEAR_HULL)
    by_formula: dict[str, list[int]] = {}
    for phase in chosen:
        assert phase.above_hull <= NEAR_HULL
        formula = phase.structure.structure().composition.reduced_formula
        by_formula.setdefault(formula, []).append(len(phase.structure.species))
    for sizes in by_formula.values():
        assert len(sizes) <= POLYMORPHS
        assert max(sizes) <= POLYMORPH_ATOMS or len(sizes) == 1
    assert by_formula["Li12Si7"] == [152]
    assert len(by_formula["ZnS"]) == POLYMORPHS


def test_a_system_that_is_not_covered() -> None:
    """Li-Zn would need its own binaries, though both elements are there."""
    assert packaged_references({"Li", "Zn"}, declared(FIRST)) is None
    assert packaged_references({"Na"}, declared(FIRST)) is None
    assert packaged_references({"Zn"}, declared(FIRST)) is not None


def test_a_damaged_file(tmp_path: Path) -> None:
    (tmp_path / "references.json.gz").write_bytes(gzip.compress(b'{"version": 1}'))
    with pytest.raises(InputError, match="cannot be read"):
        read_set(tmp_path / "references.json.gz")
    with pytest.raises(InputError, match="cannot be read"):
        read_set(tmp_path / "absent.json.gz")
