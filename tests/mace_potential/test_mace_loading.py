"""What is refused before mace is asked, with or without the package."""

from __future__ import annotations

from pathlib import Path

import pytest

from chggen_kit.errors import CheckpointError, InputError
from chggen_mace.loading import load_model
from chggen_mace.options import MaceOptions
from chggen_mace.releases import RELEASES


def test_a_pickle_is_not_loaded_unless_it_is_trusted(tmp_path: Path) -> None:
    file = tmp_path / "some.model"
    file.write_bytes(b"never read")
    with pytest.raises(InputError, match=r"can run any code .* trust_pickle=true"):
        load_model(MaceOptions(model=str(file), energy_frame="raw-pbe"))
    with pytest.raises(InputError, match="trust_pickle=true"):
        load_model(MaceOptions(model="medium-mpa-0"))


def test_the_frame_of_a_file_must_be_given(tmp_path: Path) -> None:
    file = tmp_path / "some.model"
    file.write_bytes(b"never read")
    with pytest.raises(InputError, match=r"some\.model .* give energy_frame"):
        load_model(MaceOptions(model=str(file), trust_pickle=True))


def test_a_model_that_is_nowhere() -> None:
    with pytest.raises(CheckpointError, match=r"no MACE model at /nowhere/some\.model"):
        load_model(MaceOptions(model="/nowhere/some.model", energy_frame="unknown", trust_pickle=True))
    with pytest.raises(CheckpointError, match="Did you mean 'medium"):
        load_model(MaceOptions(model="medium-mpa", trust_pickle=True))


def test_frames_that_differ_have_different_names() -> None:
    assert RELEASES["medium"].energy_frame == RELEASES["medium-mpa-0"].energy_frame == "raw-pbe"
    frames = {
        RELEASES[n].energy_frame for n in ("medium", "medium-omat-0", "mace-matpes-pbe-0", "mace-matpes-r2scan-0")
    }
    assert len(frames) == 4
