"""A plug-in in another interpreter is the same plug-in: equal bit for bit, same errors, same conformance."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import chggen_kit
from chggen_kit.errors import InputError, PluginError
from chggen_kit.interfaces import Potential, SamplingTask, ScoreModel
from chggen_kit.plugins import Registry, get_registry
from chggen_kit.state import CrystalBatch, Known
from chggen_kit.testing import check_potential, check_score_model
from chggen_kit.testing.crystals import covered, disturbed, rocksalt, textbook_crystals


@pytest.fixture(scope="module")
def registry() -> Registry:
    return get_registry()


@pytest.fixture(scope="module")
def here(registry: Registry) -> Potential:
    return registry.create_potential("chgnet", {"weights": "r2scan"})


@pytest.fixture(scope="module")
def twin(registry: Registry) -> Iterator[Potential]:
    potential = registry.create_potential(f"chgnet@{sys.executable}", {"weights": "r2scan"})
    yield potential
    potential.close()  # type: ignore[attr-defined]  # isolated potentials have it


@pytest.fixture(scope="module")
def model(registry: Registry) -> ScoreModel:
    return registry.create_score_model("nequip")


@pytest.fixture(scope="module")
def twin_model(registry: Registry) -> Iterator[ScoreModel]:
    model = registry.create_score_model(f"nequip@{sys.executable}")
    yield model
    model.close()  # type: ignore[attr-defined]  # as above


@pytest.fixture(scope="module")
def crystals() -> CrystalBatch:
    return disturbed(textbook_crystals(), rattle_A=0.1, strain=0.02, seed=5)


def test_a_potential_and_its_twin_are_equal(here: Potential, twin: Potential, crystals: CrystalBatch) -> None:
    assert twin.info == here.info
    for batch in (crystals, crystals.select([3, 1]), crystals):
        expected, result = here.evaluate(batch), twin.evaluate(batch)
        for name in ("energies", "forces", "stresses"):
            assert torch.equal(getattr(result, name), getattr(expected, name)), name


def test_the_twin_of_a_potential_obeys_the_laws(twin: Potential) -> None:
    check_potential(twin).raise_if_failed()


def test_errors_of_the_kit_cross_the_pipe(twin: Potential, registry: Registry) -> None:
    strange = rocksalt(86, 17, 6.0)
    with pytest.raises(InputError, match=r"does not cover .*\[86\]"):
        twin.evaluate(strange)
    assert torch.isfinite(twin.evaluate(rocksalt(11, 17, 5.6)).energies).all(), "it goes on after an error"
    with pytest.raises(InputError, match="weights"):
        registry.create_potential(f"chgnet@{sys.executable}", {"weights": "0.0.1"})


def test_a_score_model_and_its_twin_are_equal(
    model: ScoreModel, twin_model: ScoreModel, crystals: CrystalBatch
) -> None:
    assert twin_model.capabilities == model.capabilities
    assert tuple(twin_model.times(20)) == tuple(model.times(20))
    held_out = model.never_trained_on(["NaCl", "MgO", "Li3PS4", "ZnS"])
    assert twin_model.never_trained_on(["NaCl", "MgO", "Li3PS4", "ZnS"]) == held_out
    assert {n: (p.kind, p.parameters()) for n, p in twin_model.processes.items()} == {
        n: (p.kind, p.parameters()) for n, p in model.processes.items()
    }
    batch = covered(crystals, model.capabilities.elements)
    fields, twins = (m.encode(batch, Known.coordinates_only(batch)) for m in (model, twin_model))
    assert list(fields) == list(twins)
    assert all(torch.equal(fields[name], twins[name]) for name in fields)
    t = torch.linspace(0.1, 0.9, batch.n_crystals)
    expected, result = model.predict(fields, t), twin_model.predict(twins, t)
    assert list(result) == ["frac_coords"]
    assert torch.equal(result["frac_coords"], expected["frac_coords"])
    decoded = twin_model.decode(twins)
    for name in ("frac_coords", "lattice", "species", "num_atoms"):
        assert torch.equal(getattr(decoded, name), getattr(model.decode(fields), name))


@pytest.mark.slow  # what it measures is equal, bit for bit, to what the other tests of this file compare
def test_the_twin_of_a_score_model_obeys_the_laws(twin_model: ScoreModel) -> None:
    check_score_model(twin_model).raise_if_failed()


def test_sampling_does_not_tell_the_difference(registry: Registry, model: ScoreModel, twin_model: ScoreModel) -> None:
    batch = CrystalBatch.concatenate([rocksalt(12, 8, 4.2), rocksalt(11, 17, 5.6)])
    task = SamplingTask(batch, Known.coordinates_only(batch, batch.species > 10))
    sampler = registry.create_sampler("replace", {"steps": 4})
    expected, result = (sampler.sample(m, task, seed=3) for m in (model, twin_model))
    assert torch.equal(result.crystals.frac_coords, expected.crystals.frac_coords)


def test_notes_of_two_batches_are_kept_apart_and_foreign_ones_refused(
    model: ScoreModel, twin_model: ScoreModel
) -> None:
    one, two = rocksalt(12, 8, 4.2), rocksalt(11, 17, 5.6)
    first, second = (twin_model.encode(b, Known.coordinates_only(b)) for b in (one, two))
    assert torch.equal(twin_model.decode(first).lattice, one.lattice)
    assert torch.equal(twin_model.decode(second).lattice, two.lattice)
    with pytest.raises(InputError, match="not encoded by"):
        twin_model.decode(model.encode(one, Known.coordinates_only(one)))


def test_notes_are_forgotten_with_their_last_copy(twin_model: ScoreModel) -> None:
    batch = rocksalt(12, 8, 4.2)
    fields = twin_model.encode(batch, Known.coordinates_only(batch))
    later = fields.updated(frac_coords=fields["frac_coords"] * 0.5)
    stale = dict(vars(fields.context.private["isolated"]))
    del fields
    gc.collect()
    assert twin_model.decode(later).n_atoms == 8, "a copy still holds them"
    request = twin_model._request(later)  # type: ignore[attr-defined]  # isolated models have it
    del later
    gc.collect()
    with pytest.raises(PluginError, match="their batch is gone"):
        stale["worker"].request("decode", request[1], **request[0])


def test_the_kit_that_is_installed_there_can_be_used(
    here: Potential, crystals: CrystalBatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ask = "import chggen_kit; print(chggen_kit.__file__)"
    installed = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", ask], env=variables, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    if installed.stdout.strip() != chggen_kit.__file__:
        pytest.skip("the kit that is installed is not the source that is tested")
    (tmp_path / "chggen.toml").write_text(f'[environments.own]\npython = "{sys.executable}"\nkit = "installed"\n')
    monkeypatch.chdir(tmp_path)
    twin = get_registry().create_potential("chgnet@own", {"weights": "r2scan"})
    assert torch.equal(twin.evaluate(crystals).energies, here.evaluate(crystals).energies)


def test_as_many_threads_as_here(here: Potential, twin: Potential, crystals: CrystalBatch) -> None:
    """Sums depend on the number of threads in their last bits, so it has to be the same on both sides."""
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert torch.equal(twin.evaluate(crystals).forces, here.evaluate(crystals).forces)
    finally:
        torch.set_num_threads(threads)
