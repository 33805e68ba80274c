"""Reports of runs and benchmarks without a browser: tables, figures, files, refusals."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner
from pymatgen.core import Lattice, Structure
from report_samples import COPIES, HOSTILE, METHODS, REGISTRY, make_benchmark, make_inpainting, make_run

from chggen_kit.cli import cli
from chggen_kit.errors import InputError
from chggen_kit.io.files import write_structure
from chggen_kit.report.benchmark_tables import benchmark_content
from chggen_kit.report.diagrams import diagrams_of
from chggen_kit.report.drawing import render
from chggen_kit.report.figure_phases import phase_figures
from chggen_kit.report.page import render_page
from chggen_kit.report.payload import crystal_payload, embedded, page_payload
from chggen_kit.report.run_tables import run_content
from chggen_kit.report.summary import energy_rows, rate_rows
from chggen_kit.report.write import figures_of, load_content, with_environments, write_report


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_benchmark(tmp_path_factory.mktemp("benchmarks") / "b")


def test_a_run_has_the_numbers_of_its_summary(run: Path) -> None:
    content = run_content(run)
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    assert content.title == "ZnP2S, seed 0"
    for stage in ("unconditional", "inpainted"):
        rows = content.structures[content.structures["stage"] == stage]
        assert len(rows) == summary[stage]["started"]
        assert int(rows["symmetric"].sum()) == summary[stage]["symmetric"]
        rates = content.rates[content.rates["method"] == stage]
        found = rates[(rates["metric"] == "symmetric")].iloc[0]
        assert (found["numerator"], found["denominator"]) == (summary[stage]["symmetric"], summary[stage]["started"])
        null = summary[stage]["symmetric_rates"]["among_started"]["null"]
        assert found["null_denominator"] == null["of"]
        assert found["low"] <= found["rate"] <= found["high"]
    wheres = {row.where for row in rate_rows(content)}
    assert wheres == {"ZnP2S"}
    assert any("structures started" in row.denominator for row in rate_rows(content))
    assert {row.quantity for row in energy_rows(content)} >= {"energy change on relaxation (eV/atom)"}
    assert any("No E_d" in note or "Null" in note for note in content.notes)


def test_a_run_in_a_given_host_that_was_not_relaxed(tmp_path: Path) -> None:
    content = run_content(make_inpainting(tmp_path / "run", relax=False))
    assert content.title == "Na1 Cl2 + Li2, seed 0"
    assert [row.denominator for row in rate_rows(content)] == ["structures started"]
    assert [crystal.guests for crystal in content.crystals if crystal is not None] == [(3, 4)] * 3
    assert set(figures_of(content)) == {"success", "cost"}
    page = render_page(content, {})
    assert "Na1 Cl2 + Li2" in page


def test_guests_of_a_run_are_told_from_its_host(run: Path) -> None:
    content = run_content(run)
    stages = list(content.structures["stage"])
    for stage, crystal in zip(stages, content.crystals, strict=True):
        assert crystal is not None
        assert crystal.shown is not None
        guests = [crystal.shown.species[i] for i in crystal.guests]
        assert guests, stage
        assert set(guests) == {"Zn"}
        plain = crystal_payload(crystal)
        assert plain is not None
        assert plain["guests"] == list(crystal.guests)


def test_the_same_results_give_the_same_files(run: Path, tmp_path: Path) -> None:
    written = write_report(run, out=tmp_path)
    files = [written.page, *written.figures]
    before = [path.read_bytes() for path in files]
    assert {path.suffix for path in written.figures} == {".png", ".svg"}
    assert write_report(run, out=tmp_path).page == written.page  # made again in its place
    assert [path.read_bytes() for path in files] == before


def test_a_benchmark_has_its_figures_and_structures(benchmark: Path) -> None:
    content = benchmark_content(benchmark)
    assert len(content.runs) == 4
    assert all(crystal is not None for crystal in content.crystals)
    names = {spec.name for group in figures_of(content).values() for spec in group}
    assert names == {
        *("success-by-system", "success-by-size", "success-by-tolerance", "cost"),
        *("energy-change", "displacement", "decomposition-energy"),
    }
    assert [row.where for row in rate_rows(content)] == ["all systems"] * 2
    assert [row.rate for row in rate_rows(content)] == ["40.0 % (32 to 50)"] * 2
    assert rate_rows(content)[0].null == "2.0 % (0 to 10)"
    assert any("left out: 1 run skipped (no <checkpoint> is given)" in note for note in content.notes)
    payload = page_payload(content)
    assert len(payload["tables"]["structures"]["rows"]) == len(payload["crystals"]) == 4 * COPIES
    assert payload["radii"] == {"Cl": 1.02, "Na": 1.66}


def test_a_benchmark_whose_runs_are_gone_still_has_a_report(benchmark: Path, tmp_path: Path) -> None:
    moved = tmp_path / "b"
    moved.mkdir()
    for path in benchmark.iterdir():
        if path.is_file() and path.suffix in {".csv", ".json"}:
            (moved / path.name).write_bytes(path.read_bytes())
    content = load_content(moved)
    assert content.crystals == [None] * (4 * COPIES)
    assert "Structures" in render_page(content, {})


class _Attributes(HTMLParser):
    """Names of all attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names |= {name for name, _ in attrs}


def test_nothing_given_by_a_user_reaches_the_page_as_markup(benchmark: Path, tmp_path: Path) -> None:
    page = write_report(benchmark, out=tmp_path / "o").page.read_text(encoding="utf-8")
    assert HOSTILE not in page
    assert "<b>bold" not in page
    assert len(re.findall(r"<script\b", page)) == len(re.findall(r"</script>", page)) == 9
    assert not re.search(r"(?:src|href)=[\"']?(?:https?:)?//", page.split('id="data"')[0])
    seen = _Attributes()
    seen.feed(page)
    assert "srcset" not in seen.names
    assert not [name for name in seen.names if name.startswith("on") or name == "style"]
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert "unsafe" not in policy.group(1)
    assert policy.group(1).startswith("default-src &#39;none&#39;")


def test_embedded_json_reads_back_and_cannot_end_its_element() -> None:
    value = {"a": "</script><!--", "b": "é\u2028&amp;", "c": [1.5, None, True]}
    text = embedded(value)
    assert json.loads(text) == value
    assert not set("<>&\u2028") & set(text)
    with pytest.raises(ValueError, match=r"Out of range|not JSON compliant"):
        embedded(float("nan"))


def test_the_phase_diagram_of_a_run(tmp_path: Path) -> None:
    phases = tmp_path / "phases"
    phases.mkdir()
    for symbol in ("Zn", "P", "S"):
        cell = Structure(Lattice.cubic(3.2), [symbol] * 2, [[0, 0, 0], [0.5, 0.5, 0.5]])
        write_structure(cell, phases / f"{symbol}.cif", "cif")
    run = make_run(tmp_path / "run", references=str(phases), n=2, inpaintings=1)
    found, notes = diagrams_of([run, run], REGISTRY, str(phases))
    assert notes == []
    (diagram,) = found
    placed = [one for one in diagram.phases if one.kind == "candidate"]
    ok = sum(row == "ok" for row in run_content(run).structures["outcome"])
    assert len(placed) == 2 * ok > 0
    (spec,) = phase_figures(found)
    assert spec.name == "phases-P-S-Zn"
    assert "Lowest E_d by formula: ZnP2S" in spec.alt
    assert render(spec, "light").startswith(b"<?xml")
    # No structure is shown against another hull than the one that its E_d is measured from.
    (phases / "P.cif").write_text((phases / "P.cif").read_text(encoding="utf-8").replace("3.2", "4.9"))
    for other in ("auto", str(phases), str(tmp_path / "gone")):
        found, notes = diagrams_of([run], REGISTRY, other)
        assert found == [], other
        assert "There is no phase diagram of P-S-Zn" in notes[0]


def test_environments_by_stage(run: Path) -> None:
    content = with_environments(run_content(run), str(run))
    assert list(content.environments) == ["unconditional", "inpainted"]
    counts = {name: len(one.generated.structures) for name, one in content.environments.items()}
    frame = content.structures[content.structures["outcome"] == "ok"]
    assert counts == frame.groupby("stage").size().to_dict()
    assert all(0 < one.mean_rdf_A.value < 1 for one in content.environments.values())
    assert [spec.name for spec in figures_of(content)["environments"]] == [
        "environments-rdf",
        "environments-coordination",
    ]
    page = render_page(content, {})
    assert page.count("g(r), mean over pairs") == 2
    drawn = with_environments(run_content(run), str(run), which="generated")
    assert drawn.environments["inpainted"].mean_rdf_A.value != content.environments["inpainted"].mean_rdf_A.value


def test_refusals(tmp_path: Path, run: Path) -> None:
    with pytest.raises(InputError, match="There is no folder"):
        load_content(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"neither a benchmark .* nor a run"):
        load_content(tmp_path)
    (tmp_path / "run.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="has not ended"):
        load_content(tmp_path)
    result = CliRunner().invoke(cli, ["report", str(run), "--environments", str(tmp_path / "none"), "--no-diagrams"])
    assert result.exit_code == 2
    assert "There is no" in result.stderr


def test_the_verb_writes_the_page(run: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["report", str(run), "--no-diagrams", "--out", str(tmp_path / "o")])
    assert result.exit_code == 0, result.output
    assert "report.html" in result.stdout
    assert (tmp_path / "o" / "report.html").stat().st_size > 500_000
    assert (tmp_path / "o" / "figures" / "success-by-system.png").is_file()
    assert not (run / "report.html").exists()
    assert METHODS[0].startswith("=")
