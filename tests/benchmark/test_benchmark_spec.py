"""Specifications: what is read, what is refused and how, and the schema."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from benchmark_toys import CHANNEL, toy_plain, toy_spec
from workflow_toys import toy_registry

from chggen_kit.benchmark.cells import make_plan
from chggen_kit.benchmark.hosts import crystal, host_of, interface
from chggen_kit.benchmark.reading import json_schema, preset_names, read_spec, validated
from chggen_kit.benchmark.spec import CrystalSpec, InterfaceSpec, SystemSpec
from chggen_kit.errors import InputError
from chggen_kit.workflow.config import GenerateConfig, InpaintConfig

CUBE = [90, 90, 90]
MGO = {"space_group": "Fm-3m", "cell": [4.21] * 3 + CUBE, "sites": [["Mg", [0, 0, 0]], ["O", [0.5, 0.5, 0.5]]]}
LI2O = {"space_group": "Fm-3m", "cell": [4.62] * 3 + CUBE, "sites": [["O", [0, 0, 0]], ["Li", [0.25, 0.25, 0.25]]]}


def written(folder: Path, plain: dict[str, Any]) -> Path:
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump(plain))
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sede": [1]}, "Unknown key 'sede'. Did you mean 'seeds'"),
        ({"methods": {"a": {"bakend": "sites"}}}, "methods.a: Unknown key or setting 'bakend'. Did you mean 'backend'"),
        ({"systems": [{"formula": "LiSi", "gests": ["Li"]}]}, "systems.0: Unknown key or setting 'gests'.*'guests'"),
        ({"systems": [{"host": {**CHANNEL, "cel": 1}}]}, "systems.0: Unknown key 'cel'. Did you mean 'cell'"),
        ({"systems": [{"host": {"substrate": MGO, "film": MGO, "gap": 2}}]}, "Unknown key 'gap'. Did you mean 'gap_A'"),
        ({"defaults": {"fmaxx": 1}}, "defaults: Unknown setting 'fmaxx'. Did you mean 'fmax'"),
        ({"systems": [{"formula": "LiSi"}, {"formula": "LiSi"}]}, "two systems are called 'LiSi'"),
        ({"systems": [{"formula": "LiSi", "host": CHANNEL}]}, "either a formula or a host"),
        ({"systems": [{"host": CHANNEL, "guests": ["Li"]}]}, "guests of a host come with their numbers"),
        ({"systems": []}, "systems: Tuple should have at least 1 item"),
        ({"methods": {"a": {"baseline": "b"}}}, "the baseline of a: Unknown method 'b'"),
        ({"budget": {"starts": 2, "cpu_seconds": 3}}, "either a number of starts or of cpu_seconds"),
        ({"seeds": [1, 1]}, "a seed is given twice"),
        ({"systems_by_default": ["LiSj"]}, "Unknown system 'LiSj'"),
    ],
)
def test_what_is_wrong_is_named_with_near_misses(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_spec(written(tmp_path, toy_plain(**change)))


def test_one_wrong_system_is_not_reported_as_no_systems(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        read_spec(written(tmp_path, toy_plain(systems=[{"formla": "LiSi"}])))
    assert "at least 1 item" not in str(error.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"backend": "sitess"}, "LiSi, a: .*sitess"),
        ({"sampler": {"name": "repaint", "options": {"stepps": 3}}}, "LiSi, a: .*stepps.*steps"),
        ({"fmax": -1}, "LiSi, a: .*fmax"),
        ({"lattice": "generat"}, "LiSi, a: .*lattice"),
    ],
)
def test_settings_of_runs_are_checked_before_any_work(settings: dict[str, Any], message: str) -> None:
    spec = toy_spec(systems=[{"formula": "LiSi"}], methods={"a": settings})
    with pytest.raises(InputError if "sitess" not in message else Exception, match=message):
        make_plan(spec, toy_registry())


def test_an_optional_method_is_left_out_with_its_reason() -> None:
    methods = {"a": {}, "b": {"backend": "nowhere", "optional": True}, "c": {"checkpoint_needed": True}}
    plan = make_plan(toy_spec(systems=[{"formula": "LiSi"}], methods=methods), toy_registry())
    assert {lane.method for lane in plan.lanes} == {"a"}
    reasons = {one.method: one.reason for one in plan.left_out}
    assert "nowhere" in reasons["b"]
    assert "no checkpoint was given" in reasons["c"]
    with pytest.raises(InputError, match=r"Nothing is left.*no checkpoint was given"):
        make_plan(toy_spec(methods={"c": {"checkpoint_needed": True}}), toy_registry())


def test_methods_win_over_systems_and_those_over_the_defaults() -> None:
    spec = toy_spec(
        systems=[{"formula": "LiSi", "fmax": 0.2, "max_steps": 11}, {"name": "salt", "host": CHANNEL}],
        methods={"a": {"fmax": 0.3}},
        seeds=[7],
    )
    first, second = (lane.config for lane in make_plan(spec, toy_registry()).lanes)
    assert isinstance(first, GenerateConfig)
    assert isinstance(second, InpaintConfig)
    assert (first.fmax, first.max_steps, first.seed, first.n, first.threads) == (0.3, 11, 7, 2, 1)
    assert (second.fmax, second.max_steps) == (0.3, 30)
    assert second.guest_counts == {"Cl": 2}
    assert len(second.host.species) == 4


def test_whole_structures_are_not_drawn_into_a_given_host() -> None:
    plan = make_plan(toy_spec(), toy_registry())
    assert [(one.system, one.method) for one in plan.left_out] == [("salt", "unconditional")]


def test_paths_start_from_the_folder_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "host.cif").write_text("")
    plain = toy_plain(systems=[{"host": "host.cif", "guests": {"Li": 1}}], methods={"a": {"checkpoint": "host.cif"}})
    spec = read_spec(written(tmp_path, plain))
    assert spec.systems[0].host == tmp_path / "host.cif"
    assert spec.methods["a"].settings["checkpoint"] == str(tmp_path / "host.cif")
    assert spec.system_names == ("host",)


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "twice.yaml"
    path.write_text("name: a\nmethods: {x: {}, x: {}}\n")
    with pytest.raises(InputError, match="the key 'x' stands twice"):
        read_spec(path)


def test_unknown_presets_and_files_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Did you mean 'paper-csp'"):
        read_spec("paper-cps")
    with pytest.raises(InputError, match="There is no file"):
        read_spec(tmp_path / "a.yaml")
    (tmp_path / "b.yaml").write_text("[1, 2]")
    with pytest.raises(InputError, match="holds no specification"):
        read_spec(tmp_path / "b.yaml")


@pytest.mark.parametrize("name", preset_names())
def test_presets_are_valid_in_both_sizes(name: str) -> None:
    spec = read_spec(name)
    assert spec.name == name
    assert spec.about
    quick = spec.quickened()
    assert len(quick.systems) <= len(spec.systems)
    for system in spec.systems:
        if system.host is not None and not isinstance(system.host, InterfaceSpec):
            host, counts = host_of(system)
            assert len(host) > 3
            assert counts.get("Li", 0) >= 1


def test_the_papers_47_silicides() -> None:
    spec = read_spec("paper-li-si")
    assert len(spec.systems) == 47
    assert len(set(spec.system_names)) == 47
    assert set(spec.systems_by_default) < set(spec.system_names)


def test_presets_of_the_paper_hold_all_methods_and_nulls() -> None:
    for name in ("paper-zn-p-s", "paper-li-si"):
        methods = read_spec(name).methods
        for backend in ("nequip", "diffcsp"):
            stages = [one.stage for one in methods.values() if one.settings.get("backend") == backend]
            assert "unconditional" in stages
            assert stages.count("inpainted") >= 2
        samplers = {
            str(one.settings.get(key)) for one in methods.values() for key in ("sampler", "unconditional_sampler")
        }
        assert {"random", "voronoi", "random-symmetric"} <= samplers
        assert any(one.target == "chemical-system" for one in methods.values())


def test_the_schema_knows_settings_and_closes_objects() -> None:
    schema = json_schema()
    method = schema["$defs"]["MethodSpec"]
    assert {"backend", "sampler", "stage", "relax_policy"} <= set(method["properties"])
    assert "seed" not in method["properties"]
    assert method["additionalProperties"] is False
    assert "fmax" in schema["properties"]["defaults"]["properties"]


def test_a_crystal_by_its_space_group() -> None:
    rutile = {
        "space_group": 136,
        "cell": [4.594, 4.594, 2.959, *CUBE],
        "sites": [["Ti", [0, 0, 0]], ["O", [0.305, 0.305, 0]]],
    }
    made = crystal(validated(CrystalSpec, rutile, "rutile"))
    assert made.composition.as_dict() == {"Ti": 2, "O": 4}
    with pytest.raises(InputError, match="No crystal can be made of space group"):
        crystal(validated(CrystalSpec, {**rutile, "space_group": 999}, "rutile"))


def test_an_interface_has_its_gap_on_both_sides() -> None:
    plain = {
        "substrate": MGO,
        "film": {**MGO, "sites": [["Ni", [0, 0, 0]], ["O", [0.5, 0.5, 0.5]]]},
        "gap_A": 3.3,
        "max_area_A2": 80,
    }
    made = interface(validated(InterfaceSpec, plain, "interface"))
    height = made.lattice.c
    ni = sorted(site.coords[2] % height for site in made if site.specie.symbol == "Ni")
    mg = sorted(site.coords[2] % height for site in made if site.specie.symbol == "Mg")
    assert ni[0] - mg[-1] == pytest.approx(3.3, abs=0.01)
    assert mg[0] + height - ni[-1] == pytest.approx(3.3, abs=0.01)


def test_faces_without_a_common_cell_are_refused() -> None:
    spec = validated(InterfaceSpec, {"substrate": MGO, "film": LI2O, "max_area_A2": 5}, "interface")
    with pytest.raises(InputError, match="no common cell"):
        interface(spec)


def test_quick_needs_a_quick_size() -> None:
    with pytest.raises(InputError, match="has no quick size"):
        toy_spec().quickened()


def test_a_smaller_benchmark_drops_baselines_that_it_lacks() -> None:
    smaller = toy_spec().changed(methods=["inpainting"], systems=["salt"], seeds=[5])
    assert smaller.methods["inpainting"].baseline is None
    assert smaller.system_names == ("salt",)
    with pytest.raises(InputError, match=r"Unknown system 'sald'\. Did you mean 'salt'"):
        toy_spec().changed(systems=["sald"])


def test_systems_say_what_they_are_without_a_name() -> None:
    assert toy_spec(systems=[{"formula": "LiSi", "formula_units": [2, 3]}]).system_names == ("LiSi x 2+3",)
    assert SystemSpec(formula="LiSi", formula_units=1).settings == {"formula_units": 1}
