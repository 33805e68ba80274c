"""Checkpoints load strictly, and the shipped one denoises."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from chggen_kit.errors import CheckpointError, InputError
from chggen_kit.state import CrystalBatch, Known
from chggen_kit.testing import check_score_model
from chggen_kit.testing.crystals import disturbed, perovskite, rocksalt, textbook_crystals
from chggen_nequip.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from chggen_nequip.model import SHIPPED, NequipScoreModel, load, model_card
from chggen_nequip.network import Architecture, ScoreNetwork
from chggen_nequip.objective import relative_errors
from chggen_nequip.options import NequipOptions

SMALL = Architecture(hidden=(8, 4), layers=1)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "small.safetensors"
    save_checkpoint(Checkpoint(ScoreNetwork(SMALL), 0.01, 3.0, frozenset({11, 17}), 20, {"note": "n"}), path)
    return path


@pytest.fixture(scope="module")
def shipped() -> NequipScoreModel:
    return load(NequipOptions())


def rewrite(path: Path, *, header: dict[str, object] | None = None, drop: str = "", add: str = "") -> None:
    """Write the checkpoint again, with changes."""
    with safe_open(path, "pt") as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        old = json.loads(file.metadata()["chggen_nequip"])
    weights.pop(drop, None)
    if add:
        weights[add] = torch.zeros(1)
    path.write_bytes(save(weights, metadata={"chggen_nequip": json.dumps({**old, **(header or {})})}))


def test_round_trip(checkpoint: Path) -> None:
    loaded = load_checkpoint(checkpoint)
    assert loaded.network.architecture == SMALL
    assert (loaded.sigma_min, loaded.sigma_max, loaded.max_atoms) == (0.01, 3.0, 20)
    assert loaded.elements == {11, 17}
    assert loaded.facts == {"note": "n"}
    save_checkpoint(loaded, checkpoint.with_name("again.safetensors"))
    assert load_checkpoint(checkpoint.with_name("again.safetensors")).sha256 == loaded.sha256


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        load_checkpoint(tmp_path / "nothing.safetensors")


@pytest.mark.parametrize("keep", [0, 4, 100, 0.5, 0.99])
def test_truncated_file(checkpoint: Path, keep: float) -> None:
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(content[: int(keep * len(content)) if keep < 1 else int(keep)])
    with pytest.raises(CheckpointError, match="truncated"):
        load_checkpoint(checkpoint)


def test_pickle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pickle.safetensors"
    torch.save({"weights": torch.zeros(3)}, path)
    with pytest.raises(CheckpointError, match="not a readable safetensors file"):
        load_checkpoint(path)


def test_missing_weight(checkpoint: Path) -> None:
    rewrite(checkpoint, drop="species_features.weight")
    with pytest.raises(CheckpointError, match=r"missing \['species_features.weight'\]"):
        load_checkpoint(checkpoint)


def test_extra_weight(checkpoint: Path) -> None:
    rewrite(checkpoint, add="stranger")
    with pytest.raises(CheckpointError, match=r"not wanted \['stranger'\]"):
        load_checkpoint(checkpoint)


def test_wrong_shapes(checkpoint: Path) -> None:
    rewrite(checkpoint, header={"architecture": {**SMALL.to_dict(), "hidden": [16, 4]}})
    with pytest.raises(CheckpointError, match="wrong shapes"):
        load_checkpoint(checkpoint)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"format": "another"}, "not 'chggen-nequip-1'"),
        ({"architecture": {}}, "header"),
        ({"architecture": {**SMALL.to_dict(), "colour": 1}}, "header"),
        ({"architecture": [1]}, "header"),
        ({"elements": ["x"]}, "header"),
        ({"elements": []}, "header"),
        ({"elements": [11, 104]}, "header"),
        ({"sigma_min": "small"}, "header"),
        ({"sigma_min": "0.01"}, "header"),
        ({"sigma_min": 0}, "header"),
        ({"sigma_min": 3.0}, "header"),
        ({"sigma_max": float("inf")}, "header"),
        ({"sigma_max": 10**400}, "header"),
        ({"max_atoms": 0}, "header"),
        ({"max_atoms": 2.5}, "header"),
        ({"facts": []}, "header"),
    ],
)
def test_other_header(checkpoint: Path, header: dict[str, object], message: str) -> None:
    rewrite(checkpoint, header=header)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(checkpoint)


@pytest.mark.parametrize("name", sorted(SMALL.to_dict().keys() - {"product_channels"}))
def test_no_default_stands_in_for_a_missing_hyper_parameter(checkpoint: Path, name: str) -> None:
    incomplete = {key: value for key, value in SMALL.to_dict().items() if key != name}
    rewrite(checkpoint, header={"architecture": incomplete})
    with pytest.raises(CheckpointError, match=name):
        load_checkpoint(checkpoint)


def test_a_network_from_before_products_has_none(checkpoint: Path) -> None:
    older = {key: value for key, value in SMALL.to_dict().items() if key != "product_channels"}
    rewrite(checkpoint, header={"architecture": older})
    assert load_checkpoint(checkpoint).network.architecture == SMALL


@pytest.mark.parametrize(
    "changes",
    [
        {"cutoff": 0},
        {"cutoff": -5.0},
        {"cutoff": "5"},
        {"cutoff": True},
        {"cutoff": float("nan")},
        {"mean_neighbours": 0},
        {"mean_neighbours": -1.0},
        {"hidden": []},
        {"hidden": [8, 0]},
        {"hidden": [8, 4.0]},
        {"hidden": [8]},
        {"hidden": [8, 10**9]},
        {"hidden": "84"},
        {"hidden": [8] * 20},
        {"layers": 0},
        {"layers": 10**9},
        {"n_bessel": 10.0},
    ],
    ids=str,
)
def test_hyper_parameters_out_of_range(checkpoint: Path, changes: dict[str, object]) -> None:
    rewrite(checkpoint, header={"architecture": {**SMALL.to_dict(), **changes}})
    with pytest.raises(CheckpointError, match=next(iter(changes))):
        load_checkpoint(checkpoint)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x.double(), "is float64"),
        (lambda x: x.half(), "is float16"),
        (lambda x: torch.full_like(x, float("nan")), "not finite"),
        (lambda x: torch.full_like(x, float("inf")), "not finite"),
    ],
)
def test_weights_are_finite_float32(checkpoint: Path, change: Callable[[Tensor], Tensor], message: str) -> None:
    with safe_open(checkpoint, "pt") as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        metadata = file.metadata()
    weights["species_features.weight"] = change(weights["species_features.weight"])
    checkpoint.write_bytes(save(weights, metadata=metadata))
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(checkpoint)


def test_checkpoints_are_float32_whatever_the_default(checkpoint: Path) -> None:
    torch.set_default_dtype(torch.float64)
    try:
        network = load_checkpoint(checkpoint).network
    finally:
        torch.set_default_dtype(torch.float32)
    assert {weight.dtype for weight in network.parameters()} == {torch.float32}


def test_checksum(checkpoint: Path) -> None:
    with pytest.raises(CheckpointError, match="SHA-256"):
        load_checkpoint(checkpoint, sha256="0" * 64)


def test_unknown_device(checkpoint: Path) -> None:
    with pytest.raises(CheckpointError, match="device"):
        load(NequipOptions(checkpoint=checkpoint, device="abacus"))


def test_shipped_checkpoint_loads_quickly_and_matches_its_card(shipped: NequipScoreModel) -> None:
    del shipped  # loaded once already: imports are not what is timed
    started = time.process_time()
    model = load(NequipOptions())
    assert time.process_time() - started < 2
    assert model.capabilities.checkpoint_sha256 == model_card(SHIPPED)["sha256"]
    assert SHIPPED.stat().st_size < 15e6
    assert SHIPPED.with_suffix(".md").read_text().count(model.capabilities.checkpoint_sha256) == 1


def test_shipped_checkpoint_denoises_textbook_crystals() -> None:
    network = load_checkpoint(SHIPPED).network
    batch = textbook_crystals().to(dtype=torch.float32)
    errors = relative_errors(network, batch, cutoff=network.architecture.cutoff, sigmas=(0.1, 0.3))
    assert errors[0.1] < 0.6
    assert errors[0.3] < 0.6


def test_shipped_checkpoint_obeys_the_laws(shipped: NequipScoreModel) -> None:
    report = check_score_model(shipped)
    report.raise_if_failed()
    laws = {result.law for result in report}
    assert {"rotation", "improper-rotation", "translation", "permutation", "single-equals-batched"} <= laws


def test_decode_restores_the_users_cell_and_untouched_atoms(shipped: NequipScoreModel) -> None:
    batch = disturbed(textbook_crystals(), rattle_A=0.1, strain=0.02, seed=0)
    fields = shipped.encode(batch, Known.coordinates_only(batch))
    moved = fields["frac_coords"].clone()
    moved[0] = (moved[0] + 0.25) % 1
    back = shipped.decode(fields.updated(frac_coords=moved))
    assert torch.equal(back.lattice, batch.lattice)
    assert torch.equal(back.frac_coords[1:], batch.frac_coords[1:])
    offset = back.frac_coords[0] - batch.frac_coords[0] - 0.25
    assert float((offset - offset.round()).abs().max()) < 1e-6


def test_other_masks_are_refused(shipped: NequipScoreModel) -> None:
    batch = rocksalt(11, 17, 5.64)
    known = Known.coordinates_only(batch)
    with pytest.raises(InputError, match="'species'"):
        shipped.encode(batch, Known(known.frac_coords, ~known.species, known.lattice))
    with pytest.raises(InputError, match="'lattice'"):
        shipped.encode(batch, Known(known.frac_coords, known.species, ~known.lattice))


def test_foreign_element_is_refused(shipped: NequipScoreModel) -> None:
    batch = rocksalt(11, 17, 5.64)
    species = torch.where(batch.species == 11, 99, batch.species)
    einsteinium = CrystalBatch(batch.frac_coords, batch.lattice, species, batch.num_atoms)
    with pytest.raises(InputError, match="not trained on Es"):
        shipped.encode(einsteinium, Known.coordinates_only(einsteinium))


def test_large_batches_are_cut_without_a_trace(shipped: NequipScoreModel) -> None:
    batch = disturbed(perovskite(38, 22, 8, 3.91), rattle_A=0.1, strain=0.02, seed=0)
    many = batch.select([0] * 120)  # 600 atoms: more than one network call
    fields = shipped.encode(many, Known.coordinates_only(many))
    out = shipped.predict(fields, torch.full((120,), 0.2))["frac_coords"].view(120, 5, 3)
    torch.testing.assert_close(out, out[:1].expand(120, -1, -1), rtol=1e-4, atol=1e-5)
