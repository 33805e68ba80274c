"""Runs in which the score model makes the compositions, with a real MatterGen model of random weights."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path
from typing import Any

import pytest

from chggen_kit.errors import InputError
from chggen_kit.plugins import Registry
from chggen_kit.workflow.config import GenerateConfig, build_config
from chggen_kit.workflow.pipeline import default_directory, run_generate

sys.path.insert(0, str(Path(__file__).parents[1] / "backend_mattergen"))
from mattergen_toys import make_checkpoint, require_mattergen

SETTINGS: dict[str, Any] = {
    "backend": "mattergen",
    "unconditional_sampler": {"name": "predictor-corrector", "options": {"steps": 4}},
    "sampler": {"name": "replace", "options": {"steps": 4}},
    "max_steps": 2,
    "min_distance_A": 0.0,
    "n": 4,
}


@pytest.fixture(scope="module")
def registry() -> Registry:
    import chggen_chgnet.plugin
    import chggen_kit.plugins.builtin
    import chggen_mattergen.plugin
    import chggen_nequip.plugin

    return Registry.from_modules(
        [chggen_kit.plugins.builtin, chggen_nequip.plugin, chggen_mattergen.plugin, chggen_chgnet.plugin]
    )


def config_of(registry: Registry, **settings: Any) -> GenerateConfig:
    return build_config(GenerateConfig, {**SETTINGS, "potential": "chgnet", **settings}, registry)


def test_run_draws_species_and_cells(registry: Registry, tmp_path: Path) -> None:
    require_mattergen()
    model = make_checkpoint(tmp_path, "chemical_system", calm=True)
    config = config_of(registry, chemical_system="Zn-P-S", atoms=[3, 5], checkpoint=str(model))
    result = run_generate(config, tmp_path / "run", registry=registry)
    records = [record for record in result.records if record.stage == "unconditional"]
    assert [len(record.generated.species) for record in records if record.generated] == [3, 5, 3, 5]
    drawn = [set(record.generated.species) for record in records if record.generated]
    assert set().union(*drawn) <= {"Zn", "P", "S"}
    assert len(set().union(*drawn)) > 1
    assert all(record.lattice_source == "generate" for record in records)
    cells = {tuple(map(tuple, record.generated.structure().lattice.matrix)) for record in records if record.generated}
    assert len(cells) == 4
    # The same run again is gone on with, and ends at once with the same.
    again = run_generate(config, tmp_path / "run", registry=registry)
    assert again.records == result.records


def test_numbers_of_atoms_follow_the_training_set(registry: Registry, tmp_path: Path) -> None:
    require_mattergen()
    model = make_checkpoint(tmp_path, "chemical_system", calm=True)
    from chggen_kit.workflow.assembly import assemble
    from chggen_kit.workflow.chemical_system import choose_sizes

    config = config_of(registry, chemical_system="Zn-S", checkpoint=str(model), n=400)
    sizes = choose_sizes(config, assemble(config, registry))
    assert max(sizes) <= 20
    assert 0.1 < sizes.count(4) / 400 < 0.25  # the commonest, 16 % of Alex-MP-20
    assert sizes == choose_sizes(config, assemble(config, registry))


def test_a_backend_in_another_environment_draws_the_same_sizes(registry: Registry, tmp_path: Path) -> None:
    require_mattergen()
    model = make_checkpoint(tmp_path, "chemical_system", calm=True)
    from chggen_kit.workflow.assembly import assemble
    from chggen_kit.workflow.chemical_system import choose_sizes

    sizes, shares = [], []
    for backend in ("mattergen", f"mattergen@{sys.executable}"):
        config = config_of(registry, chemical_system="Zn-S", checkpoint=str(model), n=40, backend=backend)
        parts = assemble(config, registry)
        assert parts.model is not None
        shares.append(dict(parts.model.capabilities.atom_counts))
        sizes.append(choose_sizes(config, parts))
    assert shares[1] == shares[0]
    assert sizes[1] == sizes[0]
    parts.model.close()  # type: ignore[attr-defined]  # isolated models have it


def test_options_that_are_not_known_here_are_left_to_the_worker(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for a backend that is installed in the other environment only."""
    from chggen_kit.workflow.assembly import _system_options

    (tmp_path / "chggen.toml").write_text(f'[environments.own]\npython = "{sys.executable}"\nkit = "installed"\n')
    monkeypatch.chdir(tmp_path)
    config = config_of(registry, chemical_system="Zn-S", backend="stranger@own")
    assert registry.options_model("score-model", config.backend.name) is None
    assert sorted(_system_options(config, registry)["chemical_system"]) == ["S", "Zn"]


def test_what_cannot_be_asked_for(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="either a formula or a chemical system"):
        config_of(registry)
    with pytest.raises(InputError, match="either a formula or a chemical system"):
        config_of(registry, formula="ZnS", chemical_system="Zn-S")
    with pytest.raises(InputError, match="follow from the formula"):
        config_of(registry, formula="ZnS", atoms=[4])
    with pytest.raises(InputError, match="has no formula units"):
        config_of(registry, chemical_system="Zn-S", formula_units=2)
    with pytest.raises(InputError, match="comes with generated ones"):
        config_of(registry, chemical_system="Zn-S", lattice="search")
    config = config_of(registry, chemical_system="Zn-S", backend="nequip")
    with pytest.raises(InputError, match="nequip cannot be guided to a chemical system"):
        run_generate(config, tmp_path / "run", registry=registry)
    assert default_directory(config, None).name == "S-Zn-seed0"


def test_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Absent, half installed, or of an unknown version: what is missing, and the line that brings it."""
    import chggen_mattergen.plugin
    from chggen_kit.plugins import requirements

    installed = importlib.metadata.version

    def pretend(versions: dict[str, str | None]) -> Registry:
        def version(name: str) -> str:
            if name not in versions:
                return installed(name)
            found = versions[name]
            if found is None:
                raise importlib.metadata.PackageNotFoundError(name)
            return found

        monkeypatch.setattr(requirements.importlib.metadata, "version", version)
        monkeypatch.setattr(requirements.importlib.util, "find_spec", lambda _: None)
        return Registry.from_modules([chggen_mattergen.plugin])

    present: dict[str, str | None] = {"mattergen": "1.0.3", "omegaconf": "2.3.1", "huggingface-hub": "1.0"}
    assert pretend(present).get("score-model", "mattergen").status == "ok"
    line = "pip install --no-deps mattergen==1.0.3"
    absent = pretend({**present, "mattergen": None}).get("score-model", "mattergen")
    assert absent.hint == line
    half = pretend({**present, "omegaconf": None}).get("score-model", "mattergen")
    assert "mattergen==" not in half.hint
    assert "omegaconf" in half.hint or "[mattergen]" in half.hint
    both = pretend({**present, "omegaconf": None, "mattergen": None}).get("score-model", "mattergen")
    assert both.hint.endswith(f" && {line}")
    other = pretend({**present, "mattergen": "1.1.0"}).get("score-model", "mattergen")
    assert other.hint == line
    with pytest.raises(Exception, match=r"needs mattergen==1\.0\.3 \(1\.1\.0 is installed\)"):
        other.load_factory()
    assert "\n" not in other.hint
