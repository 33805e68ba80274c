"""Distributions with every kind of fault, installed side by side: nothing of it stops `chggen`."""

from __future__ import annotations

import json
from pathlib import Path

import plugin_sites
import pytest
from pymatgen.core import Lattice, Structure

GOOD = """
from chggen_kit import hookimpl

@hookimpl
def chggen_kit_register_samplers(register):
    register("{name}", "chggen_kit.samplers.random_placement:build",
             "chggen_kit.samplers.random_placement:RandomOptions")
"""
FAULTS = {
    "imports-nothing": ("import a_library_that_nobody_has\n", "No module named 'a_library_that_nobody_has'"),
    "syntax": ("def broken(:\n", "SyntaxError"),
    "exits": ("raise SystemExit('goodbye')\n", "SystemExit: goodbye"),
    "other-argument": (
        "from chggen_kit import hookimpl\n@hookimpl\ndef chggen_kit_register_samplers(registry):\n    pass\n",
        "chggen_kit_register_samplers': Argument(s) {'registry'}",
    ),
    "other-hook": (
        "from chggen_kit import hookimpl\n@hookimpl\ndef chggen_kit_register_sampler(register):\n    pass\n",
        "Did you mean 'chggen_kit_register_samplers'",
    ),
    "no-hook": ("", "implements no hook"),
    "raises": (
        "from chggen_kit import hookimpl\n@hookimpl\ndef chggen_kit_register_samplers(register):\n    1 / 0\n",
        "ZeroDivisionError",
    ),
    "registers-then-raises": (GOOD.format(name="half-done") + "    raise KeyError('late')\n", "KeyError"),
    "bad-name": (GOOD.format(name="no good/name"), "cannot be the name of a sampler"),
    "takes-ours": (GOOD.format(name="repaint"), "duplicate: the sampler 'repaint'"),
    "takes-theirs": (GOOD.format(name="well-made"), "duplicate: the sampler 'well-made'"),
}
"""Source of each distribution, and what is said of it."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    sources = {name: source for name, (source, _) in FAULTS.items()} | {"a-good-one": GOOD.format(name="well-made")}
    for name, source in sources.items():
        module = f"faulty_{name.replace('-', '_')}"
        (folder / f"{module}.py").write_text(source)
        info = folder / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[chggen_kit]\n{name} = {module}\n")
    return folder


def test_each_fault_is_explained_and_the_rest_listed(site: Path) -> None:
    result = plugin_sites.chggen(site, "plugins", "--json")
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    listing = json.loads(result.stdout)
    names = {plugin["name"] for plugin in listing["plugins"]}
    assert {"repaint", "fire", "chgnet", "nequip", "well-made"} <= names
    assert "half-done" not in names, "all names of a plug-in, or none"
    reasons = {broken["distribution"]: broken["reason"] for broken in listing["broken"]}
    assert set(reasons) == set(FAULTS)
    for name, (_, expected) in FAULTS.items():
        assert expected in reasons[name], name
    (kept,) = [plugin for plugin in listing["plugins"] if plugin["name"] == "well-made"]
    assert kept["distribution"] == "a-good-one"


def test_a_verb_works_beside_them(site: Path, tmp_path: Path) -> None:
    host = tmp_path / "host.cif"
    Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.61), ["O"], [[0, 0, 0]]).to(filename=str(host))
    result = plugin_sites.chggen(site, "symmetry", str(host))
    assert result.returncode == 0, result.stderr
    assert "Fm-3m" in result.stdout
    helped = plugin_sites.chggen(site, "--help")
    assert (helped.returncode, "Traceback" in helped.stderr) == (0, False)
    strict = plugin_sites.chggen(site, "--strict-plugins", "plugins")
    assert (strict.returncode, "Traceback" in strict.stderr) == (2, False)


def test_the_good_one_of_them_is_usable(site: Path) -> None:
    result = plugin_sites.chggen(site, "plugins", "check", "well-made")
    assert result.returncode == 0, result.stdout + result.stderr
