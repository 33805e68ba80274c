"""What goes wrong in another interpreter ends in a clear error, and leaves nothing behind."""

from __future__ import annotations

import gc
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import isolated_toys
import pytest

from chggen_kit.errors import CheckpointError, PluginError
from chggen_kit.interfaces import Potential
from chggen_kit.isolated import frames, process
from chggen_kit.plugins import Registry
from chggen_kit.testing.crystals import face_centred

COPPER = face_centred(29, 3.6)
FOLDER = str(Path(__file__).parent)


@pytest.fixture(autouse=True)
def _table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The potential `toy` runs in a second copy of this interpreter."""
    monkeypatch.chdir(tmp_path)
    limit_to(600)


def limit_to(seconds: float) -> None:
    Path("chggen.toml").write_text(f'[environments.toy]\npython = "{sys.executable}"\ntimeout_s = {seconds}\n')


@pytest.fixture
def registry() -> Registry:
    return Registry.from_modules([isolated_toys])


def toy(registry: Registry, fault: str = "") -> Potential:
    return registry.create_potential("toy", {"fault": fault})


def pid_of(potential: Potential) -> int:
    return int(potential.info.name.split()[-1])


def alive(pid: int) -> bool:
    """Whether the process exists, be it as a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def gone(pid: int, within_s: float = 60.0) -> bool:
    end = time.monotonic() + within_s
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not alive(pid)


def test_what_the_package_prints_does_not_disturb(registry: Registry) -> None:
    potential = toy(registry)
    assert pid_of(potential) != os.getpid()
    energies = [potential.evaluate(COPPER).energies.item() for _ in range(3)]
    assert energies == [isolated_toys.PairPotential().evaluate(COPPER).energies.item()] * 3


def test_a_worker_goes_on_after_errors_and_leaves_no_process(registry: Registry) -> None:
    potential = toy(registry)
    with pytest.raises(PluginError, match=r"(?s)ZeroDivisionError: nobody is told.*traceback:.*isolated_toys.py"):
        potential.evaluate(COPPER.select([0] * isolated_toys.RAISE))
    with pytest.raises(MemoryError, match="too many atoms"):
        potential.evaluate(COPPER.select([0] * isolated_toys.MEMORY))
    assert potential.evaluate(COPPER).energies.shape == (1,)
    pid = pid_of(potential)
    del potential
    gc.collect()
    assert gone(pid)


def test_a_crash_is_reported_with_the_end_of_the_log(registry: Registry) -> None:
    potential = toy(registry, "crash")
    with pytest.raises(PluginError, match=r"(?s)'toy'.* died during 'evaluate'.*SIGABRT.*the last words"):
        potential.evaluate(COPPER)
    assert gone(pid_of(potential))
    with pytest.raises(PluginError, match="is gone"):
        potential.evaluate(COPPER)


def test_an_exit_is_reported_with_its_status(registry: Registry) -> None:
    with pytest.raises(PluginError, match="exit status 7"):
        toy(registry, "leave").evaluate(COPPER)


def test_a_killed_worker_hints_at_memory(registry: Registry) -> None:
    potential = toy(registry)
    os.kill(pid_of(potential), signal.SIGKILL)
    with pytest.raises(PluginError, match="SIGKILL, as happens when memory runs out"):
        potential.evaluate(COPPER)


def test_a_worker_that_hangs_is_ended(registry: Registry) -> None:
    limit_to(2)
    potential = toy(registry, "hang")
    with pytest.raises(PluginError, match=r"did not answer within 2 s .*timeout_s"):
        potential.evaluate(COPPER)
    assert gone(pid_of(potential))


def test_a_stopped_worker_that_reads_nothing_is_ended(registry: Registry) -> None:
    """The request does not fit into the pipe: writing it must not block for ever."""
    limit_to(2)
    potential = toy(registry)
    os.kill(pid_of(potential), signal.SIGSTOP)
    many = face_centred(29, 3.6).select([0] * 2000)
    with pytest.raises(PluginError, match="did not answer within 2 s"):
        potential.evaluate(many)
    assert gone(pid_of(potential))


def test_errors_of_loading_keep_their_kind(registry: Registry) -> None:
    with pytest.raises(CheckpointError, match="no such weights"):
        toy(registry, "checkpoint")


def test_closing_twice_is_closing_once(registry: Registry) -> None:
    potential = toy(registry)
    potential.close()  # type: ignore[attr-defined]  # isolated potentials have it
    potential.close()  # type: ignore[attr-defined]
    assert gone(pid_of(potential))


PARENT = """
import os, signal, sys
# Where tests run in the background Ctrl-C is ignored, and programs inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path[:0] = {path!r}
import isolated_toys
from chggen_kit.plugins import Registry
from chggen_kit.testing.crystals import face_centred
potential = Registry.from_modules([isolated_toys]).create_potential("toy", {{"fault": {fault!r}}})
print(potential.info.name.split()[-1], flush=True)
{end}
"""


@pytest.mark.parametrize(
    ("fault", "end", "deadly"),
    [
        ("", "raise SystemExit(0)", None),
        ("hang", "potential.evaluate(face_centred(29, 3.6))", signal.SIGKILL),
        ("hang", "potential.evaluate(face_centred(29, 3.6))", signal.SIGINT),
    ],
)
def test_a_worker_never_outlives_its_parent(fault: str, end: str, deadly: signal.Signals | None) -> None:
    path = [FOLDER, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    program = textwrap.dedent(PARENT.format(path=[p for p in path if p], fault=fault, end=end))
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as parent:  # noqa: S603
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        if deadly is not None:
            time.sleep(0.5)  # so that the request has been sent
            parent.send_signal(deadly)
        parent.wait(timeout=120)
    assert gone(worker)


def test_a_missing_requirement_is_named_with_the_right_pip(registry: Registry) -> None:
    line = rf"no-such-library>=1.*{re.escape(sys.executable)} -m pip install 'no-such-library>=1'"
    with pytest.raises(PluginError, match=line):
        registry.create_potential(f"needy@{sys.executable}")
    with pytest.raises(PluginError, match="environment of its own: needy@/path"):
        registry.create_potential("needy")


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """An environment without any package."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)  # noqa: S603
    return tmp_path / "bare"


def test_an_environment_without_torch_is_told_what_to_install(registry: Registry, bare: Path) -> None:
    with pytest.raises(PluginError, match=rf"{re.escape(str(bare))}/bin/python -m pip install \w+.*numpy, packaging"):
        registry.create_potential(f"toy@{bare}")


def test_the_kit_must_be_installed_where_its_source_is_not_shared(registry: Registry, bare: Path) -> None:
    Path("chggen.toml").write_text(f'[environments.toy]\npython = "{bare}"\nkit = "installed"\n')
    with pytest.raises(PluginError, match=r"chggen-kit is not installed there.*-m pip install chggen-kit"):
        toy(registry)


def test_another_version_of_the_protocol_is_refused(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "PROTOCOL", frames.PROTOCOL + 1)
    with pytest.raises(PluginError, match=r"speaks version 1 of the protocol, this kit .* version 2"):
        toy(registry)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("print('Welcome!'); import time; time.sleep(1)", r"died during 'start'"),
        ("import sys; sys.exit('no licence file')", r"(?s)exit status 1.*no licence file"),
        ("import os; os.write(1, b'CHGW' + b'\\xff' * 12)", r"cannot be understood.*announces a frame"),
        ("import os; os.write(1, b'CHGW' + bytes([0] * 3 + [2] + [0] * 8) + b'{]')", r"damaged frame"),
    ],
)
def test_something_that_is_no_worker_at_all(registry: Registry, tmp_path: Path, script: str, message: str) -> None:
    fake = tmp_path / "python"
    fake.write_text(f"#!{sys.executable}\n{script}\n")
    fake.chmod(0o755)
    with pytest.raises(PluginError, match=message):
        registry.create_potential(f"toy@{fake}")


def test_noise_before_the_first_frame_is_skipped(registry: Registry, tmp_path: Path) -> None:
    """An interpreter may print before it runs our code: from a .pth file or a wrapper script."""
    wrapper = tmp_path / "python"
    wrapper.write_text(f'#!/bin/sh\necho Loading module python CHGX CHG\nexec {sys.executable} "$@"\n')
    wrapper.chmod(0o755)
    potential = registry.create_potential(f"toy@{wrapper}")
    assert potential.evaluate(COPPER).energies.shape == (1,)
