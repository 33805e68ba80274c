"""Judging a run: what is written, what is done once only, references in the judge's own frame, refusals."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import ase.db
import numpy as np
import pytest
from judging_toys import OtherPotential, chloride_run, judging_registry
from pymatgen.core import Lattice, Structure

from chggen_kit.errors import InputError, RunDirectoryError
from chggen_kit.io.files import write_structure
from chggen_kit.judging import Judgement, judge_run
from chggen_kit.judging.run import build_settings

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow"))
from workflow_rows import read_rows

REGISTRY = judging_registry()


@pytest.fixture(autouse=True)
def _counters() -> Iterator[None]:
    OtherPotential.evaluated, OtherPotential.fails_after = 0, None
    yield
    OtherPotential.fails_after = None


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of five relaxed structures."""
    path = tmp_path_factory.mktemp("runs") / "run"
    assert len(chloride_run(path, REGISTRY).candidates) >= 4
    return path


@pytest.fixture
def run(done: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    return Path(shutil.copytree(done, tmp_path / "run"))


@pytest.fixture
def phases(tmp_path: Path) -> Path:
    """A folder of reference structures: the elements and rocksalt."""
    folder = tmp_path / "phases"
    folder.mkdir()
    fcc = Lattice([[0, 2.0, 2.0], [2.0, 0, 2.0], [2.0, 2.0, 0]])
    rocksalt = Lattice([[0, 2.8, 2.8], [2.8, 0, 2.8], [2.8, 2.8, 0]])
    for name, structure in {
        "Na": Structure(fcc, ["Na"], [[0, 0, 0]]),
        "Cl": Structure(fcc, ["Cl"], [[0, 0, 0]]),
        "NaCl": Structure(rocksalt, ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
    }.items():
        write_structure(structure, folder / f"{name}.cif", "cif")
    return folder


def judged(path: Path, judges: Sequence[Any] = ("other",), **settings: Any) -> Judgement:
    values = {"references": "none", **settings}
    return judge_run(path, build_settings({"judges": judges, **values}), registry=REGISTRY)


def test_every_place_holds_the_same_opinions(run: Path) -> None:
    result = judged(run)
    rows = {row["structure_id"]: row for row in read_rows(run / "results.db")}
    summary = json.loads((run / "summary.json").read_text())["second_opinions"]
    table = list(csv.DictReader((run / "judgement.csv").read_text().splitlines()))
    assert [one.id for one in result.candidates] == [line["structure_id"] for line in table]
    assert [voice["energy_frame"] for voice in summary["potentials"]] == ["toy", "other"]
    for one, line, entry in zip(result.candidates, table, summary["candidates"], strict=True):
        row, opinion = rows[one.id], one.opinions["other_a"]
        assert opinion.energy is not None
        assert opinion.single_point_energy is not None
        # The judge has half the run's energies and another zero, so it starts from the run's minimum.
        assert opinion.single_point_energy / 4 == pytest.approx(0.5 * row["energy_per_atom"] - 3.0, abs=1e-9)
        assert opinion.energy <= opinion.single_point_energy + 1e-9
        energy = opinion.energy / 4
        assert row["judge_other_a_energy_per_atom"] == pytest.approx(energy)
        assert float(line["judge_other_a_energy_per_atom"]) == pytest.approx(energy)
        assert entry["opinions"]["other_a"]["energy_per_atom"] == pytest.approx(energy)
        assert row["judge_other_a_energy_frame"] == "other"
        assert row["data"]["judged"]["other_a"]["species"] == list(opinion.relaxed.species)  # type: ignore[union-attr]
        assert "judge_other_a_E_d" not in row
        assert bool(row["rank_depends"]) is one.rank_depends is False
    assert summary["potentials"][1]["no_E_d_because"] == "no references were wanted"


def test_the_rest_of_the_rows_stays_as_it_was(run: Path) -> None:
    before = read_rows(run / "results.db")
    judged(run, top=2)
    after = read_rows(run / "results.db")
    kept = [
        {
            **{key: value for key, value in row.items() if not key.startswith(("judge_", "rank_depends", "data"))},
            "data": {key: value for key, value in row["data"].items() if key != "judged"},
        }
        for row in after
    ]
    assert kept == before
    assert sum("judge_other_a_outcome" in row for row in after) == 2


def test_what_was_judged_is_not_judged_again_and_more_are_added(run: Path) -> None:
    few = judged(run, top=2)
    evaluated = OtherPotential.evaluated
    assert evaluated > 0
    again = judged(run, top=2)
    assert OtherPotential.evaluated == evaluated
    assert again.candidates == few.candidates
    more = judged(run, top=4)
    assert OtherPotential.evaluated > evaluated
    assert [one.opinions for one in more.candidates[:2]] == [one.opinions for one in few.candidates]


def test_an_interrupted_judge_goes_on_and_says_the_same(run: Path, done: Path, tmp_path: Path) -> None:
    whole = judged(run)
    other = Path(shutil.copytree(done, tmp_path / "other"))
    evaluated, OtherPotential.evaluated = OtherPotential.evaluated, 0
    OtherPotential.fails_after = evaluated - 1
    with pytest.raises(KeyboardInterrupt):
        judged(other)
    assert len(list(other.glob("shards/judge-*"))) == len(list(run.glob("shards/judge-*"))) - 1 > 0
    assert "second_opinions" not in json.loads((other / "summary.json").read_text())
    OtherPotential.fails_after = None
    assert judged(other).candidates == whole.candidates
    assert read_rows(other / "results.db") == read_rows(run / "results.db")


def test_what_the_run_held_fixed_stays_fixed(tmp_path: Path) -> None:
    chloride_run(tmp_path / "run", REGISTRY, n=2, relax_policy="fixed-host")
    # Of another shape, so that there is something to relax.
    result = judged(tmp_path / "run", [{"name": "other", "options": {"scale": 3.0}}], fmax=0.01)
    before = {row["structure_id"]: row["data"]["relaxed"] for row in read_rows(tmp_path / "run" / "results.db")}
    for one in result.candidates:
        after = one.opinions["other_a"].relaxed
        assert after is not None
        assert one.opinions["other_a"].relax_steps
        start = before[one.id]
        np.testing.assert_array_equal(after.lattice, start["lattice"])
        np.testing.assert_allclose(after.frac_coords[:2], start["frac_coords"][:2], atol=1e-12)


def test_another_judge_replaces_the_rows_of_the_first(run: Path) -> None:
    judged(run)
    judged(run, [{"name": "other", "options": {"weights": "b", "scale": 2.0}}], top=3)
    rows = read_rows(run / "results.db")
    assert not any(key.startswith("judge_other_a") for row in rows for key in row)
    assert sum("judge_other_b_outcome" in row for row in rows) == 3


def test_each_potential_is_placed_against_references_of_its_own(run: Path, phases: Path) -> None:
    twins = [
        {"name": "other", "options": {"scale": 2.0, "shift": shift, "frame": frame}}
        for shift, frame in ((7.0, "other"), (-1.0, "third"))
    ]
    result = judged(run, twins, references=str(phases), top=3)
    assert [(one.references, one.n_references, one.energy_frame) for one in result.voices[1:]] == [
        ("phases", 3, "other"),
        ("phases", 3, "third"),
    ]
    for one in result.candidates:
        first, second = one.compared.levels["other_a"], one.compared.levels["other_a_2"]
        assert first.energy_per_atom - second.energy_per_atom == pytest.approx(8.0)
        # A constant for each atom is no part of the energy of a reaction, if both sides are of one frame.
        assert first.decomposition_energy == pytest.approx(second.decomposition_energy, abs=1e-6)
        assert one.spread == pytest.approx(0.0, abs=1e-6)
    rows = [row for row in read_rows(run / "results.db") if "judge_other_a_E_d" in row]
    assert len(rows) == 3
    assert {row["judge_other_a_references"] for row in rows} == {"phases"}


def test_the_spread_is_between_decomposition_energies_of_both(run: Path, phases: Path) -> None:
    with ase.db.connect(str(run / "results.db"), use_lock_file=False) as database:
        for row in list(database.select(outcome="ok")):
            database.update(row.id, E_d=0.125, references="made up", exclude_composition=False)
    result = judged(run, references=str(phases), top=2)
    for one in result.candidates:
        level = one.compared.levels["other_a"].decomposition_energy
        assert level is not None
        assert one.spread == pytest.approx(abs(level - 0.125))
        (row,) = [row for row in read_rows(run / "results.db") if row["structure_id"] == one.id]
        assert row["E_d_spread"] == pytest.approx(one.spread)


def test_references_of_another_frame_leave_energies_only_and_say_so(run: Path, tmp_path: Path) -> None:
    entries = [{"composition": {symbol: 1}, "energy": -1.0, "entry_id": symbol} for symbol in ("Na", "Cl")]
    diagram = tmp_path / "diagram.json"
    diagram.write_text(json.dumps(entries))
    result = judged(run, references=str(diagram), references_frame="toy", top=2)
    voice = result.voices[1]
    assert voice.references is None
    assert "'other'" in voice.reason
    assert "'toy'" in voice.reason
    assert all(one.compared.levels["other_a"].decomposition_energy is None for one in result.candidates)


def test_two_judges_of_the_same_name_are_kept_apart(run: Path) -> None:
    twins = [{"name": "other", "options": {"scale": 0.5}}, {"name": "other", "options": {"scale": 2.0}}]
    result = judged(run, twins, top=2)
    assert [voice.key for voice in result.voices] == ["own", "other_a", "other_a_2"]
    first, second = result.candidates[0].opinions.values()
    assert first.energy != second.energy


@pytest.mark.parametrize(
    ("judges", "message"),
    [
        ([{"name": "other", "options": {"elements": [17]}}], "other-a does not cover Na"),
        (["pairs"], "the run's own potential"),
        (["other", "other"], "named twice"),
        ([{"name": "other", "options": {"scael": 1}}], "scale"),
        ([], "judges"),
    ],
)
def test_judges_that_cannot_judge_are_refused_before_any_work(run: Path, judges: list[Any], message: str) -> None:
    before = (run / "summary.json").read_bytes()
    with pytest.raises(InputError, match=message):
        judged(run, judges)
    assert OtherPotential.evaluated == 0
    assert (run / "summary.json").read_bytes() == before


def test_what_is_no_finished_relaxed_run_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no"):
        judged(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no references at"):
        judged(run, references=str(tmp_path / "nowhere"))
    drawn = tmp_path / "drawn"
    chloride_run(drawn, REGISTRY, relax=False, n=1)
    with pytest.raises(InputError, match="was relaxed"):
        judged(drawn)
    (run / "run.json").write_text("{}")
    with pytest.raises(RunDirectoryError, match="not the configuration of a run"):
        judged(run / "results.db")
    (run / "run.json").unlink()
    with pytest.raises(RunDirectoryError, match=r"no run\.json"):
        judged(run)
