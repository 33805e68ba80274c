"""kill -9 at random moments: the run goes on and ends with the rows of one that was never killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest
from workflow_rows import read_rows

# Imports once, and forks a process for every line that names a run directory: the test kills those.
SERVER = """
import os, sys
from pathlib import Path
from workflow_toys import TOY_SETTINGS, toy_registry
from chggen_kit.workflow.config import GenerateConfig, build_config
from chggen_kit.workflow.pipeline import run_generate

registry = toy_registry()
settings = {"formula": "ZnP2S2", "n": 4, "guests": "Zn", "micro_batch_atoms": 10, **TOY_SETTINGS}
config = build_config(GenerateConfig, settings, registry)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        run_generate(config, Path(line.strip()), registry=registry)
        os._exit(0)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Job(Protocol):
    """A process that works on a run."""

    pid: int

    def poll(self) -> int | None: ...

    def wait(self) -> int: ...


@dataclass
class Forked:
    """A child of the server."""

    server: subprocess.Popen[str]
    pid: int

    def poll(self) -> int | None:
        # The server waits for its child, so a finished one is gone.
        return None if Path(f"/proc/{self.pid}").exists() else 0

    def wait(self) -> int:
        assert self.server.stdout is not None
        return int(self.server.stdout.readline())


@pytest.fixture
def launch() -> Iterator[Callable[[Path], Job]]:
    """Start a run over the small plug-ins in a process of its own."""
    server = subprocess.Popen(  # noqa: S603 - our own code
        [sys.executable, "-c", SERVER],
        cwd=Path(__file__).parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def start(out: Path) -> Job:
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(f"{out}\n")
        server.stdin.flush()
        return Forked(server, int(server.stdout.readline()))

    yield start
    server.kill()
    server.communicate()


def finished_pieces(out: Path) -> int:
    return len(list((out / "shards").glob("*.json")))


def kill_at(launch: Callable[[Path], Job], out: Path, pieces: int, then_s: float) -> bool:
    """Kill a job `then_s` seconds after `pieces` more pieces are finished; False when it ended before."""
    wanted = finished_pieces(out) + pieces
    job = launch(out)
    while finished_pieces(out) < wanted and job.poll() is None:
        time.sleep(0.002)
    time.sleep(then_s)
    if job.poll() is None:
        os.kill(job.pid, signal.SIGKILL)
    return job.wait() == -signal.SIGKILL


def check_kills(launch: Callable[[Path], Job], tmp_path: Path, seed: int) -> None:
    """Three kills and then to the end gives the rows of an uninterrupted run."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert launch(whole).wait() == 0
    moments = random.Random(seed)  # noqa: S311 - no secrets here
    longest = finished_pieces(whole) // 5
    for _ in range(3):
        assert kill_at(launch, killed, moments.randint(1, longest), moments.uniform(0, 0.1))
        assert not (killed / "results.db").exists()
    assert launch(killed).wait() == 0
    assert read_rows(killed / "results.db") == read_rows(whole / "results.db")
    assert not list(killed.rglob("*.tmp"))


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="watches processes through /proc")
def test_killed_three_times_and_started_again(launch: Callable[[Path], Job], tmp_path: Path) -> None:
    check_kills(launch, tmp_path, seed=1)
