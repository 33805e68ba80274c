"""E_d in runs: its columns, its ranking, and that another reference set relaxes nothing again."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from pymatgen.core import Lattice, Structure
from rich.console import Console
from workflow_rows import read_rows
from workflow_toys import TOY_SETTINGS, toy_registry

from chggen_kit.errors import InputError
from chggen_kit.io.files import write_structure
from chggen_kit.workflow.config import GenerateConfig, InpaintConfig, PluginChoice, build_config
from chggen_kit.workflow.export import export_results, export_table
from chggen_kit.workflow.phase_diagram import HullRequest, diagram_of
from chggen_kit.workflow.pipeline import run_generate, run_inpaint
from chggen_kit.workflow.records import StructureData
from chggen_kit.workflow.result import RunResult
from chggen_kit.workflow.table import print_result


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Body-centred elements, which the toy potential has all alike, and one compound of the run's own formula."""
    path = tmp_path / "phases"
    path.mkdir()
    for symbol in ("Zn", "P", "S"):
        cell = Structure(Lattice.cubic(3.2), [symbol] * 2, [[0, 0, 0], [0.5, 0.5, 0.5]])
        write_structure(cell, path / f"{symbol}.cif", "cif")
    chain = Structure(
        Lattice.tetragonal(3.2, 6.4),
        ["Zn", "P", "S", "P"],
        [[0, 0, 0], [0.5, 0.5, 0.25], [0, 0, 0.5], [0.5, 0.5, 0.75]],
    )
    write_structure(chain, path / "ZnP2S.cif", "cif")
    return path


def generate(out: Path, **settings: Any) -> RunResult:
    registry = toy_registry()
    values = {**TOY_SETTINGS, "formula": "ZnP2S", "n": 3, "guests": "Zn", "inpaintings": 1, **settings}
    return run_generate(build_config(GenerateConfig, values, registry), out, registry=registry)


def shards(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (out / "shards").iterdir()}


def test_rows_summary_table_and_exports(tmp_path: Path, folder: Path) -> None:
    out = tmp_path / "o"
    result = generate(out, references=str(folder))
    assert result.candidates
    about = result.summary["thermodynamics"]
    assert about["references"] == "phases"
    assert about["phases"] == 4
    assert about["energy_frame"] == "toy"
    assert about["exclude_composition"] is False
    # Elements and the compound have one energy per atom in the toy potential, so the hull is flat.
    (level,) = {
        round(one.energy_per_atom - one.decomposition_energy, 6)
        for one in result.candidates
        if one.energy_per_atom is not None and one.decomposition_energy is not None
    }
    assert -5 < level < 0
    distances = [one.decomposition_energy for one in result.candidates]
    assert None not in distances
    assert distances == sorted(distances)  # type: ignore[type-var]  # none is None
    best = result.candidates[0]
    lowest = min(0.0, best.decomposition_energy or 0.0)
    assert best.above_hull == pytest.approx((best.decomposition_energy or 0.0) - lowest, abs=1e-9)
    rows = {row["structure_id"]: row for row in read_rows(out / "results.db")}
    for one in result.candidates:
        assert rows[one.id]["E_d"] == one.decomposition_energy
        assert rows[one.id]["E_hull"] == one.above_hull
        assert rows[one.id]["references"] == "phases"
        assert rows[one.id]["energy_frame"] == "toy"
        assert not rows[one.id]["exclude_composition"]
        assert rows[one.id]["decomposition"]
    stored = json.loads((out / "summary.json").read_text())["candidates"]
    assert [one["E_d"] for one in stored] == distances

    console = Console(width=80, record=True)
    print_result(result, console)
    text = console.export_text()
    assert "Candidates by E_d" in text
    assert "E_d against 4 phases (phases: pairs-1, toy)." in text
    assert f"{best.decomposition_energy:.3f}" in text
    assert "…" not in text

    with export_table(out, tmp_path / "table.csv").open(newline="") as stream:
        table = list(csv.DictReader(stream))
    assert [float(line["E_d"]) for line in table] == distances
    assert [line["structure_id"] for line in table] == [one.id for one in result.candidates]
    assert table[0]["energy_frame"] == "toy"
    assert table[0]["references"] == "phases"
    assert table[0]["exclude_composition"] == "False"
    names = [path.name for path in export_results(out, tmp_path / "best", "cif")]
    assert [name.split("_")[1] for name in names] == [one.id for one in result.candidates]


def test_other_references_relax_nothing_again(tmp_path: Path, folder: Path) -> None:
    out = tmp_path / "o"
    plain = generate(out)
    assert plain.stability.placements == {}
    assert "E_d" not in read_rows(out / "results.db")[0]
    before = shards(out)
    placed = generate(out, references=str(folder))
    assert shards(out) == before
    assert [one.record for one in placed.candidates] == [one.record for one in plain.candidates]
    assert {row["structure_id"]: row.get("E_d") for row in read_rows(out / "results.db") if row["outcome"] == "ok"} == {
        one.id: one.decomposition_energy for one in placed.candidates
    }
    excluded = generate(out, references=str(folder), exclude_composition=True)
    assert shards(out) == before
    for row in read_rows(out / "results.db"):
        assert row["exclude_composition"]
        assert "ZnP2S" not in row.get("decomposition", "")
    assert all(one.placement and one.placement.left_out == ("ZnP2S.cif",) for one in excluded.candidates)
    assert excluded.summary["thermodynamics"]["exclude_composition"] is True
    written = (out / "results.db").stat().st_mtime_ns
    generate(out, references=str(folder), exclude_composition=True)
    assert (out / "results.db").stat().st_mtime_ns == written
    # A phase more under the same name is another set.
    (folder / "S.cif").rename(folder / "other-name.cif")
    generate(out, references=str(folder), exclude_composition=True)
    assert (out / "results.db").stat().st_mtime_ns != written


def test_a_system_without_packaged_references(tmp_path: Path) -> None:
    result = generate(tmp_path / "o", formula="NaCl", guests="Na", n=1, references="auto")
    assert result.candidates
    assert "no packaged references cover Cl-Na" in result.summary["thermodynamics"]["reason"]
    assert result.candidates[0].placement is None
    console = Console(width=200, record=True)
    print_result(result, console)
    text = console.export_text()
    assert "Candidates by energy per atom" in text
    assert "No E_d: no packaged references cover Cl-Na" in text


def test_references_that_cannot_be_used_say_so_before_any_work(tmp_path: Path, folder: Path) -> None:
    (folder / "S.cif").unlink()
    with pytest.raises(InputError, match="no phase of the element S itself"):
        generate(tmp_path / "o", references=str(folder))
    assert shards(tmp_path / "o") == {}


def test_inpainting(tmp_path: Path, folder: Path) -> None:
    host = Structure(Lattice.cubic(3.4), ["P", "S"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    registry = toy_registry()
    ours = {key: value for key, value in TOY_SETTINGS.items() if key in InpaintConfig.model_fields}
    values = {**ours, "host": StructureData.of(host), "guest_counts": {"Zn": 1}, "n": 2, "references": str(folder)}
    result = run_inpaint(build_config(InpaintConfig, values, registry), tmp_path / "o", registry=registry)
    assert all(one.decomposition_energy is not None for one in result.candidates)
    unrelaxed = run_inpaint(
        build_config(InpaintConfig, {**values, "relax": False}, registry), tmp_path / "u", registry=registry
    )
    assert unrelaxed.summary["thermodynamics"] == {"references": None, "reason": "the structures were not relaxed"}


def test_the_hull_of_a_run(tmp_path: Path, folder: Path) -> None:
    out = tmp_path / "o"
    result = generate(out, references=str(folder))
    # The run tells which potential it was.
    diagram = diagram_of(HullRequest((), out, references=str(folder)), toy_registry())
    found = {one.phase.id: one for one in diagram.phases if one.kind == "candidate"}
    assert set(found) == {one.id for one in result.candidates}
    for one in result.candidates:
        assert found[one.id].decomposition_energy == pytest.approx(one.decomposition_energy, abs=1e-9)
        assert found[one.id].above_hull == pytest.approx(one.above_hull, abs=1e-9)
    files = diagram_of(
        HullRequest((str(folder / "ZnP2S.cif"),), potential=PluginChoice(name="pairs"), references=str(folder)),
        toy_registry(),
    )
    assert files.symbols == ("P", "S", "Zn")
