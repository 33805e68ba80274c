"""`--backend`: the methods of one backend made for another."""

from __future__ import annotations

import pytest

from chggen_kit.benchmark.backends import for_backends
from chggen_kit.benchmark.reading import read_spec
from chggen_kit.benchmark.spec import BenchmarkSpec
from chggen_kit.errors import InputError


def test_the_methods_of_the_first_backend_are_made_for_mine() -> None:
    spec = read_spec("paper-zn-p-s")
    mine = for_backends(spec, ["mine"])
    assert "mine, inpainting" in mine.methods
    assert not [name for name in mine.methods if "nequip" in name or "diffcsp" in name or "mattergen" in name]
    assert mine.methods["mine, inpainting"].settings["backend"] == "mine"
    assert mine.methods["mine, inpainting"].settings["refiner"] == "ladder"
    assert mine.methods["mine, inpainting"].baseline == "random guests"
    assert mine.methods["random guests"].settings["backend"] == "mine"  # random guests, in hosts that mine drew
    assert mine.methods["random, relaxed"] == spec.methods["random, relaxed"]
    assert mine.systems == spec.systems


def test_several_backends_stand_beside_each_other() -> None:
    both = for_backends(read_spec("paper-zn-p-s"), ["nequip", "mine"])
    assert {"nequip, inpainting", "mine, inpainting", "random guests, mine"} <= set(both.methods)
    assert both.methods["mine, inpainting"].baseline == "random guests, mine"
    assert both.methods["nequip, inpainting"].baseline == "random guests, nequip"
    with pytest.raises(InputError, match="twice"):
        for_backends(both, ["mine", "mine"])
    nulls = BenchmarkSpec.model_validate(
        {"name": "nulls", "systems": [{"formula": "NaCl"}], "methods": {"random": {"unconditional_sampler": "random"}}}
    )
    with pytest.raises(InputError, match="No method"):
        for_backends(nulls, ["mine"])
