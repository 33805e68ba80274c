"""The nulls of a run: beside every rate, from the run's own sizes, kept in its directory, and off when not wanted."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from pymatgen.core import Lattice, Structure
from rich.console import Console
from workflow_toys import TOY_SETTINGS, toy_registry

from chggen_kit.metrics.symmetry import SpaceGroup, space_group
from chggen_kit.workflow.config import GenerateConfig, InpaintConfig, build_config
from chggen_kit.workflow.nulls import NullCounts, explanation, with_nulls
from chggen_kit.workflow.pipeline import run_generate, run_inpaint
from chggen_kit.workflow.records import StructureData
from chggen_kit.workflow.table import print_result

REGISTRY = toy_registry()
LADDER = {"name": "ladder", "options": {}}


def config(**values: Any) -> GenerateConfig:
    settings = {"formula": "ZnP2S", "n": 2, "guests": "Zn", **TOY_SETTINGS, **values}
    return build_config(GenerateConfig, settings, REGISTRY)


def test_every_rate_has_its_null_and_the_run_directory_keeps_it(tmp_path: Path) -> None:
    ours = config(null_rates=8, refiner=LADDER)
    result = run_generate(ours, tmp_path / "o", registry=REGISTRY)
    summary = json.loads((tmp_path / "o" / "summary.json").read_text())
    counts = summary["null_rates"]
    assert (counts["wanted"], counts["starts"], counts["no_room"]) == (8, 8, 0)
    # Hosts of three atoms: the ladder finds symmetry in most of them, whatever they are.
    assert counts["hosts"] >= 4
    assert counts["fills"] == counts["hosts"] * ours.inpaintings
    assert summary["hosts"]["null"]["count"] == counts["hosts"]
    for stage, name, count, of in (
        ("unconditional", "among_started", "symmetric", "starts"),
        ("unconditional", "among_relaxed", "symmetric", "starts"),
        ("inpainted", "among_started", "symmetric_fills", "fills"),
        ("inpainted", "among_symmetrised_hosts", "filled_hosts", "hosts"),
        ("inpainted", "among_all_starts", "filled_hosts", "starts"),
    ):
        null = summary[stage]["symmetric_rates"][name]["null"]
        assert (null["count"], null["of"]) == (counts[count], counts[of])
        assert null["low"] <= null["rate"] <= null["high"]
    stream = io.StringIO()
    print_result(result, Console(file=stream, width=80))
    lines = stream.getvalue().splitlines()
    assert sum("null" in line for line in lines if " of " in line) >= 3
    assert any(line.startswith("Hosts symmetrised:") and "null" in line for line in lines)

    shard = tmp_path / "o" / "shards" / "null-rates-0000.json"
    before = shard.read_bytes()
    again = run_generate(ours, tmp_path / "o", registry=REGISTRY)
    assert shard.read_bytes() == before
    assert again.summary["null_rates"] == counts


def test_none_wanted_none_made(tmp_path: Path) -> None:
    result = run_generate(config(null_rates=0, n=1), tmp_path / "o", registry=REGISTRY)
    assert "null_rates" not in result.summary
    assert "null" not in json.dumps(result.summary["unconditional"]["symmetric_rates"]["among_started"])
    assert not list((tmp_path / "o" / "shards").glob("null*"))


def test_a_given_host_is_filled_at_random(tmp_path: Path) -> None:
    """Three random sodium atoms leave no symmetry in a cubic host."""
    host = Structure(Lattice.cubic(6), ["Cs"], [[0, 0, 0]])
    settings = {**TOY_SETTINGS, "null_rates": 5}
    for key in ("refiner", "unconditional_sampler", "volume_per_atom"):
        del settings[key]
    values = {"host": StructureData.of(host), "guest_counts": {"Na": 3}, "n": 1, "relax": False, **settings}
    result = run_inpaint(build_config(InpaintConfig, values, REGISTRY), tmp_path / "o", registry=REGISTRY)
    assert result.summary["null_rates"]["means"].startswith("random guests in the same host")
    null = result.summary["inpainted"]["symmetric_rates"]["among_started"]["null"]
    assert (null["count"], null["of"]) == (0, 5)


def test_a_rate_that_a_run_does_not_have_gets_none() -> None:
    counts = NullCounts(wanted=4, starts=4, symmetric=1)
    assert with_nulls({"seed": 0}, None) == {"seed": 0}
    bare = with_nulls({"seed": 0}, counts)["null_rates"]
    assert bare["starts"] == 4
    assert len(explanation(bare)) == 1
    annealed = with_nulls({"annealed": {"symmetric_rates": {}}, "symmetric_yield": {}}, counts)["null_rates"]
    assert annealed["rates_without_null"] == ["annealed", "symmetric_yield"]
    assert explanation(annealed)[1].startswith("No null for annealed, symmetric yield: symmetry is imposed")


def test_random_symmetric_crystals_through_the_pipeline(tmp_path: Path) -> None:
    """The baseline draws its own cells, and every start that came to be is symmetric before it is relaxed."""
    sampler = {"name": "random-symmetric", "options": {"min_distance_A": 1.6}}
    result = run_generate(
        config(unconditional_sampler=sampler, null_rates=0, n=4, inpaintings=0), tmp_path / "o", registry=REGISTRY
    )
    assert result.summary["lattice"] == "generate"
    drawn = [one for one in result.records if one.outcome == "ok"]
    assert len(drawn) >= 3
    for one in drawn:
        assert one.generated is not None
        structure = one.generated.structure()
        group = space_group(structure, 1e-3, 0.1)
        assert isinstance(group, SpaceGroup)
        assert group.number > 2
        assert structure.volume == pytest.approx(18.0 * 4)
