from __future__ import annotations

from pathlib import Path

import pytest
from campaign_toys import toy_spec, write_spec
from pydantic import ValidationError
from pymatgen.core import Lattice, Structure

from chggen_kit.campaign.spec import TargetSpec, json_schema, read_campaign
from chggen_kit.campaign.targets import expand, formulas_of
from chggen_kit.errors import InputError


def test_a_pattern_leaves_out_multiples_and_large_formulas() -> None:
    found = list(formulas_of("Li_xSi_y", {"x": (0, 3), "y": (0, 2)}, most_atoms=4))
    assert found == ["Si", "Li", "LiSi", "LiSi2", "Li2Si", "Li3Si"]
    assert len(list(formulas_of("Li_xSi_y", {"x": (1, 13), "y": (1, 13)}, most_atoms=14))) == 63


def test_a_pattern_may_hold_fixed_amounts_and_an_element_twice() -> None:
    assert list(formulas_of("Li_xFePO4", {"x": (0, 1)})) == ["FePO4", "LiFePO4"]
    assert list(formulas_of("LiLi_x", {"x": (1, 2)})) == []  # Li2 and Li3 are multiples of Li


@pytest.mark.parametrize(
    ("pattern", "ranges", "message"),
    [
        ("Li_xSi_y", {"x": (1, 2)}, "variable y .* no range"),
        ("Li_xSi", {"x": (1, 2), "z": (1, 2)}, "variable z .* does not occur"),
        ("LiSi", {}, "no variable"),
        ("Li_xZz", {"x": (1, 2)}, "Unknown element 'Zz'"),
        ("li_x", {"x": (1, 2)}, "Cannot read the pattern"),
        ("Li_xSi_y", {"x": (1, 2000), "y": (1, 2000)}, "more than 1000000"),
    ],
)
def test_a_pattern_that_cannot_be_used_says_why(pattern: str, ranges: dict[str, tuple[int, int]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        list(formulas_of(pattern, ranges))


def test_a_table_gives_formulas_and_guests(tmp_path: Path) -> None:
    (tmp_path / "some.csv").write_text('formula,guests\nZnP2S6,Zn\nLi3PS4,"Li, S"\nNaCl,\n')
    found = list(expand(TargetSpec(table=tmp_path / "some.csv")))
    assert [(one.name, one.values.get("guests")) for one in found] == [
        ("ZnP2S6", ("Zn",)),
        ("Li3PS4", ("Li", "S")),
        ("NaCl", None),
    ]
    assert [one.n_atoms for one in found] == [9, 8, 2]
    (tmp_path / "bad.csv").write_text("name\nNaCl\n")
    with pytest.raises(InputError, match="no column `formula`"):
        list(expand(TargetSpec(table=tmp_path / "bad.csv")))


def test_a_folder_gives_hosts(tmp_path: Path) -> None:
    for name, length in (("b", 4.2), ("a", 4.0)):
        Structure(Lattice.cubic(length), ["Si", "Si"], [[0, 0, 0], [0.5, 0.5, 0.5]]).to(str(tmp_path / f"{name}.cif"))
    found = list(expand(TargetSpec(hosts=tmp_path, guests={"Li": 2})))
    assert [(one.name, one.n_atoms, one.has_host) for one in found] == [("a", 4, True), ("b", 4, True)]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no structure files"):
        list(expand(TargetSpec(hosts=tmp_path / "empty")))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets": [{"formulas": ["NaCl"], "pattern": "Li_x"}]}, "exactly one"),
        ({"targets": [{"formulas": ["NaCl"], "guests": {"Na": 1}}]}, "numbers of guests"),
        ({"settings": {"max_step": 3}}, "max_steps"),
        ({"settings": {"seed": 3}}, "Unknown setting"),
        ({"seeds": [1, 1]}, "twice"),
        ({"workflows": ["inpaint"]}, "needs hosts"),
        ({"shard_atom": 3}, "shard_atoms"),
        ({"name": "../elsewhere"}, "pattern"),
    ],
)
def test_a_specification_that_is_wrong_says_why(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        toy_spec(**changes)


def test_paths_start_from_the_folder_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "some.csv").write_text("formula\nNaCl\n")
    spec = read_campaign(write_spec(tmp_path / "spec.yaml", targets=[{"table": "some.csv"}]))
    assert spec.targets[0].table == tmp_path / "some.csv"
    with pytest.raises(InputError, match="Cannot read the specification"):
        read_campaign(tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(InputError, match="holds no specification"):
        read_campaign(tmp_path / "list.yaml")


def test_the_schema_holds_the_settings_of_runs() -> None:
    schema = json_schema()
    assert "micro_batch_atoms" in schema["properties"]["settings"]["properties"]
    assert "micro_batch_atoms" in schema["$defs"]["TargetSpec"]["properties"]["settings"]["properties"]
    assert "formula" not in schema["properties"]["settings"]["properties"]
