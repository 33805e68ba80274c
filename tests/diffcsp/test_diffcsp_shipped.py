"""The checkpoint that comes with the kit: it loads, obeys the laws of score models, and draws crystals."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

import pytest
import torch
from pymatgen.analysis.structure_matcher import StructureMatcher

from chggen_diffcsp.model import SHIPPED, DiffCSPScoreModel, load
from chggen_diffcsp.options import DiffCSPOptions
from chggen_kit.errors import CheckpointError
from chggen_kit.interfaces import SamplingTask
from chggen_kit.io.convert import to_structures
from chggen_kit.plugins import get_registry
from chggen_kit.state import Known
from chggen_kit.testing import check_score_model
from chggen_kit.testing.crystals import rocksalt
from chggen_kit.training.held_out import read_held_out


@pytest.fixture(scope="module")
def model() -> DiffCSPScoreModel:
    return load(DiffCSPOptions())


def test_the_file_is_the_one_of_its_card() -> None:
    card = json.loads(SHIPPED.with_suffix(".json").read_text())
    content = SHIPPED.read_bytes()
    assert card["sha256"] == hashlib.sha256(content).hexdigest()
    assert card["sha256"] in SHIPPED.with_suffix(".md").read_text()
    assert len(content) < 15e6
    assert str(len(read_held_out())) in card["training_set"]["selection"]


def test_it_loads_quickly(model: DiffCSPScoreModel) -> None:
    started = time.process_time()
    load(DiffCSPOptions())
    assert time.process_time() - started < 2
    assert model.capabilities.diffused == ("frac_coords", "lattice")


def test_it_obeys_the_laws(model: DiffCSPScoreModel) -> None:
    check_score_model(model).raise_if_failed()


def test_another_file_under_its_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytearray(SHIPPED.read_bytes())
    content[-1] ^= 1
    changed = tmp_path / SHIPPED.name
    changed.write_bytes(content)
    changed.with_suffix(".json").write_text(SHIPPED.with_suffix(".json").read_text())
    monkeypatch.setattr("chggen_diffcsp.model.SHIPPED", changed)
    with pytest.raises(CheckpointError, match=r"(?i)sha|checksum"):
        load(DiffCSPOptions())


def test_chlorine_finds_its_place_in_sodium(model: DiffCSPScoreModel) -> None:
    salt = rocksalt(11, 17, 5.64)
    known = Known(salt.species == 11, torch.ones_like(salt.species, dtype=torch.bool), torch.ones(1, dtype=torch.bool))
    copies = salt.select([0] * 8)
    task = SamplingTask(copies, known.select(salt, [0] * 8))
    result = get_registry().create_sampler("repaint", {"steps": 60}).sample(model, task, seed=0)
    assert torch.equal(result.crystals.frac_coords[copies.species == 11], copies.frac_coords[copies.species == 11])
    matcher, (known_salt,) = StructureMatcher(), to_structures(salt)
    hits = sum(matcher.fit(known_salt, drawn) for drawn in to_structures(result.crystals))
    assert hits >= 3  # random places manage less than 1 in 100
