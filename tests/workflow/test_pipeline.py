"""The pipeline over small plug-ins: every structure has a row, and the same run gives the same rows."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from workflow_rows import read_rows
from workflow_toys import TOY_SETTINGS, toy_registry

from chggen_kit.errors import InputError, PluginError, RunDirectoryError
from chggen_kit.progress import JsonProgress
from chggen_kit.refiners.options import PAPER_RUNGS
from chggen_kit.workflow.config import GenerateConfig, build_config
from chggen_kit.workflow.pipeline import default_directory, run_generate
from chggen_kit.workflow.result import RunResult

REGISTRY = toy_registry()


def config(**values: Any) -> GenerateConfig:
    settings = {"formula": "ZnP2S", "n": 5, "guests": "Zn", "micro_batch_atoms": 10, **TOY_SETTINGS, **values}
    return build_config(GenerateConfig, settings, REGISTRY)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """An uninterrupted run; min_distance is set so that some structures overlap."""
    return run_generate(config(min_distance_A=0.9), tmp_path_factory.mktemp("runs") / "whole", registry=REGISTRY)


def test_every_structure_has_a_row_and_failures_say_why(run: RunResult) -> None:
    rows = read_rows(run.path / "results.db")
    assert len(rows) == len(run.records)
    starts = [row for row in rows if row["stage"] == "unconditional"]
    fills = [row for row in rows if row["stage"] == "inpainted"]
    assert [row["structure_id"] for row in starts] == [f"u{i:04d}" for i in range(5)]
    hosts = [host.id for host in run.hosts if host.host is not None]
    assert 0 < len(hosts) < 5
    assert [row["structure_id"] for row in fills] == [f"i{host[1:]}-{copy}" for host in hosts for copy in range(3)]
    assert {row["outcome"] for row in rows} == {"ok", "overlap"}
    for row in rows:
        assert "as_generated" in row["data"]
        assert ("relaxed" in row["data"]) == (row["outcome"] == "ok") == ("energy_per_atom" in row)


def test_rows_name_what_made_them(run: RunResult) -> None:
    fill = next(
        row for row in read_rows(run.path / "results.db") if row["stage"] == "inpainted" and row["outcome"] == "ok"
    )
    assert fill["formula"] == "ZnP2S"
    assert (fill["backend"], fill["checkpoint"], fill["sampler"]) == ("sites", "analytic", "repaint")
    assert (fill["potential"], fill["energy_frame"], fill["relaxer"]) == ("pairs-1", "toy", "fire")
    assert (fill["seed"], fill["symprec"], fill["host_atoms"], fill["host_symprec"]) == (0, 0.1, 3, 0.5)
    assert fill["symmetry_library"].startswith("spglib")
    assert (fill["refiner"], fill["refiner_options"]) == ("strip", "{}")
    assert {"converged", "energy_change", "max_displacement", "host_drift", "spacegroup_number"} <= fill.keys()
    start = read_rows(run.path / "results.db")[0]
    assert start["sampler"] == "predictor-corrector"
    assert "host_drift" not in start


def test_every_row_names_the_ladder(tmp_path: Path) -> None:
    ladder = {"name": "ladder", "options": {"max_hosts": 2}}
    run_generate(config(n=1, refiner=ladder, excluded_groups=(1,)), tmp_path / "o", registry=REGISTRY)
    for row in read_rows(tmp_path / "o" / "results.db"):
        assert row["refiner"] == "ladder"
        options = json.loads(row["refiner_options"])
        assert options["rungs"] == [list(rung) for rung in PAPER_RUNGS]
        assert (options["max_hosts"], options["excluded_groups"]) == (2, [1])


def test_the_projection_refiner_serves_the_pipeline(tmp_path: Path) -> None:
    """It has no tolerances to report: rows leave them out. For chance hosts of three atoms the caps alone decide."""
    projection = {"name": "projection", "options": {"min_evidence": None, "max_strain": 0.2, "max_displacement_A": 2.0}}
    result = run_generate(config(n=3, refiner=projection), tmp_path / "o", registry=REGISTRY)
    assert any(host.host is not None for host in result.hosts)
    assert all(host.symprec_A is None for host in result.hosts)
    rows = read_rows(tmp_path / "o" / "results.db")
    assert {row["refiner"] for row in rows} == {"projection"}
    assert any(row["stage"] == "inpainted" and row["outcome"] == "ok" for row in rows)
    assert all("host_symprec" not in row for row in rows)
    assert all(json.loads(row["refiner_options"])["max_displacement_A"] == 2.0 for row in rows)


def test_hosts_are_kept_bit_for_bit_in_what_is_generated(run: RunResult) -> None:
    hosts = {host.id: host.host for host in run.hosts}
    fills = [record for record in run.records if record.stage == "inpainted"]
    for record in fills:
        host = hosts[record.host_id or ""]
        assert host is not None
        assert record.generated is not None
        assert record.generated.frac_coords[:3] == host.frac_coords
        assert record.generated.lattice == host.lattice
        assert record.generated.species[:3] == host.species
    copies = {record.generated.frac_coords[3:] for record in fills if record.generated}
    assert len(copies) == len(fills)


def test_candidates_are_ranked_by_energy(run: RunResult) -> None:
    energies = [candidate.energy_per_atom for candidate in run.candidates]
    assert None not in energies
    assert energies == sorted(energies)
    assert len(energies) == sum(record.outcome == "ok" for record in run.records)
    assert run.candidates[0].structure.composition.reduced_formula == "ZnP2S"


def test_run_json_says_what_the_run_was(run: RunResult) -> None:
    stored = json.loads((run.path / "run.json").read_text())
    assert stored["identity"]["config"]["formula"] == "ZnP2S"
    assert stored["identity"]["resolved"]["guests"] == ["Zn"]
    assert stored["identity"]["resolved"]["checkpoint"] == "analytic"
    assert stored["threads"] == torch.get_num_threads()
    assert {"python", "torch", "chggen-kit", "spglib", "potential pairs"} <= stored["versions"].keys()


def test_threads_are_recorded_and_kept(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    seen = []

    class Watcher:
        def update(self, done: int, total: int, message: str = "") -> None:
            del done, total, message
            seen.append(torch.get_num_threads())

    chosen = config(n=1, inpaintings=0, threads=before + 1)
    run_generate(chosen, tmp_path / "o", registry=REGISTRY, progress=Watcher())
    assert set(seen) == {before + 1}
    assert torch.get_num_threads() == before
    assert json.loads((tmp_path / "o" / "run.json").read_text())["threads"] == before + 1


class StopHereError(Exception):
    """What the power cut of these tests raises."""


class Stopper:
    """Progress that breaks off the run after so many reports."""

    def __init__(self, after: int) -> None:
        self.left = after

    def update(self, done: int, total: int, message: str = "") -> None:
        self.left -= 1
        if self.left < 0:
            raise StopHereError


def test_a_run_broken_off_anywhere_ends_with_the_same_rows(run: RunResult, tmp_path: Path) -> None:
    chosen = config(min_distance_A=0.9)
    out = tmp_path / "broken"
    pieces = []
    # Some sittings end at once and others get far, so that breaks fall on all kinds of pieces.
    for reports in (0, 3, 1, 12, 0, 17, 2, 20, 5, 11):
        with pytest.raises(StopHereError):
            run_generate(chosen, out, registry=REGISTRY, progress=Stopper(reports))
        assert not (out / "results.db").exists()
        pieces.append(len(list((out / "shards").iterdir())))
    assert pieces == sorted(pieces)
    assert len(set(pieces)) > 3
    again = run_generate(chosen, out, registry=REGISTRY)
    assert read_rows(out / "results.db") == read_rows(run.path / "results.db")
    assert {**again.summary, "seconds": 0} == {**run.summary, "seconds": 0}


def test_a_finished_run_is_read_and_not_written_again(run: RunResult) -> None:
    before = (run.path / "results.db").stat().st_mtime_ns
    again = run_generate(config(min_distance_A=0.9), run.path, registry=REGISTRY, progress=Stopper(0))
    assert (run.path / "results.db").stat().st_mtime_ns == before
    assert again.records == run.records


def test_another_configuration_is_refused(run: RunResult) -> None:
    with pytest.raises(RunDirectoryError, match=r"config\.seed is 0 there and 3 here"):
        run_generate(config(min_distance_A=0.9, seed=3), run.path, registry=REGISTRY)


def test_draws_do_not_depend_on_the_cut_nor_on_the_number_of_starts(run: RunResult, tmp_path: Path) -> None:
    other = run_generate(
        config(min_distance_A=0.9, micro_batch_atoms=1000, n=7, inpaintings=0), tmp_path / "o", registry=REGISTRY
    )
    assert len(other.records) == 7
    for mine, theirs in zip(run.records[:5], other.records[:5], strict=True):
        assert mine.generated is not None
        assert theirs.generated is not None
        np.testing.assert_allclose(mine.generated.frac_coords, theirs.generated.frac_coords, atol=1e-8)


def test_another_seed_gives_other_structures(run: RunResult, tmp_path: Path) -> None:
    other = run_generate(config(seed=1, n=1, inpaintings=0), tmp_path / "o", registry=REGISTRY)
    assert other.records[0].generated != run.records[0].generated


def test_without_a_symmetrisable_host_the_unconditional_part_is_the_result(tmp_path: Path) -> None:
    result = run_generate(config(refiner="no-host", n=2), tmp_path / "o", registry=REGISTRY)
    assert "No host could be symmetrised" in result.summary["note"]
    assert result.summary["hosts"]["symmetrised"] == 0
    assert result.summary["inpainted"]["started"] == 0
    assert result.summary["inpainted"]["symmetric_rates"]["among_symmetrised_hosts"]["rate"] is None
    assert len(read_rows(tmp_path / "o" / "results.db")) == 2
    assert all(row["host_outcome"] == "no-symmetry" for row in read_rows(tmp_path / "o" / "results.db"))


def test_an_element_has_no_guests_and_is_not_inpainted(tmp_path: Path) -> None:
    result = run_generate(config(formula="Si2", guests="auto", n=2), tmp_path / "o", registry=REGISTRY)
    assert result.summary["guests"] == []
    assert "no guests" in result.summary["note"]
    assert [record.stage for record in result.records] == ["unconditional"] * 2


def test_the_random_baseline_fills_the_same_hosts(run: RunResult, tmp_path: Path) -> None:
    result = run_generate(config(min_distance_A=0.9, sampler="random"), tmp_path / "o", registry=REGISTRY)
    assert [host.host for host in result.hosts] == [host.host for host in run.hosts]
    fills = [row for row in read_rows(tmp_path / "o" / "results.db") if row["stage"] == "inpainted"]
    assert {row["sampler"] for row in fills} == {"random"}
    # No model had a hand in them.
    assert not any("backend" in row for row in fills)


def test_draws_that_are_not_finite_are_rows_with_a_reason(tmp_path: Path) -> None:
    result = run_generate(
        config(unconditional_sampler="nan", n=4, micro_batch_atoms=100, min_distance_A=0.0),
        tmp_path / "o",
        registry=REGISTRY,
    )
    starts = [row for row in read_rows(tmp_path / "o" / "results.db") if row["stage"] == "unconditional"]
    assert [row["outcome"] == "non-finite" for row in starts] == [False, True, False, True]
    assert result.summary["unconditional"]["outcomes"]["non-finite"] == 2
    assert [host.outcome for host in result.hosts][1::2] == ["not-relaxed", "not-relaxed"]


def test_two_cell_sizes_are_drawn_and_named(tmp_path: Path) -> None:
    result = run_generate(config(formula_units=(1, 2), n=1, inpaintings=1), tmp_path / "o", registry=REGISTRY)
    rows = read_rows(tmp_path / "o" / "results.db")
    assert [row["formula_units"] for row in rows if row["stage"] == "unconditional"] == [1, 2]
    for record in result.records:
        assert record.generated is not None
        assert len(record.generated.species) == 4 * (record.formula_units or 0)


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"formula": ""}, InputError, "formula"),
        ({"formula": "Zn0.5S"}, InputError, "whole"),
        ({"formula": "ZzS"}, InputError, "Unknown element"),
        ({"guests": "Li"}, InputError, "Li is not in"),
        ({"guests": "Zn,P,S"}, InputError, "leaves nothing"),
        ({"formula": "UPu", "guests": "U"}, InputError, "does not cover"),
        ({"sampler": "repiant"}, PluginError, "repaint"),
        ({"sampler": {"name": "repaint", "options": {"passses": 2}}}, InputError, "passes"),
        ({"potential": "chgnat"}, PluginError, "chgnat"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(
    values: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        run_generate(config(**values), tmp_path / "o", registry=REGISTRY)
    assert not (tmp_path / "o").exists()


def test_progress_names_the_pieces(tmp_path: Path) -> None:
    import io

    stream = io.StringIO()
    run_generate(config(n=1, inpaintings=1), tmp_path / "o", registry=REGISTRY, progress=JsonProgress("t", stream))
    stages = [json.loads(line)["stage"] for line in stream.getvalue().splitlines()]
    assert stages[0] == "unconditional, draw"
    assert "unconditional, relax" in stages
    assert "hosts" in stages


def test_runs_get_a_directory_of_their_own(tmp_path: Path) -> None:
    assert default_directory(config(seed=5), None) == Path("runs/ZnP2S-seed5")
    assert default_directory(config(), tmp_path) == tmp_path
    with pytest.raises(InputError, match="empty"):
        default_directory(config(), " ")
