"""Campaigns over toys in this process: plan, ledger, resumption, failures, results."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from campaign_toys import completions, digest_of, rows_of, states_of, toy_spec

from chggen_kit.campaign import Campaign
from chggen_kit.campaign.ledger import Ledger
from chggen_kit.campaign.plan import make_plan, shard_seed
from chggen_kit.campaign.shard import ShardOutcome, StorageProblem
from chggen_kit.errors import RunDirectoryError
from chggen_kit.execution.locks import held
from chggen_kit.interfaces import Ended, Executor

sys_path = Path(__file__).parent.parent / "workflow"


@pytest.fixture(autouse=True)
def _toys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(sys_path))


def toys() -> Any:
    from workflow_toys import toy_registry

    return toy_registry()


def campaign(folder: Path, **changes: Any) -> Campaign:
    return Campaign(toy_spec(**changes), folder, registry=toys())


class Scripted(Executor):
    """Ends each task as `script` says: a stand-in for workers that die."""

    def __init__(self, script: Callable[[str, int], Ended | None], places: int = 2) -> None:
        self.script, self._places = script, places
        self.begun: list[str] = []
        self.waiting: list[tuple[str, Any]] = []
        self.closed = False

    @property
    def places(self) -> int:
        return self._places

    @property
    def running(self) -> int:
        return len(self.waiting)

    def submit(self, key: str, task: Callable[..., Any], *arguments: object) -> None:
        del task, arguments
        self.begun.append(key)
        outcome = ShardOutcome(shard=key, structures=1, ok=1, candidates=0)
        self.waiting.append((key, self.script(key, self.begun.count(key)) or Ended(key, outcome, None)))

    def next_ended(self, timeout_s: float | None = None) -> list[Ended]:
        del timeout_s
        # The last one first: shards may end in any order.
        return [self.waiting.pop()[1]] if self.waiting else []

    def close(self) -> None:
        self.closed = True
        self.waiting.clear()


def test_shards_do_not_depend_on_what_else_is_planned() -> None:
    names = {s.name for lane in make_plan(toy_spec(), toys()).lanes for s in lane.shards()}
    more = toy_spec(
        targets=[{"formulas": ["Li3Si"]}, {"pattern": "Li_xSi_y", "ranges": {"x": [1, 2], "y": [1, 2]}}],
        seeds=[3, 0],
        worker_deaths=9,
    )
    larger = {s.name for lane in make_plan(more, toys()).lanes for s in lane.shards()}
    assert len(names) == 5
    assert names < larger
    other = {s.name for lane in make_plan(toy_spec(settings={"fmax": 0.3}), toys()).lanes for s in lane.shards()}
    assert not names & other


def test_seeds_of_shards_are_fixed() -> None:
    assert [shard_seed(0, part) for part in range(2)] == [79241467145606, 47587004166958]
    assert len({shard_seed(seed, part) for seed in range(50) for part in range(50)}) == 2500


def test_a_campaign_runs_once_and_is_collected(tmp_path: Path) -> None:
    one = campaign(tmp_path / "one")
    status = one.run()
    assert dict(status.shards) == {"done": 5}
    assert status.structures > 9  # whole structures, and inpainted ones
    assert one.run().sitting["atoms"] == 0  # type: ignore[index]  # there was a sitting
    assert completions(tmp_path / "one") == [1] * 5
    collected = one.collect()
    rows = rows_of(tmp_path / "one" / "results.db")
    assert collected.structures == len(rows) == status.structures
    assert {row["target"] for row in rows} == {"LiSi", "LiSi2", "Li2Si"}
    assert {row["campaign"] for row in rows} == {"toys"}
    first = rows_of(tmp_path / "one" / "results.db")
    one.collect()
    assert rows_of(tmp_path / "one" / "results.db") == first


def test_a_campaign_grows(tmp_path: Path) -> None:
    campaign(tmp_path, targets=[{"formulas": ["LiSi"]}]).run()
    before = digest_of(tmp_path)
    status = campaign(tmp_path, targets=[{"formulas": ["LiSi", "Li2Si"]}]).run()
    assert dict(status.shards) == {"done": 3}
    assert completions(tmp_path) == [1, 1, 1]
    status = campaign(tmp_path, targets=[{"formulas": ["LiSi"]}]).run()
    assert dict(status.shards) == {"done": 1, "left-out": 2}
    assert before != digest_of(tmp_path)
    with pytest.raises(RunDirectoryError, match=r"settings\.fmax is .*there and 0.5 here"):
        campaign(tmp_path, settings={"fmax": 0.5}).run()


def test_a_lost_ledger_is_made_again(tmp_path: Path) -> None:
    one = campaign(tmp_path)
    one.run()
    (tmp_path / "ledger.db").unlink()
    status = one.run()
    assert dict(status.shards) == {"done": 5}
    assert status.structures > 9
    assert completions(tmp_path) == [1] * 5


def test_a_damaged_ledger_says_what_to_do(tmp_path: Path) -> None:
    one = campaign(tmp_path)
    one.run(executor=Scripted(lambda _, __: None))
    (tmp_path / "ledger.db").write_bytes(b"not a database" * 100)
    with pytest.raises(RunDirectoryError, match="delete it"):
        one.run()


def test_a_shard_that_kills_its_worker_twice_is_set_aside(tmp_path: Path) -> None:
    bad = next(next(iter(lane.shards())).name for lane in campaign(tmp_path).plan.lanes)

    def script(key: str, _: int) -> Ended | None:
        return Ended(key, None, "its worker process died", "died") if key == bad else None

    one = campaign(tmp_path)
    executor = Scripted(script)
    status = one.run(executor=executor)
    assert dict(status.shards) == {"done": 4, "set-aside": 1}
    assert executor.begun.count(bad) == 2
    assert executor.begun[-1] == bad  # the others went first
    assert "killed its worker 2 times" in status.reasons[0][0]
    assert executor.closed
    assert one.retry() == 1
    assert dict(one.run(executor=Scripted(lambda _, __: None)).shards) == {"done": 5}


def test_a_lost_place_is_no_fault_of_the_shard(tmp_path: Path) -> None:
    status = campaign(tmp_path).run(
        executor=Scripted(lambda key, n: Ended(key, None, "the node is gone", "lost") if n < 4 else None)
    )
    assert dict(status.shards) == {"done": 5}
    with Ledger(tmp_path, read_only=True) as ledger:
        assert [row["losses"] for row in ledger.rows("SELECT losses FROM shards")] == [3] * 5


def test_an_error_fails_its_shard_alone_and_is_counted(tmp_path: Path) -> None:
    one = campaign(tmp_path)
    status = one.run(executor=Scripted(lambda key, _: Ended(key, None, "no such element.", "failed")))
    assert dict(status.shards) == {"failed": 5}
    assert status.reasons == (("no such element", 5),)
    assert one.retry(targets=["LiSi"]) == 1
    assert states_of(tmp_path) == {"failed": 4, "waiting": 1}


def test_a_full_disk_stops_the_campaign_and_loses_nothing(tmp_path: Path) -> None:
    def script(key: str, _: int) -> Ended | None:
        full = len(executor.begun) == 3
        return Ended(key, StorageProblem(what="there: No space left on device"), None) if full else None

    executor = Scripted(script, places=1)
    one = campaign(tmp_path)
    with pytest.raises(RunDirectoryError, match=r"No space left on device.*repeat the command"):
        one.run(executor=executor)
    assert states_of(tmp_path) == {"done": 2, "waiting": 3}
    assert one.status().sitting["ended"] == "interrupted"  # type: ignore[index]  # there was a sitting
    assert dict(one.run(executor=Scripted(lambda _, __: None)).shards) == {"done": 5}


def test_a_folder_that_cannot_be_written_says_so() -> None:
    with pytest.raises(RunDirectoryError, match="Cannot write to the folder /proc/nowhere"):
        campaign(Path("/proc/nowhere")).run()


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RunDirectoryError, match=r"thesis\.tex"):
        campaign(tmp_path).run()


def test_two_drivers_exclude_each_other(tmp_path: Path) -> None:
    with held(tmp_path, "the campaign"), pytest.raises(RunDirectoryError, match=r"in use .*process \d+ on"):
        campaign(tmp_path).run()


def test_cancel_and_retry(tmp_path: Path) -> None:
    one = campaign(tmp_path)
    one.run(executor=Scripted(lambda key, _: Ended(key, None, "no", "failed")))
    one.retry()
    assert one.cancel(targets=["LiSi"])
    assert states_of(tmp_path) == {"cancelled": 1, "waiting": 4}
    assert one.cancel()
    assert states_of(tmp_path) == {"cancelled": 5}
    assert dict(one.run().shards) == {"cancelled": 5}
    assert one.retry() == 5
    assert dict(one.run().shards) == {"done": 5}


def test_a_driver_that_is_told_cancels(tmp_path: Path) -> None:
    def script(key: str, _: int) -> Ended | None:
        if len(executor.begun) == 2:
            assert one.cancel() is False  # the folder is held by the driver
        return Ended(key, None, "the node is gone", "lost") if key == executor.begun[0] else None

    executor = Scripted(script, places=1)
    one = campaign(tmp_path)
    status = one.run(executor=executor)
    assert dict(status.shards) == {"done": 1, "cancelled": 4}
    assert status.sitting["ended"] == "cancelled"  # type: ignore[index]  # there was a sitting


def test_other_versions_must_be_accepted(tmp_path: Path) -> None:
    one = campaign(tmp_path)
    one.run(executor=Scripted(lambda key, _: Ended(key, None, "no", "failed")))
    with Ledger(tmp_path) as ledger, ledger.writing() as db:
        for row in ledger.rows("SELECT number, identity FROM lanes"):
            identity = json.loads(row["identity"])
            identity["versions"]["torch"] = "1.0"
            db.execute("UPDATE lanes SET identity = ? WHERE number = ?", [json.dumps(identity), row["number"]])
    one.retry()
    with pytest.raises(RunDirectoryError, match=r"torch 1\.0 -> .*--accept-versions"):
        one.run()


def test_a_calibration_is_work_that_counts(tmp_path: Path) -> None:
    one = campaign(tmp_path)
    (cost,) = one.calibrate()
    assert (cost.shards, cost.longest_atoms) == (4, 6)
    assert cost.cpu_seconds is not None
    assert cost.cpu_seconds > 0
    assert sum(completions(tmp_path)) == 1
    assert dict(one.run().shards) == {"done": 5}
    assert completions(tmp_path) == [1] * 5
