"""Where references come from: files, folders, diagrams, the Materials Project; and the cache of relaxations."""

from __future__ import annotations

import gzip
import json
import logging
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from monty.serialization import dumpfn
from pymatgen.analysis.phase_diagram import PatchedPhaseDiagram, PDEntry, PhaseDiagram
from pymatgen.core import Composition, Lattice, Structure
from pymatgen.entries.computed_entries import ComputedEntry, ComputedStructureEntry, ConstantEnergyAdjustment

from chggen_kit.errors import InputError
from chggen_kit.interfaces import Evaluation, Potential, PotentialInfo
from chggen_kit.io.files import write_structure
from chggen_kit.plugins import get_registry
from chggen_kit.state import CrystalBatch
from chggen_kit.testing.pair_potential import PairPotential
from chggen_kit.thermo import (
    DFT,
    ActivePotential,
    Hull,
    Phase,
    References,
    ReferenceSettings,
    StartingPhase,
    amounts_of,
    relaxed_references,
)
from chggen_kit.thermo.cache import RelaxationCache, cache_directory
from chggen_kit.thermo.materials_project import materials_project_references
from chggen_kit.thermo.sources import find_references

# Caesium chloride and its elements, all on a body-centred lattice, close to what the pair potential likes.
NA = Structure(Lattice.cubic(2.9), ["Na", "Na"], [[0, 0, 0], [0.5, 0.5, 0.5]])
CL = Structure(Lattice.cubic(2.9), ["Cl", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
NACL = Structure(Lattice.cubic(2.9), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
LOOSE = ReferenceSettings(fmax=0.1, max_steps=60)


class Counting(Potential):
    """The pair potential, counting the crystals that it was asked about."""

    def __init__(self, name: str = "pair", frame: str = "lennard-jones", **settings: Any) -> None:
        self._inner = PairPotential(**settings)
        self._name, self._frame = name, frame
        self.crystals = 0

    @property
    def info(self) -> PotentialInfo:
        inner = self._inner.info
        return PotentialInfo(
            self._name, self._frame, inner.elements, inner.cutoff_A, inner.max_atoms_per_batch, inner.licence
        )

    def evaluate(self, batch: CrystalBatch) -> Evaluation:
        self.crystals += batch.n_crystals
        return self._inner.evaluate(batch)


def active(potential: Potential, **options: Any) -> ActivePotential:
    return ActivePotential(potential, options, get_registry())


def starts() -> list[StartingPhase]:
    return [StartingPhase(one.reduced_formula, "textbook", one) for one in (NA, CL, NACL)]


def test_the_second_call_evaluates_nothing(tmp_path: Path) -> None:
    cache = RelaxationCache(tmp_path)
    potential = Counting()
    first = relaxed_references(starts(), active(potential), LOOSE, "mine", cache=cache)
    assert potential.crystals > 3
    assert len(first) == 3
    assert first.potential == "pair"
    assert first.energy_frame == "lennard-jones"
    again = Counting()
    second = relaxed_references(starts(), active(again), LOOSE, "mine", cache=cache)
    assert again.crystals == 0
    assert second.phases == first.phases


@pytest.mark.parametrize(
    "change", ["structure", "potential", "frame", "options", "fmax", "max_steps", "relaxer", "damaged"]
)
def test_whatever_an_energy_depends_on_is_in_the_key(
    tmp_path: Path, change: str, caplog: pytest.LogCaptureFixture
) -> None:
    cache = RelaxationCache(tmp_path)
    relaxed_references(starts()[:1], active(Counting(), model="a"), LOOSE, "mine", cache=cache)
    potential = Counting(
        "pair-2" if change == "potential" else "pair", "other" if change == "frame" else "lennard-jones"
    )
    phases, settings = starts()[:1], LOOSE
    if change == "structure":
        strained = NA.copy()
        strained.scale_lattice(strained.volume * 1.001)
        phases = [StartingPhase("Na", "textbook", strained)]
    elif change == "damaged":
        (entry,) = cache.folder.glob("*.json")
        entry.write_text(entry.read_text()[:-40])
    elif change in {"fmax", "max_steps", "relaxer"}:
        settings = LOOSE.model_copy(update={change: {"fmax": 0.2, "max_steps": 61, "relaxer": "ase-fire"}[change]})
    options = {"model": "b" if change == "options" else "a"}
    with caplog.at_level(logging.WARNING):
        relaxed_references(phases, active(potential, **options), settings, "mine", cache=cache)
    assert potential.crystals > 0
    assert ("done again" in caplog.text) == (change == "damaged")


def test_the_device_is_not_in_the_key(tmp_path: Path) -> None:
    cache = RelaxationCache(tmp_path)
    relaxed_references(starts()[:1], active(Counting(), device="cpu"), LOOSE, "mine", cache=cache)
    potential = Counting()
    relaxed_references(starts()[:1], active(potential, device="cuda"), LOOSE, "mine", cache=cache)
    assert potential.crystals == 0


def test_what_was_done_before_an_interruption_is_kept(tmp_path: Path) -> None:
    class Stops(Counting):
        def evaluate(self, batch: CrystalBatch) -> Evaluation:
            if 17 in batch.species.tolist():
                raise KeyboardInterrupt
            return super().evaluate(batch)

    cache = RelaxationCache(tmp_path)
    big = StartingPhase("NaCl", "textbook", NACL * [2, 2, 2])
    phases = [starts()[0], big]
    # Room for the small one alone in the first piece.
    with pytest.raises(KeyboardInterrupt):
        relaxed_references(phases, active(Stops(max_atoms_per_batch=4)), LOOSE, "mine", cache=cache)
    potential = Counting(max_atoms_per_batch=4)
    relaxed_references(phases, active(potential), LOOSE, "mine", cache=cache)
    whole = Counting(max_atoms_per_batch=4)
    relaxed_references(phases, active(whole), LOOSE, "mine", cache=RelaxationCache(tmp_path / "fresh"))
    assert 0 < potential.crystals < whole.crystals


def test_failed_and_unfinished_relaxations(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    crowded = StartingPhase("crowded", "made up", Structure(Lattice.cubic(3), ["Na"] * 2, [[0, 0, 0], [0.05, 0, 0]]))
    hurried = ReferenceSettings(fmax=1e-6, max_steps=1)
    with caplog.at_level(logging.WARNING):
        found = relaxed_references(
            [*starts(), crowded], active(Counting()), hurried, "m", cache=RelaxationCache(tmp_path)
        )
    assert {one.id for one in found.phases} == {"Na", "Cl2", "NaCl"}
    assert "crowded (Na) is left out: overlap" in caplog.text
    assert "not relaxed to the end" in caplog.text


def test_an_element_that_the_potential_does_not_cover(tmp_path: Path) -> None:
    potential = active(Counting(elements=frozenset({11})))
    with pytest.raises(InputError, match="pair does not cover Cl of the reference phase Cl2"):
        relaxed_references(starts(), potential, LOOSE, "mine", cache=RelaxationCache(tmp_path))


def test_a_cache_that_cannot_be_written_costs_no_work(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "references").write_text("a file where the folder should be")
    found = relaxed_references(starts(), active(Counting()), LOOSE, "mine", cache=RelaxationCache(tmp_path))
    assert len(found.phases) == len(starts())
    assert "CHGGEN_CACHE" in caplog.text
    assert "not readable" not in caplog.text


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CHGGEN_CACHE", str(tmp_path / "a"))
    assert cache_directory() == tmp_path / "a"
    monkeypatch.delenv("CHGGEN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    assert cache_directory() == tmp_path / "b" / "chggen"


@pytest.mark.parametrize("folder", [True, False])
def test_structures_in_a_folder_or_a_file(tmp_path: Path, folder: bool) -> None:
    import ase.io
    from pymatgen.io.ase import AseAtomsAdaptor

    source = tmp_path / "phases"
    if folder:
        source.mkdir()
        for one in (NA, CL, NACL):
            write_structure(one, source / f"{one.reduced_formula}.cif", "cif")
        (source / "notes.txt").write_text("not a structure")
        stranger = Structure(Lattice.cubic(3.6), ["Cu"], [[0, 0, 0]])
        write_structure(stranger, source / "Cu.cif", "cif")
    else:
        source = tmp_path / "phases.extxyz"
        ase.io.write(source, [AseAtomsAdaptor.get_atoms(one) for one in (NA, CL, NACL)])
    found = find_references(str(source), {"Na", "Cl"}, active(Counting()), settings=LOOSE).references
    assert found is not None
    assert sorted(one.formula for one in found.phases) == ["Cl", "Na", "NaCl"]
    assert found.label == source.name
    with pytest.raises(InputError, match="no phase of the element Si itself"):
        find_references(str(source), {"Na", "Cl", "Si"}, active(Counting()), settings=LOOSE)


def test_paths_that_hold_nothing_of_use(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no references at"):
        find_references(str(tmp_path / "absent"), {"Na"}, active(Counting()))
    with pytest.raises(InputError, match="no structure files"):
        find_references(str(tmp_path), {"Na"}, active(Counting()))
    write_structure(CL, tmp_path / "Cl.cif", "cif")
    with pytest.raises(InputError, match="no structure of Na"):
        find_references(str(tmp_path), {"Na"}, active(Counting()))
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read as JSON"):
        find_references(str(tmp_path / "broken.json"), {"Na"}, active(Counting()))


def adjusted(formula: str, energy: float, correction: float) -> ComputedEntry:
    """As the Materials Project has them: the energy before corrections, and those."""
    adjustments = [ConstantEnergyAdjustment(correction, name="MP2020 anion correction (sulfide)")] if correction else []
    return ComputedEntry(Composition(formula), energy, energy_adjustments=adjustments, entry_id=f"mp-{formula}")


CORRECTED = [adjusted("Li2", -4.0, 0.0), adjusted("S4", -16.0, 0.0), adjusted("Li4S2", -23.0, -1.0)]
PLAIN = [PDEntry(Composition("Li2"), -4.0), PDEntry(Composition("S4"), -16.0), PDEntry(Composition("Li4S2"), -24.0)]


@pytest.mark.parametrize("kind", [PhaseDiagram, PatchedPhaseDiagram, list])
@pytest.mark.parametrize("name", ["diagram.json", "diagram.json.gz"])
def test_phase_diagram_files(tmp_path: Path, kind: Any, name: str) -> None:
    """E_d from the file is what pymatgen's own diagram says; corrections count."""
    path = tmp_path / name
    extra = adjusted("Mg2", -3.0, 0.0)
    dumpfn(kind([*CORRECTED, extra]), path)
    check_corrected(path)


def test_diagrams_of_older_pymatgen(tmp_path: Path) -> None:
    """They have their entries at the top."""
    plain = {"@class": "PhaseDiagram", "elements": ["Li", "S"], "all_entries": [one.as_dict() for one in CORRECTED]}
    dumpfn(plain, tmp_path / "old.json")
    check_corrected(tmp_path / "old.json")


def check_corrected(path: Path) -> None:
    potential = active(Counting("net", "mp2020-corrected"))
    found = find_references(str(path), {"Li", "S"}, potential).references
    assert found is not None
    assert found.potential == DFT
    assert found.energy_frame == "mp2020-corrected"
    assert {one.id for one in found.phases} == {"mp-Li2", "mp-S4", "mp-Li4S2"}
    composition = Composition("LiS")
    phase = Phase("c", amounts_of(composition), -7.0, "mp2020-corrected", "net")
    expected = PhaseDiagram(CORRECTED).get_e_above_hull(PDEntry(composition, -7.0), allow_negative=True)
    assert Hull(found).place(phase).decomposition_energy == pytest.approx(expected)
    with pytest.raises(InputError, match="Energies of pair are in the frame 'lennard-jones'"):
        find_references(str(path), {"Li", "S"}, active(Counting()))
    with pytest.raises(InputError, match="not 'raw-pbe'"):
        find_references(str(path), {"Li", "S"}, active(Counting("net", "raw-pbe")), energy_frame="raw-pbe")


def test_a_diagram_that_does_not_tell_its_frame(tmp_path: Path) -> None:
    path = tmp_path / "diagram.json"
    dumpfn(PhaseDiagram(PLAIN), path)
    potential = active(Counting("net", "r2scan"))
    with pytest.raises(InputError, match="--references-frame"):
        find_references(str(path), {"Li", "S"}, potential)
    found = find_references(str(path), {"Li", "S"}, potential, energy_frame="r2scan").references
    assert found is not None
    assert found.energy_frame == "r2scan"
    with pytest.raises(InputError, match=r"Energies of pair .* 'lennard-jones'.*'r2scan'"):
        find_references(str(path), {"Li", "S"}, active(Counting()), energy_frame="r2scan")


def test_damaged_entries_and_pickles(tmp_path: Path) -> None:
    potential = active(Counting("net", "r2scan"))
    path = tmp_path / "diagram.json"
    for entries, message in [
        ([{"composition": {"Li": 1}, "energy": "many"}], "Entry 0"),
        ([{"composition": {"Xx7": 1}, "energy": 1.0}], "Entry 0"),
        ([{"composition": {"Li": 1}, "energy": float("nan")}], "is nan"),
        ([{"composition": {"Mg": 1}, "energy": 1.0}], "none of Li"),
    ]:
        path.write_text(json.dumps(entries))
        with pytest.raises(InputError, match=message):
            find_references(str(path), {"Li"}, potential, energy_frame="r2scan")
    for name in ("2023-02-07-ppd-mp.pkl.gz", "diagram.pickle"):
        (tmp_path / name).write_bytes(gzip.compress(pickle.dumps({"all": "code"})))
        with pytest.raises(InputError, match="is a pickle"):
            find_references(str(tmp_path / name), {"Li"}, potential)


def test_materials_project_entries() -> None:
    asked: list[tuple[Sequence[str], str]] = []

    def fetch(symbols: Sequence[str], thermo_type: str) -> list[ComputedEntry]:
        asked.append((symbols, thermo_type))
        with_structure = ComputedStructureEntry(NA, -2.6, entry_id="mp-127")
        return [with_structure, *CORRECTED]

    found = materials_project_references({"S", "Li"}, "mp2020-corrected", fetch=fetch)
    assert asked == [(["Li", "S"], "GGA_GGA+U")]
    by_id = {one.id: one for one in found.phases}
    assert by_id["mp-Li4S2"].energy == pytest.approx(-24.0)
    assert by_id["mp-127"].structure == NA
    assert by_id["mp-S4"].structure is None
    assert found.potential == DFT
    with pytest.raises(InputError, match="no energies in the frame 'raw-pbe'"):
        materials_project_references({"Li"}, "raw-pbe", fetch=fetch)
    with pytest.raises(InputError, match="knows no phase"):
        materials_project_references({"Li"}, "r2scan", fetch=lambda *_: [])


def test_the_materials_project_without_key_or_package(monkeypatch: pytest.MonkeyPatch) -> None:
    potential = active(Counting("net", "r2scan"))
    monkeypatch.delenv("MP_API_KEY", raising=False)
    with pytest.raises(InputError, match="MP_API_KEY"):
        find_references("mp", {"Li"}, potential)
    monkeypatch.setenv("MP_API_KEY", "a key")
    monkeypatch.setitem(__import__("sys").modules, "mp_api", None)
    with pytest.raises(InputError, match=r"chggen-kit\[mp\]"):
        find_references("mp", {"Li"}, potential)


def test_none_and_a_system_that_is_not_packaged() -> None:
    potential = active(Counting())
    assert find_references("none", {"Na", "Cl"}, potential).references is None
    found = find_references("auto", {"Na", "Cl"}, potential)
    assert found.references is None
    assert "no packaged references cover Cl-Na" in found.reason
    assert potential.potential.crystals == 0  # type: ignore[attr-defined]  # it is the counting one


def test_references_are_of_one_set() -> None:
    found = References(materials_project_references({"Li"}, "r2scan", fetch=lambda *_: CORRECTED).phases, "computed")
    assert len(found.of({"Li"})) == 1
    assert found.elements == {"Li", "S"}
