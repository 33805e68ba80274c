"""Benchmarks over small plug-ins: what is run, what is shared, what is counted."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from benchmark_toys import rate, stable_text, toy_spec
from pymatgen.core import Structure
from workflow_toys import toy_registry

from chggen_kit.benchmark import Benchmark, BenchmarkResult
from chggen_kit.benchmark.tables import TABLES, TOLERANCES_A, relaxed_column
from chggen_kit.errors import InputError, RunDirectoryError
from chggen_kit.metrics.symmetry_ladder import RUNGS
from chggen_kit.workflow import generate
from chggen_kit.workflow.export import find_database


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> BenchmarkResult:
    return Benchmark(toy_spec(), registry=toy_registry()).run(tmp_path_factory.mktemp("toy") / "out")


def test_every_cell_is_an_ordinary_run(result: BenchmarkResult) -> None:
    done = result.cells[result.cells["status"] == "done"]
    assert len(done) == 2 * (3 + 3 + 2)
    for path in done["path"]:
        assert find_database(result.path / path).exists()
    assert set(done["starts"]) == {2}
    assert (done["cpu_seconds"] > 0).all()
    assert (done["peak_memory_MB"] > 50).all()


def test_methods_that_look_at_one_run_from_two_sides_share_it(result: BenchmarkResult) -> None:
    cells = result.cells
    mine = {
        method: set(cells[(cells["method"] == method) & (cells["system"] == "ZnP2S2")]["cell"])
        for method in ("inpainting", "unconditional", "random")
    }
    assert mine["inpainting"] == mine["unconditional"]
    assert not mine["inpainting"] & mine["random"]
    assert len(list((result.path / "cells").glob("*/run.json"))) == 2 * (2 + 2 + 2)


def test_what_was_left_out_is_told(result: BenchmarkResult) -> None:
    skipped = result.cells[result.cells["status"] == "skipped"]
    assert skipped[["system", "method"]].to_numpy().tolist() == [["salt", "unconditional"]]
    assert "the host is given" in skipped["reason"].iloc[0]


def test_rates_have_the_counts_of_the_runs(result: BenchmarkResult, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same run by the workflow itself has the same numbers in its summary."""
    registry = toy_registry()
    monkeypatch.setattr("chggen_kit.workflow.api.get_registry", lambda: registry)
    spec = toy_spec()
    symmetric = starts = hosts = fills = symmetric_fills = 0
    for seed in (0, 1):
        run = generate(
            "LiSi",
            guests=["Li"],
            formula_units=(2,),
            n=2,
            seed=seed,
            threads=1,
            out=result.path.parent / f"alone-{seed}",
            **spec.defaults,
        )
        part = run.summary["unconditional"]["symmetric_rates"]
        share = next(one for one in part.values() if one["of"] == 2)
        symmetric, starts = symmetric + share["count"], starts + share["of"]
        hosts += run.summary["hosts"]["symmetrised"]
        drawn = [one for one in run.records if one.stage == "inpainted"]
        fills += len(drawn)
        symmetric_fills += sum(one.is_symmetric((1, 2)) for one in drawn)
    about = {"scope": "system", "system": "LiSi x 2", "method": "inpainting"}
    whole = rate(result, **about, metric="symmetric", stage="unconditional")
    assert (whole["numerator"], whole["denominator"], whole["denominator_name"]) == (symmetric, starts, "starts")
    found = rate(result, **about, metric="hosts")
    assert (found["numerator"], found["denominator"]) == (hosts, 4)
    inpainted = rate(result, **about, metric="symmetric", stage="inpainted")
    assert (inpainted["numerator"], inpainted["denominator"]) == (symmetric_fills, fills)
    assert inpainted["denominator_name"] == "structures drawn into hosts"


def test_the_ladder_agrees_with_the_group_that_counts(result: BenchmarkResult) -> None:
    assert tuple(symprec for symprec, _ in RUNGS) == TOLERANCES_A
    structures = result.structures[result.structures["outcome"] == "ok"]
    assert len(structures)
    assert (structures[relaxed_column(0.1)] == structures["group"]).all()
    ladder = result.rates[(result.rates["metric"] == "symmetric_ladder") & (result.rates["state"] == "relaxed")]
    plain = result.rates[result.rates["metric"] == "symmetric"]
    keys = ["scope", "system", "n_atoms", "method", "stage"]
    both = ladder[ladder["tolerance_A"] == 0.1].merge(plain, on=keys)
    assert len(both) == len(plain)
    assert (both["numerator_x"] == both["numerator_y"]).all()


def test_a_null_stands_beside_every_success_rate(result: BenchmarkResult) -> None:
    shown = result.rates[(result.rates["metric"] == "symmetric") & result.rates["counted"]]
    assert len(shown)
    mine = shown[(shown["method"] == "inpainting") & shown["null_denominator"].notna()]
    assert {"system", "pooled"} <= set(mine["scope"])
    assert set(mine["null_name"]) == {"method random"}
    for _, row in mine.iterrows():
        same = shown[(shown["method"] == "random") & (shown["scope"] == row["scope"])]
        same = same[same["system"].fillna("") == ("" if row["scope"] != "system" else row["system"])]
        if row["scope"] != "n_atoms":
            assert same.iloc[0]["numerator"] == row["null_numerator"]
    whole = shown[(shown["method"] == "unconditional") & (shown["scope"] == "system")]
    assert (whole["null_denominator"] == 4).all()


def test_over_systems_rates_are_resampled(result: BenchmarkResult) -> None:
    pooled = rate(result, scope="pooled", method="inpainting", metric="symmetric", stage="inpainted")
    alone = result.rates[
        (result.rates["scope"] == "system")
        & (result.rates["method"] == "inpainting")
        & (result.rates["metric"] == "symmetric")
        & (result.rates["stage"] == "inpainted")
    ]
    assert pooled["numerator"] == alone["numerator"].sum()
    assert pooled["denominator"] == alone["denominator"].sum()
    assert pooled["interval"] in {"bootstrap", "wilson-systems"}
    assert set(alone[alone["denominator"] > 0]["interval"]) <= {"wilson", "wilson-starts"}


def test_structures_are_told_with_their_guests_and_files(result: BenchmarkResult) -> None:
    salt = result.structures[(result.structures["system"] == "salt") & (result.structures["outcome"] == "ok")]
    assert set(salt["guest_indices"]) == {"4 5"}
    for _, row in salt.iterrows():
        structure = Structure.from_file(result.path / row["cif"])
        assert [structure[int(index)].specie.symbol for index in row["guest_indices"].split()] == ["Cl", "Cl"]
    whole = result.structures[result.structures["stage"] == "unconditional"]
    zinc = whole[(whole["system"] == "ZnP2S2") & (whole["outcome"] == "ok")]
    assert set(zinc["guest_indices"]) == {"0"}


def test_tables_are_read_back_as_they_were(result: BenchmarkResult) -> None:
    again = Benchmark.load(result.path)
    for table in TABLES:
        assert getattr(again, table.name).equals(getattr(result, table.name)), table.name
    assert again.about["request"]["spec"]["name"] == "toy"


def test_a_second_sitting_does_nothing_and_writes_the_same(result: BenchmarkResult) -> None:
    before = {path.name: path.read_bytes() for path in result.path.glob("*.csv")}
    times = {path: path.stat().st_mtime_ns for path in (result.path / "cells").glob("*/cell.json")}
    Benchmark(toy_spec(), registry=toy_registry()).run(result.path)
    assert {path.name: path.read_bytes() for path in result.path.glob("*.csv")} == before
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_two_specifications_share_cells_through_a_cache(result: BenchmarkResult, tmp_path: Path) -> None:
    other = toy_spec(name="other", seeds=[1, 2], systems=[{"formula": "ZnP2S2", "guests": ["Zn"]}], methods={"x": {}})
    cache = result.path / "cells"
    had = {path.parent.name for path in cache.glob("*/run.json")}
    theirs = Benchmark(other, registry=toy_registry()).run(tmp_path / "other", cache=cache)
    new = {path.parent.name for path in cache.glob("*/run.json")} - had
    assert len(new) == 1
    cells = theirs.cells.set_index("seed")["cell"]
    assert cells[1] in had
    assert cells[2] in new
    assert Path(theirs.cells["path"].iloc[0]).is_absolute()
    assert not (tmp_path / "other" / "cells").exists()


def cell_name(*, starts: int = 2, **settings: Any) -> str:
    spec = toy_spec(
        systems=[{"formula": "LiSi"}],
        methods={"a": settings},
        seeds=[0],
        budget={"starts": starts, "cpu_seconds": None},
    )
    return next(Benchmark(spec, registry=toy_registry()).plan.first_cells()).name


def test_what_determines_a_result_names_its_cell(tmp_path: Path) -> None:
    names = [
        cell_name(),
        cell_name(fmax=0.2),
        cell_name(starts=3),
        cell_name(references="auto"),
        cell_name(exclude_composition=True),
        cell_name(backend={"name": "sites", "options": {"spread": 0.4}}),
    ]
    assert len(set(names)) == len(names)
    assert cell_name() == names[0]
    # A file that an option names counts with its content, wherever it is.
    first, second = tmp_path / "a.txt", tmp_path / "b.txt"
    weights = []
    for path, text in ((first, "one"), (first, "two")):
        path.write_text(text)
        weights.append(cell_name(backend={"name": "sites", "options": {"checkpoint": str(first)}}))
    assert weights[0] != weights[1]
    second.write_text("two")
    references = [cell_name(references=str(path)) for path in (first, second)]
    assert references[0] == references[1]
    second.write_text("three")
    assert cell_name(references=str(second)) != references[0]


def test_another_benchmark_in_the_folder_is_refused(result: BenchmarkResult) -> None:
    with pytest.raises(RunDirectoryError, match=r"belongs to another benchmark: spec\.seeds differs.*--cache"):
        Benchmark(toy_spec(seeds=[3]), registry=toy_registry()).run(result.path)


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(RunDirectoryError, match=r"holds other files \(thesis.tex\)"):
        Benchmark(toy_spec(), registry=toy_registry()).run(tmp_path)


def test_no_tables_no_result(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Name the folder of a benchmark that has ended"):
        Benchmark.load(tmp_path)


def test_a_cell_that_fails_is_told_and_the_rest_goes_on(tmp_path: Path) -> None:
    """The small potential covers no element beyond number 89."""
    spec = toy_spec(systems=[{"formula": "LiSi"}, {"formula": "UO2"}], methods={"a": {}}, seeds=[0])
    result = Benchmark(spec, registry=toy_registry()).run(tmp_path)
    assert Counter(result.cells["status"]) == {"done": 1, "failed": 1}
    assert "does not cover U" in result.failures["reason"].iloc[0]
    assert set(result.rates["system"].dropna()) == {"LiSi"}


def test_a_budget_of_time_is_spent_in_parts(tmp_path: Path) -> None:
    budget = {"cpu_seconds": 0.25, "starts_per_part": 1}
    spec = toy_spec(
        systems=[{"formula": "LiSi", "guests": ["Li"]}],
        methods={"cheap": {"guests": [], "max_steps": 3}, "dear": {"max_steps": 30, "fmax": 0.001}},
        budget=budget,
        seeds=[0],
    )
    result = Benchmark(spec, registry=toy_registry()).run(tmp_path)
    spent = result.cells.groupby("method")["cpu_seconds"].sum()
    last = result.cells.groupby("method")["cpu_seconds"].last()
    for method in ("cheap", "dear"):
        assert spent[method] >= 0.25 > spent[method] - last[method]
    parts = Counter(result.cells["method"])
    assert parts["cheap"] > parts["dear"] >= 1
    mine = result.cells[result.cells["method"] == "cheap"]
    assert mine["part"].tolist() == list(range(len(mine)))
    assert mine["cell"].is_unique
    before = stable_text(tmp_path)
    Benchmark(spec, registry=toy_registry()).run(tmp_path)
    assert stable_text(tmp_path) == before
    assert rate(result, scope="system", method="cheap", metric="symmetric", stage="unconditional")[
        "denominator"
    ] == len(mine)
