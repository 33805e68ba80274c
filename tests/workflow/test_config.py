"""Configurations: defaults, what is refused, and what makes two runs the same."""

from pathlib import Path

import pytest
from workflow_toys import TOY_SETTINGS, toy_registry

from chggen_kit.errors import InputError
from chggen_kit.workflow.config import GenerateConfig, InpaintConfig, build_config, config_hash

REGISTRY = toy_registry()
HOST = {
    "species": ["Na", "Cl"],
    "lattice": [[4.0, 0, 0], [0, 4.0, 0], [0, 0, 4.0]],
    "frac_coords": [[0, 0, 0], [0.5, 0.5, 0.5]],
}


def build(**values: object) -> GenerateConfig:
    return build_config(GenerateConfig, {"formula": "ZnP2S6", **values}, REGISTRY)


def test_backend_and_potential_default_to_what_is_registered() -> None:
    config = build()
    assert (config.backend.name, config.potential.name) == ("sites", "pairs")
    assert (config.sampler.name, config.refiner.name, config.relaxer.name) == ("repaint", "ladder", "fire")


def test_options_without_a_name_belong_to_the_default() -> None:
    config = build(sampler={"options": {"passes": 3}}, backend={"options": {"spread": 0.2}})
    assert (config.sampler.name, config.sampler.options) == ("repaint", {"passes": 3})
    assert (config.backend.name, config.backend.options) == ("sites", {"spread": 0.2})


def test_guests_and_units_are_read_as_users_write_them() -> None:
    config = build(guests="Zn, P", formula_units=2)
    assert config.guests == ("Zn", "P")
    assert config.formula_units == (2,)
    assert build().guests == "auto"


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("n", 0),
        ("n", -2),
        ("inpaintings", -1),
        ("seed", -1),
        ("formula_units", (0,)),
        ("formula_units", ()),
        ("formula_units", (1, 1)),
        ("volume_per_atom", 0.0),
        ("volume_per_atom", float("nan")),
        ("fmax", -0.1),
        ("max_steps", 0),
        ("symprec_A", 0.0),
        ("excluded_groups", (0, 231)),
        ("micro_batch_atoms", 0),
    ],
)
def test_values_out_of_range_are_named(setting: str, value: object) -> None:
    with pytest.raises(InputError, match=setting):
        build(**{setting: value})


@pytest.mark.parametrize("counts", [{}, {"Li": 0}, {"Li": -1}, {"Li": 1.5}])
def test_guest_counts_are_whole_and_positive(counts: dict[str, float]) -> None:
    with pytest.raises(InputError, match="guest_counts"):
        build_config(InpaintConfig, {"host": HOST, "guest_counts": counts}, REGISTRY)


def test_an_unknown_setting_gets_near_matches() -> None:
    with pytest.raises(InputError, match=r"inpaintings"):
        build(inpainting=3)


def test_the_hash_depends_on_values_and_not_on_their_order() -> None:
    config = build(**TOY_SETTINGS)
    plain = config.identity()
    assert config_hash(plain) == config_hash(dict(reversed(plain.items())))
    assert config_hash(plain) != config_hash(build(**{**TOY_SETTINGS, "seed": 1}).identity())


def test_the_place_of_a_checkpoint_is_not_part_of_what_the_run_is(tmp_path: Path) -> None:
    assert build(checkpoint=tmp_path / "a.ckpt").identity() == build(checkpoint=tmp_path / "b.ckpt").identity()
