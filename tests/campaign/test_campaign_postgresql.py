"""Results of a campaign in a real PostgreSQL server, where one is installed."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from campaign_toys import rows_of, toy_spec

from chggen_kit.campaign import Campaign
from chggen_kit.errors import InputError, RunDirectoryError


def _binaries() -> Path | None:
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = shutil.which("initdb")
    return next((one for one in folders if (one / "initdb").exists()), Path(found).parent if found else None)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """URL of a server that lives as long as the module's tests."""
    binaries = _binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL server is installed (initdb was not found)")
    for package in ("ase_db_backends", "psycopg2"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"the package {package} of the extra `postgresql` is not installed")
    # The server refuses to run as root, and its user must be able to reach the folder.
    as_user: dict[str, Any] = {"user": "postgres"} if os.geteuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="chggen-pg-"))
    if as_user:
        shutil.chown(folder, "postgres")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common: dict[str, Any] = {**as_user, "cwd": folder, "capture_output": True, "timeout": 120}
    data = str(folder / "data")
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    subprocess.run([str(binaries / "initdb"), "-D", data, "-A", "trust", "-U", "chggen"], check=True, **common)  # noqa: S603  of the system
    log = str(folder / "log")
    # A server that kept our pipe would keep us waiting for its end.
    quiet = {**common, "capture_output": False, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([str(binaries / "pg_ctl"), "-D", data, "-o", options, "-l", log, "-w", "start"], check=True, **quiet)  # noqa: S603
    try:
        yield f"postgresql://chggen:secret@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([str(binaries / "pg_ctl"), "-D", data, "-m", "immediate", "stop"], check=True, **quiet)  # noqa: S603
        shutil.rmtree(folder)


def _campaign(folder: Path, name: str) -> Campaign:
    from workflow_toys import toy_registry

    return Campaign(toy_spec(name=name, targets=[{"formulas": ["LiSi"]}]), folder, registry=toy_registry())


def test_results_equal_those_in_sqlite(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "workflow"))
    one, other = _campaign(tmp_path / "one", "one"), _campaign(tmp_path / "other", "other")
    for campaign in (one, other):
        campaign.run()
        campaign.collect(database=server)
    collected = one.collect(database=server)  # once more: it replaces its own rows, and no others
    assert "secret" not in collected.database
    one.collect()
    stored = rows_of(server)
    assert {row["campaign"] for row in stored} == {"one", "other"}
    assert [row for row in stored if row["campaign"] == "one"] == rows_of(tmp_path / "one" / "results.db")


def test_a_database_that_is_not_there_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("psycopg2")
    pytest.importorskip("ase_db_backends")
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "workflow"))
    with pytest.raises(RunDirectoryError, match=r"postgresql://me@127\.0\.0\.1:1/x cannot be used"):
        _campaign(tmp_path, "one").collect(database="postgresql://me:secret@127.0.0.1:1/x")
    with pytest.raises(InputError, match="no PostgreSQL URL"):
        _campaign(tmp_path, "one").collect(database="mysql://me:secret@there/x")
