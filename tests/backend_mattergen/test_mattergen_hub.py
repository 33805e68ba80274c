"""Released models by name: found, downloaded once, compared, and explained when they cannot be had."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mattergen_toys import make_checkpoint

from chggen_kit.errors import CheckpointError
from chggen_mattergen import hub
from chggen_mattergen.checkpoint import load_checkpoint
from chggen_mattergen.hub import find_model


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, mattergen_installed: None) -> Path:
    del mattergen_installed
    return make_checkpoint(tmp_path_factory.mktemp("loading"))


def test_released_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"Did you mean.*'mattergen_base'"):
        find_model("matergen_base")
    with pytest.raises(CheckpointError, match="There is no folder"):
        find_model("models/mattergen_base")
    huggingface_hub = pytest.importorskip("huggingface_hub")

    def offline(*_: Any, **__: Any) -> str:
        raise FileNotFoundError("no connection")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    with pytest.raises(CheckpointError, match=r"no connection.*checkpoints/mattergen_base/config\.yaml.*--checkpoint"):
        find_model("mattergen_base")
    assert find_model(str(tmp_path)) == tmp_path


def test_any_failure_of_a_download_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors of httpx derive from Exception alone."""
    huggingface_hub = pytest.importorskip("huggingface_hub")

    class TransportError(Exception):
        pass

    def refused(*_: Any, local_files_only: bool = False) -> str:
        if local_files_only:
            raise FileNotFoundError("not in the cache")
        raise TransportError("[Errno 111] refused")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refused)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(CheckpointError, match=r"cannot be downloaded: \[Errno 111\] refused\. On a machine") as caught:
        find_model("mattergen_base")
    assert "offline" not in str(caught.value)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match="the offline mode of huggingface_hub is on"):
        find_model("mattergen_base")


def test_downloads_are_cached_and_compared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, base: Path) -> None:
    """The hub's cache keeps a large file under its SHA-256, and links to it."""
    huggingface_hub = pytest.importorskip("huggingface_hub")
    weights = (base / "checkpoints" / "last.ckpt").read_bytes()
    asked: list[bool] = []

    def download(_: str, file: str, *, local_files_only: bool = False) -> str:
        asked.append(local_files_only)
        path = tmp_path / file
        if local_files_only and not path.exists():
            raise FileNotFoundError(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        if file.endswith(".ckpt") and not path.exists():
            blob = tmp_path / hub.sha256_of(base / "checkpoints" / "last.ckpt")
            blob.write_bytes(weights)
            path.symlink_to(blob)
        elif not path.exists():
            path.write_text((base / "config.yaml").read_text())
        return str(path)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    folder = find_model("mattergen_base")
    assert load_checkpoint(folder).name == "mattergen_base"
    asked.clear()
    assert find_model("mattergen_base") == folder
    assert asked == [True, True]  # no network when it is in the cache
    (folder / "checkpoints" / "last.ckpt").resolve().write_bytes(weights[:-1] + b"x")
    with pytest.raises(CheckpointError, match="does not have the checksum"):
        find_model("mattergen_base")
