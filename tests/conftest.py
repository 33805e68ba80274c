"""Fixtures and settings that all tests share."""

from __future__ import annotations

import importlib.metadata
import os

import pytest
from hypothesis import settings

# As the command line has it (see chggen_kit.cli.main), before any test loads torch.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Tests work on small crystals, for which a second thread costs more than it gives on a machine that is busy.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The first call of a compiled library is slow, and a busy machine slower still: time is pytest-timeout's business.
settings.register_profile("chggen", deadline=None)
settings.load_profile("chggen")


@pytest.fixture(autouse=True)
def _own_plugins_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Load the kit's own entry points only, so that no plug-in that happens to be installed changes a result."""
    distribution = importlib.metadata.distribution("chggen-kit")
    own = [e.name for e in distribution.entry_points.select(group="chggen_kit")]
    monkeypatch.setenv("CHGGEN_PLUGINS", ",".join(own))


@pytest.fixture(autouse=True)
def _own_environment_only(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the user's table of environments out, by which any plug-in could run somewhere else."""
    monkeypatch.delenv("CHGGEN_ENVIRONMENTS", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp() / "no-configuration"))


@pytest.fixture(autouse=True)
def _own_cache_only(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the user's cache of relaxed references out, and clean."""
    monkeypatch.setenv("CHGGEN_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def no_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Load no entry point at all."""
    monkeypatch.setenv("CHGGEN_PLUGINS", "")
