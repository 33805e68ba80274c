"""The workflow `anneal` over small plug-ins: what each stage promises, and that a run that was cut goes on the same."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure
from workflow_rows import read_rows
from workflow_toys import TOY_SETTINGS, toy_registry

from chggen_kit.errors import InputError
from chggen_kit.metrics.symmetry import SpaceGroup, space_group
from chggen_kit.workflow import annealing_work as work
from chggen_kit.workflow.annealing import choose, halve
from chggen_kit.workflow.config import GenerateConfig, build_config
from chggen_kit.workflow.pipeline import run_generate
from chggen_kit.workflow.records import Record, StructureData
from chggen_kit.workflow.result import RunResult

SETTINGS = {
    "formula": "ZnP2S2",
    "workflow": "anneal",
    "n": 4,
    "micro_batch_atoms": 20,
    "anneal": {"neighbours": 3, "keep": 2, "levels_A": [0.3, 0.6], "coarse_steps": 5, "max_displacement_A": 1.5},
    **TOY_SETTINGS,
}


def _config(**changes: object) -> GenerateConfig:
    return build_config(GenerateConfig, {**SETTINGS, **changes}, toy_registry())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return run_generate(_config(), tmp_path_factory.mktemp("anneal") / "run", registry=toy_registry())


def _of(run: RunResult, stage: str) -> list[Record]:
    return [record for record in run.records if record.stage == stage]


def test_each_stage_keeps_what_it_promises(run: RunResult) -> None:
    projected, annealed = _of(run, "projected"), _of(run, "annealed")
    assert projected
    assert annealed
    known = {record.id for record in run.records}
    for record in [*projected, *annealed]:
        assert record.parent in known
        assert record.generated is not None
        if record.outcome not in {"ok", "outranked"}:
            continue
        group = space_group(record.generated.structure(), 0.01, 1.0)
        assert isinstance(group, SpaceGroup)
        assert group.number > 2, "the symmetry that was imposed is not there before the relaxation"
    assert {record.start_sigma_A for record in annealed} <= {0.3, 0.6}
    for record in projected:
        assert record.imposed_displacement_A is not None
        assert record.imposed_displacement_A <= 1.5
    ended = [record for record in [*projected, *annealed] if record.outcome == "ok"]
    assert ended
    for record in ended:
        assert record.tight_spacegroup_number is not None
        assert record.held_energy is not None
        assert record.energy is not None
        # The last relaxation is free: it does not end above the minimum within the symmetry, up to its convergence.
        assert record.energy / 5 < record.held_energy / 5 + 2e-3


def test_the_yield_counts_starts(run: RunResult) -> None:
    settled = [record for record in run.records if record.stage in {"projected", "annealed"}]
    starts = {record.start for record in settled if record.is_symmetric((1, 2))}
    assert run.summary["symmetric_yield"]["at_symprec"] == {
        "count": len(starts),
        "of": 4,
        "denominator": "starts of the run",
        "rate": len(starts) / 4,
    }
    tight = run.summary["symmetric_yield"]["at_0.01_A"]["count"]
    assert tight <= len(starts)
    rows = read_rows(run.path / "results.db")
    assert {row["stage"] for row in rows} == {"unconditional", "projected", "annealed"}
    assert {row["structure_id"] for row in rows} == {record.id for record in run.records}


def test_a_run_that_was_cut_goes_on_the_same(run: RunResult, tmp_path: Path) -> None:
    again = tmp_path / "run"
    shutil.copytree(run.path, again)
    shards = sorted((again / "shards").iterdir())
    for shard in shards[len(shards) // 3 :]:
        shard.unlink()
    (again / "results.db").unlink()
    resumed = run_generate(_config(), again, registry=toy_registry())
    assert read_rows(resumed.path / "results.db") == read_rows(run.path / "results.db")


def test_random_structures_can_be_annealed(tmp_path: Path) -> None:
    """The null of the score model's part: random starts, the same projection and annealing."""
    config = _config(unconditional_sampler={"name": "random", "options": {}}, n=2)
    result = run_generate(config, tmp_path / "run", registry=toy_registry())
    assert {record.stage for record in result.records} >= {"unconditional", "projected"}


def test_a_sampler_that_uses_no_score_model_cannot_denoise(tmp_path: Path) -> None:
    config = _config(anneal={**SETTINGS["anneal"], "sampler": "random"}, n=1)  # type: ignore[dict-item]
    with pytest.raises(InputError, match="which the sampler random does not use"):
        run_generate(config, tmp_path / "run", registry=toy_registry())


def _record(number: int, structure: Structure, energy_per_atom: float, group: int = 225) -> Record:
    return Record(
        id=f"p{number:04d}-0",
        stage="projected",
        start=number,
        relaxed=StructureData.of(structure),
        energy=energy_per_atom * len(structure),
        spacegroup_number=group,
    )


def test_rounds_take_the_best_of_each_start_then_saddles_then_the_rest() -> None:
    rocksalt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    caesium = Structure.from_spacegroup("Pm-3m", Lattice.cubic(3.4), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    blende = Structure.from_spacegroup("F-43m", Lattice.cubic(6.1), ["Na", "Cl"], [[0, 0, 0], [0.25, 0.25, 0.25]])
    saddle = _record(4, rocksalt, -3.1, group=1).updated(held_energy=-24.0, generated=StructureData.of(rocksalt))
    records = [
        _record(0, rocksalt, -3.0),
        _record(1, rocksalt.get_primitive_structure(), -3.001),
        _record(1, blende, -2.95).updated(id="p0001-1"),
        _record(2, caesium, -2.9),
        _record(3, caesium, -3.2, group=1),
        saddle,
        saddle.updated(start=1, id="p0001-2"),
    ]
    # Start 0 has nothing that start 1 has not; start 3 was never symmetric; start 1 has better than a saddle.
    keep = {**SETTINGS["anneal"], "keep": 9}  # type: ignore[dict-item]
    assert [one.id for one in choose(records, _config(anneal=keep))] == ["p0001-0", "p0002-0", "p0004-0", "p0001-1"]
    assert [one.id for one in choose(records, _config())] == ["p0001-0", "p0002-0"]


def test_the_worse_half_of_each_start_leaves() -> None:
    rocksalt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    one_start = [_record(0, rocksalt, -number / 10) for number in range(5)]
    another = [_record(1, rocksalt, 1.0)]
    assert [one.outcome for one in halve([*one_start, *another])] == ["outranked"] * 2 + ["ok"] * 4


def test_a_budget_ends_the_rounds(run: RunResult, tmp_path: Path) -> None:
    spent = sum(record.network_calls for record in run.records if record.stage == "unconditional")
    assert spent == 4 * 8 * 2 - 4  # 8 descents of one pass and a corrector call after each but the last
    settings = {**SETTINGS["anneal"], "max_network_calls": spent + 1}  # type: ignore[dict-item]
    limited = run_generate(_config(anneal=settings), tmp_path / "calls", registry=toy_registry())
    assert {record.start_sigma_A for record in _of(limited, "annealed")} == {0.3}
    settings = {**SETTINGS["anneal"], "max_relax_steps": 1}  # type: ignore[dict-item]
    none = run_generate(_config(anneal=settings), tmp_path / "steps", registry=toy_registry())
    assert not _of(none, "annealed")


def test_a_structure_whose_operations_do_not_permute_its_atoms_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tolerances that join atoms give a group whose operations map two atoms onto one."""
    rocksalt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    good, bad = (_record(number, rocksalt, -3.0) for number in range(2))
    config = _config()
    registry = toy_registry()
    sampler = registry.create_sampler("predictor-corrector", {"steps": 8})
    plan = work.plan_round([good, bad], 0, 0.3, config)
    real = work.find_operations
    broken = plan[1].updated(generated=StructureData.of(Structure(rocksalt.lattice, ["Na"], [[0.1, 0.2, 0.3]])))

    def refuse(structure: Structure, *tolerances: float) -> object:
        if len(structure) == 1:
            raise InputError("no permutation")
        return real(structure, *tolerances)

    monkeypatch.setattr(work, "find_operations", refuse)
    drawn = work.denoise([plan[0], broken], sampler, registry.create_score_model("sites", {}), config, None)
    assert [one.outcome == "no-operations" for one in drawn] == [False, True]
    assert drawn[0].network_calls > 0
