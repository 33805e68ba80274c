from __future__ import annotations

import shlex
from pathlib import Path
from types import ModuleType

import plugin_toys as toys
import pytest

from chggen_kit import hookimpl
from chggen_kit.errors import InputError, PluginError
from chggen_kit.plugins import Registry, get_registry

SAMPLER = toys.plugin("samplers", toys.call("Toy_Sampler", "plugin_toys:ToySampler", "plugin_toys:ToyOptions", "A toy"))


def test_creates_from_import_strings_and_mappings() -> None:
    registry = Registry.from_modules([SAMPLER])
    sampler = registry.create_sampler("toy-sampler", {"steps": "3"})
    assert isinstance(sampler, toys.ToySampler)
    assert sampler.options == toys.ToyOptions(steps=3)


def test_names_and_kinds_are_canonical() -> None:
    registry = Registry.from_modules([SAMPLER])
    assert registry.get("Sampler", "TOY_sampler") is registry.get("sampler", "toy-sampler")
    with pytest.raises(PluginError, match="Did you mean 'sampler'"):
        registry.get("smapler", "toy-sampler")


def test_ready_made_options_are_taken_and_foreign_ones_refused() -> None:
    registry = Registry.from_modules([SAMPLER])
    options = toys.ToyOptions(steps=4)
    assert registry.create_sampler("toy-sampler", options).options is options

    class Other(toys.BaseModel):
        steps: int = 1

    with pytest.raises(InputError, match="its own model is ToyOptions"):
        registry.create_sampler("toy-sampler", Other())


def test_unknown_option_gets_near_matches() -> None:
    with pytest.raises(InputError, match=r"'stpes'\. Did you mean 'steps'\? Available: mode, steps"):
        Registry.from_modules([SAMPLER]).create_sampler("toy-sampler", {"stpes": 3})


def test_bad_values_are_listed_with_limits_and_defaults() -> None:
    with pytest.raises(InputError) as caught:
        Registry.from_modules([SAMPLER]).create_sampler("toy-sampler", {"steps": 0, "mode": 3})
    message = str(caught.value)
    assert "steps: Input should be greater than or equal to 1, got 0" in message
    assert "default 10" in message
    assert "mode: Input should be a valid string, got 3" in message


def test_options_for_a_plugin_without_options() -> None:
    registry = Registry.from_modules([toys.plugin("relaxers", toys.call("slow", "plugin_toys:build_relaxer"))])
    with pytest.raises(InputError, match="has no options, but was given fmax"):
        registry.create("relaxer", "slow", {"fmax": 1}, potential=None)


def test_relaxer_is_given_the_potential() -> None:
    registry = Registry.from_modules([toys.plugin("relaxers", toys.call("slow", "plugin_toys:build_relaxer"))])
    potential = object()
    relaxer = registry.create("relaxer", "slow", None, potential=potential)
    assert isinstance(relaxer, toys.ToyRelaxer)
    assert relaxer.potential is potential


def test_unknown_name_lists_near_matches_and_the_other_kinds() -> None:
    registry = Registry.from_modules([SAMPLER])
    with pytest.raises(PluginError, match="Did you mean 'toy-sampler'"):
        registry.get("sampler", "toy-smapler")
    with pytest.raises(PluginError, match="is the name of a sampler"):
        registry.get("relaxer", "toy-sampler")


def test_product_of_the_wrong_type_is_refused() -> None:
    registry = Registry.from_modules([toys.plugin("potentials", toys.call("wrong", dict))])
    with pytest.raises(PluginError, match="gave a dict, which is no Potential"):
        registry.create_potential("wrong")


def test_factory_errors_name_the_distribution_and_the_kits_own_pass() -> None:
    calls = [toys.call(n, f"plugin_toys:{n}", toys.ToyOptions) for n in ("refuse", "crash")]
    registry = Registry.from_modules([toys.plugin("samplers", *calls, name="toy-dist")])
    with pytest.raises(InputError, match=r"plain is not for me\."):
        registry.create_sampler("refuse")
    with pytest.raises(
        PluginError, match=r"of toy-dist could not be made: ZeroDivisionError: plain \(plugin_toys\.py"
    ) as caught:
        registry.create_sampler("crash")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_factory_that_cannot_be_imported_is_explained() -> None:
    registry = Registry.from_modules([toys.plugin("samplers", toys.call("gone", "no_such_library.x:build"))])
    with pytest.raises(PluginError, match=r"No module named 'no_such_library'.*pip install --force-reinstall toy"):
        registry.create_sampler("gone")


def test_options_that_are_no_model() -> None:
    registry = Registry.from_modules(
        [toys.plugin("samplers", toys.call("odd", "plugin_toys:ToySampler", "plugin_toys:call"))]
    )
    with pytest.raises(PluginError, match="not a pydantic model"):
        registry.options_model("sampler", "odd")


def test_missing_requirement_is_listed_with_its_pip_line() -> None:
    call = toys.call("needy", "plugin_toys:ToySampler", requires=["no-such-library>=2", "click>=1"])
    registry = Registry.from_modules([toys.plugin("samplers", call)])
    entry = registry.get("sampler", "needy")
    assert (entry.status, entry.missing, entry.hint) == (
        "missing requirement",
        ("no-such-library>=2",),
        "pip install 'no-such-library>=2'",
    )
    with pytest.raises(PluginError, match=r"needs no-such-library>=2.*pip install 'no-such-library>=2'"):
        registry.create_sampler("needy")


def test_installed_version_that_does_not_fit_is_missing() -> None:
    call = toys.call("needy", "plugin_toys:ToySampler", requires=["click>=999", "pydantic"])
    entry = Registry.from_modules([toys.plugin("samplers", call)]).get("sampler", "needy")
    assert entry.missing == ("click>=999",)


def test_the_smallest_extra_that_brings_a_requirement_is_named() -> None:
    call = toys.call("needy", "plugin_toys:ToySampler", requires=["lightning>=999"])
    entry = Registry.from_modules([toys.plugin("samplers", call, name="chggen-kit")]).get("sampler", "needy")
    assert entry.hint == "pip install 'chggen-kit[train]'"  # the extra for tests has it too


def test_requirements_of_other_environments_are_not_missing() -> None:
    requires = ["no-such-library; python_version<'3'", "no-such-library>=2; python_version>'3'"]
    call = toys.call("needy", "plugin_toys:ToySampler", requires=requires)
    entry = Registry.from_modules([toys.plugin("samplers", call)]).get("sampler", "needy")
    assert entry.missing == (requires[1],)
    assert shlex.split(entry.hint) == ["pip", "install", requires[1]]


@pytest.mark.parametrize("attribute", ["build", "exiting"])
def test_a_plugin_that_exits_is_reported(attribute: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    on_import = "sys.exit(0)" if attribute == "build" else "exiting = sys.exit"
    (tmp_path / f"quits_{attribute}.py").write_text(f"import sys\n{on_import}\n")
    registry = Registry.from_modules([toys.plugin("samplers", toys.call("quits", f"quits_{attribute}:{attribute}"))])
    with pytest.raises(PluginError, match=r"sampler 'quits'.*SystemExit"):
        registry.create_sampler("quits")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (toys.call("a@b", "plugin_toys:ToySampler"), "cannot be the name"),
        (toys.call("a", "plugin_toys.ToySampler"), "no import string"),
        (toys.call("a", "plugin_toys:ToySampler", "plugin_toys"), "no import string"),
        (toys.call("a", 3), "neither an import string nor callable"),
        (toys.call("a", "plugin_toys:ToySampler", summary=None), "summary of sampler 'a' is None: write a line"),
        (toys.call("a", "plugin_toys:ToySampler", requires="torch"), r"is 'torch': write a list, \['torch'\]"),
        (toys.call("a", "plugin_toys:ToySampler", requires=None), "`requires` of sampler 'a' is None"),
        (toys.call("a", "plugin_toys:ToySampler", requires=["a b"]), "'a b' in the `requires` of sampler 'a'"),
        (toys.call("a", "plugin_toys:ToySampler", requires=[None]), "None in the `requires` of sampler 'a'"),
    ],
)
def test_unusable_registrations_are_refused(call: object, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        Registry.from_modules([toys.plugin("samplers", call)])


def test_misspelt_hook_is_an_error_with_a_near_match() -> None:
    with pytest.raises(PluginError, match="Did you mean 'chggen_kit_register_samplers'"):
        Registry.from_modules([toys.plugin("sampler", toys.call("a", "plugin_toys:ToySampler"))])


def test_module_without_hooks_is_an_error() -> None:
    with pytest.raises(PluginError, match="implements no hook"):
        Registry().register_plugin(ModuleType("empty"), "empty")


def test_a_failing_hook_leaves_nothing_behind() -> None:
    @hookimpl
    def chggen_kit_register_samplers(register: object) -> None:
        register("half", "plugin_toys:ToySampler")
        raise RuntimeError("halfway")

    half = ModuleType("half")
    half.chggen_kit_register_samplers = chggen_kit_register_samplers
    registry = Registry()
    with pytest.raises(PluginError, match="halfway"):
        registry.register_plugin(half, "half")
    assert registry.entries() == []
    registry.register_plugin(SAMPLER, "half")
    assert [e.name for e in registry.entries()] == ["toy-sampler"]


def test_second_plugin_of_one_name_is_refused_and_names_both() -> None:
    again = toys.plugin("samplers", toys.call("toy_sampler", "plugin_toys:refuse"), name="late")
    registry = Registry.from_modules([SAMPLER])
    with pytest.raises(PluginError, match=r"duplicate.*of late.*already provided by toy "):
        registry.register_plugin(again, "late")
    assert registry.get("sampler", "toy-sampler").factory == "plugin_toys:ToySampler"


def test_default_is_the_only_one_there_is_and_otherwise_must_be_named() -> None:
    registry = Registry.from_modules([SAMPLER])
    assert registry.default_name("sampler") == "toy-sampler"
    registry.register_plugin(toys.plugin("samplers", toys.call("other", "plugin_toys:ToySampler")), "other")
    with pytest.raises(PluginError, match=r"Name a sampler: there is no default among other, toy-sampler"):
        registry.default_name("sampler")
    with pytest.raises(PluginError, match="No potential is installed"):
        registry.default_name("potential")


def test_default_of_the_kit_itself_wins_but_nobody_elses() -> None:
    calls = [toys.call("one", "plugin_toys:ToySampler"), toys.call("two", "plugin_toys:ToySampler", default=True)]
    registry = Registry.from_modules([toys.plugin("samplers", *calls, name="third-party")])
    with pytest.raises(PluginError, match="Name a sampler"):
        registry.default_name("sampler")
    registry = Registry.from_modules([toys.plugin("samplers", *calls, name="chggen-kit")])
    assert registry.default_name("sampler") == "two"


def test_same_name_in_two_kinds_is_fine() -> None:
    other = toys.plugin("relaxers", toys.call("toy-sampler", "plugin_toys:build_relaxer"), name="other")
    registry = Registry.from_modules([SAMPLER, other])
    assert [e.kind for e in registry.find("toy-sampler")] == ["sampler", "relaxer"]


def test_trainer_must_be_a_click_command() -> None:
    calls = [toys.call("toy", "plugin_toys:train_toy"), toys.call("odd", "plugin_toys:crash")]
    registry = Registry.from_modules([toys.plugin("trainers", *calls)])
    assert registry.load_trainer("toy") is toys.train_toy
    with pytest.raises(PluginError, match="no Command"):
        registry.load_trainer("odd")


def test_built_ins_are_registered_through_their_entry_point() -> None:
    names = {(e.kind, e.name) for e in get_registry().entries() if e.origin.entry_point == "core"}
    assert names == {
        ("sampler", "predictor-corrector"),
        ("sampler", "repaint"),
        ("sampler", "replace"),
        ("sampler", "clean-host"),
        ("sampler", "random"),
        ("sampler", "voronoi"),
        ("sampler", "random-symmetric"),
        ("host-refiner", "ladder"),
        ("host-refiner", "projection"),
        ("relaxer", "fire"),
        ("relaxer", "torch-sim"),
        ("relaxer", "ase-fire"),
        ("executor", "local"),
        ("executor", "parsl"),
    }


@pytest.mark.usefixtures("no_plugins")
def test_environment_variable_can_exclude_everything() -> None:
    assert get_registry().entries() == []
    with pytest.raises(PluginError, match="Only the plug-ins of CHGGEN_PLUGINS=''"):
        get_registry().get("sampler", "repaint")


def test_environment_variable_with_a_misspelt_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHGGEN_PLUGINS", "core,nequi")
    registry = get_registry()
    assert registry.get("sampler", "repaint")
    assert [b.origin.entry_point for b in registry.broken] == ["nequi"]
    assert "Did you mean 'nequip'" in registry.broken[0].reason
    with pytest.raises(PluginError, match="nequi"):
        get_registry(strict=True)
