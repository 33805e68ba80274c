"""kill -9 of the driver or of a worker at random moments: the tables are those of a benchmark that was left alone."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from benchmark_toys import install_toys, stable_text, toy_plain

from chggen_kit.benchmark.tables import CELLS
from chggen_kit.errors import InputError
from chggen_kit.execution.pool import worker_pool

pytestmark = pytest.mark.skipif(not Path("/proc/self").exists(), reason="watches processes through /proc")
SMALL = {"systems": [{"formula": "ZnP2S2", "guests": ["Zn"]}, {"formula": "LiSi", "guests": ["Li"]}], "seeds": [0, 1]}
METHODS = {"inpainting": {"baseline": "random"}, "random": {"sampler": "random"}}


# Imports once, and forks a process for every line that names a folder: the test kills those.
SERVER = """
import os, sys
from benchmark_toys import toy_spec
from workflow_toys import toy_registry
from chggen_kit.benchmark import Benchmark
from test_benchmark_kill import METHODS, SMALL

registry, spec = toy_registry(), toy_spec(methods=METHODS, **SMALL)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        Benchmark(spec, registry=registry).run(line.strip())
        os._exit(0)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def test_killed_at_random_moments_and_started_again(tmp_path: Path) -> None:
    server = subprocess.Popen(  # noqa: S603 - our own code
        [sys.executable, "-c", SERVER],
        cwd=Path(__file__).parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdin is not None
    assert server.stdout is not None

    def run(out: Path, until: int | None) -> int:
        """Exit code of a driver, killed after so many more pieces of work."""
        assert server.stdin is not None
        assert server.stdout is not None
        had = pieces(out)
        server.stdin.write(f"{out}\n")
        server.stdin.flush()
        pid = int(server.stdout.readline())
        if until is not None:
            wait_for(lambda: pieces(out) >= had + until)
            os.kill(pid, signal.SIGKILL)
        return int(server.stdout.readline())

    try:
        whole, killed = tmp_path / "whole", tmp_path / "killed"
        assert run(whole, None) == 0
        moments = random.Random(5)  # noqa: S311 - no secrets here
        for _ in range(3):
            assert run(killed, moments.randint(1, pieces(whole) // 6)) == -signal.SIGKILL
            assert not (killed / CELLS.file_name).exists()
        assert run(killed, None) == 0
    finally:
        server.kill()
        server.communicate()
    assert stable_text(killed) == stable_text(whole)
    for table in ("structures.csv", "rates.csv", "differences.csv"):
        assert (killed / table).read_bytes() == (whole / table).read_bytes()


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return install_toys(tmp_path / "site")


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "spec.yaml"
    path.write_text(yaml.safe_dump(toy_plain(methods=METHODS, **SMALL)))
    return path


def start(spec: Path, out: Path, environment: dict[str, str], workers: int = 2) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "from chggen_kit.cli import main; main()", "benchmark", str(spec)]
    return subprocess.Popen(  # noqa: S603 - our own code
        [*command, "--out", str(out), "--workers", str(workers), "--progress", "none"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def pieces(out: Path) -> int:
    return len(list(out.glob("cells/*/shards/*.json")))


def children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(one) for one in path.read_text().split()] if path.exists() else []


def is_worker(pid: int) -> bool:
    try:
        return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def wait_for(condition: object, seconds: float = 120.0) -> None:
    until = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < until, "it took too long"
        time.sleep(0.01)


def finish(job: subprocess.Popen[str]) -> str:
    text, _ = job.communicate(timeout=500)
    assert job.returncode == 0, text
    return text


@pytest.mark.slow
def test_driver_of_workers_killed_at_random_moments(spec: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    text = finish(start(spec, whole, environment))
    assert "2 of" not in text
    moments = random.Random(3)  # noqa: S311 - no secrets here
    for _ in range(2):
        wanted = pieces(killed) + moments.randint(1, pieces(whole) // 4)
        job = start(spec, killed, environment)
        wait_for(lambda wanted=wanted, job=job: pieces(killed) >= wanted or job.poll() is not None)
        workers = [pid for pid in children(job.pid) if is_worker(pid)]
        job.send_signal(signal.SIGKILL)
        assert job.wait() == -signal.SIGKILL
        assert workers
        assert not (killed / CELLS.file_name).exists()
        # Orphans would go on, and keep their cells locked.
        wait_for(lambda workers=workers: not any(is_worker(pid) for pid in workers), 60)
        if job.stdout is not None:
            job.stdout.close()
    finish(start(spec, killed, environment))
    assert stable_text(killed) == stable_text(whole)
    for table in ("structures.csv", "rates.csv", "differences.csv"):
        assert (killed / table).read_bytes() == (whole / table).read_bytes()


def test_a_dying_worker_fails_its_cell_alone() -> None:
    with worker_pool(2) as pool:
        pool.submit("dies", os._exit, 3)
        pool.submit("lives", len, "four")
        ended = []
        while not pool.is_idle:
            ended += pool.next_ended(60)
        # The place is filled again.
        pool.submit("after", len, "three")
        ended += pool.next_ended(60)
    found = {one.key: one for one in ended}
    assert found["lives"].value == 4
    assert found["after"].value == 5
    assert found["dies"].reason is not None
    assert "worker process died" in found["dies"].reason


def test_errors_of_tasks_become_reasons() -> None:
    with worker_pool(1) as pool:
        pool.submit("a", raise_input_error)
        (ended,) = pool.next_ended(60)
        pool.submit("b", int, "no number")
        (other,) = pool.next_ended(60)
    assert ended.reason == "no such thing"
    assert other.reason is not None
    assert other.reason.startswith("unforeseen: ValueError")


def raise_input_error() -> None:
    raise InputError("no such thing")
