"""Campaigns whose workers and drivers are killed at random: the results are those of one that was never disturbed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from campaign_toys import chggen, completions, digest_of, install_toys, rows_of, states_of, write_spec

DRIVER = "from chggen_kit.cli import main; main()"
TARGETS = [{"pattern": "Li_xSi_y", "ranges": {"x": [1, 4], "y": [1, 4]}}]


def workers_of(driver: int) -> list[int]:
    """Worker processes of a driver (its resource tracker, which multiprocessing starts too, is none)."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if int(fields[1]) == driver and b"spawn_main" in command:
            found.append(int(folder.name))
    return found


def kill_at_random(spec: Path, out: Path, environment: dict[str, str], kills: int, seed: int) -> tuple[int, int]:
    """Run a campaign to its end with so many SIGKILLs in between, at most; how many hit a driver, and a worker."""
    chance = random.Random(seed)  # noqa: S311  times of kills
    hit = {"driver": 0, "worker": 0}
    while True:
        driver = subprocess.Popen(  # noqa: S603  our own command
            [sys.executable, "-c", DRIVER, "campaign", "run", str(spec), "--out", str(out), "--workers", "2"],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while driver.poll() is None:
            time.sleep(chance.uniform(0.05, 1.0))
            workers = workers_of(driver.pid)
            if sum(hit.values()) >= kills or not workers:
                continue
            if chance.random() < 0.7:
                os.kill(chance.choice(workers), signal.SIGKILL)
                hit["worker"] += 1
            elif driver.poll() is None:
                driver.kill()
                hit["driver"] += 1
        if driver.wait() == 0:
            return hit["driver"], hit["worker"]
        assert driver.returncode == -signal.SIGKILL, "it ended by itself, with an error"


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_random_kills_change_nothing(tmp_path: Path) -> None:
    kills = int(os.environ.get("CHGGEN_TEST_KILLS", "50"))
    environment = install_toys(tmp_path / "site")
    spec = write_spec(tmp_path / "spec.yaml", targets=TARGETS, worker_deaths=1000, starts=6)
    calm, disturbed = tmp_path / "calm", tmp_path / "disturbed"
    ended = chggen(environment, "campaign", "run", spec, "--out", calm, "--workers", 2)
    assert ended.returncode == 0, ended.stderr
    drivers, workers = kill_at_random(spec, disturbed, environment, kills, seed=1)
    assert drivers + workers > 0
    assert set(states_of(disturbed)) == {"done"}
    assert max(completions(disturbed)) == 1
    assert digest_of(disturbed) == digest_of(calm)
    for folder in (calm, disturbed):
        ended = chggen(environment, "campaign", "collect", spec, "--out", folder)
        assert ended.returncode == 0, ended.stderr
    assert rows_of(disturbed / "results.db") == rows_of(calm / "results.db")
