"""Real distributions, made on the fly: a folder with a module and its `.dist-info` is all that installing leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from chggen_kit.errors import PluginError
from chggen_kit.plugins import Registry

GOOD = """
from chggen_kit import hookimpl

@hookimpl
def chggen_kit_register_samplers(register):
    register("{name}", "plugin_toys:ToySampler", "plugin_toys:ToyOptions")
"""


class Site:
    """A folder on `sys.path` into which distributions are installed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, distribution: str, source: str, *, entry_points: str | None = None, requires: str = "") -> None:
        module = distribution.replace("-", "_")
        (self.folder / f"{module}.py").write_text(source)
        info = self.folder / f"{module}-1.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.5\n{requires}\n")
        default = f"[chggen_kit]\n{distribution}-ep = {module}\n"
        (info / "entry_points.txt").write_text(default if entry_points is None else entry_points)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.syspath_prepend(tmp_path)
    return Site(tmp_path)


def test_a_third_party_plugin_is_found_with_its_origin(site: Site) -> None:
    site.install("disco-good", GOOD.format(name="extra"))
    entry = Registry.discover().get("sampler", "extra")
    assert str(entry.origin) == "disco-good 1.5"
    assert entry.origin.entry_point == "disco-good-ep"


def test_a_broken_plugin_is_recorded_and_the_rest_works(site: Site) -> None:
    site.install("disco-broken", "raise RuntimeError('no luck\\nsecond line')")
    registry = Registry.discover()
    assert registry.create_sampler("repaint")
    (broken,) = [b for b in registry.broken if b.origin.distribution == "disco-broken"]
    assert broken.reason == "RuntimeError: no luck (disco_broken.py, line 1)"
    with pytest.raises(PluginError, match=r"disco-broken-ep.*no luck"):
        registry.raise_if_broken()
    with pytest.raises(PluginError, match="may belong to a plug-in that is broken: Plug-in 'disco-broken-ep'"):
        registry.get("sampler", "disco-broken")


def test_a_plugin_that_exits_does_not_end_the_program(site: Site) -> None:
    site.install("disco-exits", "raise SystemExit(3)")
    assert "disco-exits" in {b.origin.distribution for b in Registry.discover().broken}


@pytest.mark.parametrize(
    ("requires", "hint"),
    [
        ("", "pip install no_such_module"),
        ("Requires-Dist: no-such-module<3,>=2", "pip install 'no-such-module<3,>=2'"),
        ("Requires-Dist: other", "pip install no_such_module"),
        ("Provides-Extra: net\nRequires-Dist: no-such-module; extra == 'net'", "pip install 'disco-lacks[net]'"),
    ],
)
def test_a_missing_module_comes_with_the_pip_line_that_mends_it(site: Site, requires: str, hint: str) -> None:
    site.install("disco-lacks", "import no_such_module.sub", requires=requires)
    (broken,) = [b for b in Registry.discover().broken if b.origin.distribution == "disco-lacks"]
    assert broken.reason == "ModuleNotFoundError: No module named 'no_such_module' (disco_lacks.py, line 1)"
    assert broken.hint == hint


def test_a_plugin_whose_own_module_is_gone_is_to_be_reinstalled(site: Site) -> None:
    site.install("disco-gone", "", entry_points="[chggen_kit]\ngone = disco_gone_elsewhere.plugin\n")
    (broken,) = [b for b in Registry.discover().broken if b.origin.distribution == "disco-gone"]
    assert broken.hint == "pip install --force-reinstall disco-gone"


def test_the_kits_own_name_stays_and_the_duplicate_is_explained(site: Site) -> None:
    # "aaa" sorts before "chggen-kit": precedence is not a matter of the alphabet.
    site.install("aaa-disco", GOOD.format(name="RePaint"))
    registry = Registry.discover()
    assert registry.get("sampler", "repaint").origin.distribution == "chggen-kit"
    (broken,) = [b for b in registry.broken if b.origin.distribution == "aaa-disco"]
    assert broken.reason.startswith(
        "duplicate: the sampler 'repaint' of aaa-disco 1.5 is already provided by chggen-kit"
    )


def test_unreadable_entry_points_cost_only_their_own_distribution(site: Site) -> None:
    site.install("disco-garbled", "", entry_points="[chggen_kit]\nthis line has no equals sign\n")
    site.install("disco-fine", GOOD.format(name="fine"))
    registry = Registry.discover()
    assert registry.get("sampler", "fine")
    assert registry.get("sampler", "repaint")
    (broken,) = [b for b in registry.broken if b.origin.distribution == "disco-garbled"]
    assert "cannot be read" in broken.reason


def test_only_the_named_entry_points_are_loaded(site: Site) -> None:
    site.install("disco-one", GOOD.format(name="one"))
    site.install("disco-two", "raise RuntimeError")
    registry = Registry.discover(["disco-one-ep"])
    assert [e.name for e in registry.entries()] == ["one"]
    assert registry.broken == []


def test_metadata_may_be_missing(site: Site) -> None:
    site.install("disco-bare", GOOD.format(name="bare"))
    (site.folder / "disco_bare-1.5.dist-info" / "METADATA").unlink()
    assert Registry.discover().get("sampler", "bare").origin.distribution == "unknown distribution"
