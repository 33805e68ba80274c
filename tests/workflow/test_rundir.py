"""The run directory: one owner, one configuration, nothing half written."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from chggen_kit.errors import RunDirectoryError
from chggen_kit.workflow.rundir import RunDirectory, flatten, write_atomically

DESCRIPTION = {"identity": {"config": {"seed": 0, "sampler": {"name": "repaint", "options": {}}}}, "threads": 1}

HOLDER = """
import sys, time
from pathlib import Path
from chggen_kit.workflow.rundir import RunDirectory
with RunDirectory(Path(sys.argv[1])).locked():
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_and_a_killed_one_leaves_no_lock(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own command
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunDirectoryError, match="in use by another process"), RunDirectory(tmp_path).locked():
            pass
    finally:
        holder.kill()
        holder.communicate()
    with RunDirectory(tmp_path).locked():
        pass


def test_the_same_run_goes_on_and_another_is_told_what_differs(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    first = directory.open(DESCRIPTION)
    again = directory.open({**DESCRIPTION, "threads": 2})
    assert first == again
    assert again["threads"] == 1
    other = {"config": {"seed": 1, "sampler": {"name": "repaint", "options": {"passes": 3}}}}
    with pytest.raises(RunDirectoryError) as caught:
        directory.open({"identity": other})
    assert "config.seed is 0 there and 1 here" in str(caught.value)
    assert "config.sampler.options.passes is (not set) there and 3 here" in str(caught.value)
    assert "config.sampler.name" not in str(caught.value)


def test_a_directory_with_other_files_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(RunDirectoryError, match=r"thesis\.tex"):
        RunDirectory(tmp_path).check_free()
    with pytest.raises(RunDirectoryError, match="is a file"):
        RunDirectory(tmp_path / "thesis.tex").check_free()
    RunDirectory(tmp_path / "new").check_free()


def test_a_run_killed_before_its_first_file_can_start_again(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    (tmp_path / "shards").mkdir()
    RunDirectory(tmp_path).check_free()


def test_what_a_kill_left_half_written_is_cleared(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    directory.open(DESCRIPTION)
    half = directory.shards / ".unconditional-draw-0000.json.123.tmp"
    half.write_text('{"rec')
    database = [tmp_path / f".results.db.123.tmp{end}" for end in ("", "-journal", "-wal")]
    for path in database:
        path.touch()
    directory.open(DESCRIPTION)
    assert not [path for path in (half, *database) if path.exists()]
    assert directory.read_shard("unconditional-draw-0000", "h") is None


def test_a_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.json"
    write_atomically(path, "old")

    def fail(_: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="no space"):
        write_atomically(path, "new")
    assert path.read_text() == "old"


@pytest.mark.parametrize("content", ["{", "[]", json.dumps({"run": "another", "records": []})])
def test_a_shard_that_is_not_of_this_run_is_refused(tmp_path: Path, content: str) -> None:
    directory = RunDirectory(tmp_path)
    directory.open(DESCRIPTION)
    directory.shard_path("hosts-0000").write_text(content)
    with pytest.raises(RunDirectoryError, match="hosts-0000"):
        directory.read_shard("hosts-0000", "h")


def test_shards_are_read_back_as_written(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    directory.open(DESCRIPTION)
    directory.write_shard("hosts-0000", "h", {"records": [{"x": 0.1 + 0.2}]})
    assert directory.read_shard("hosts-0000", "h") == {"run": "h", "records": [{"x": 0.1 + 0.2}]}


def test_flatten_names_every_leaf() -> None:
    assert flatten({"a": {"b": 1, "c": {}}, "d": [1]}) == {"a.b": 1, "a.c": {}, "d": [1]}
