"""`--judge` of generate and inpaint, and `chggen judge`: what they print, and how they refuse."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from pymatgen.core import Lattice, Structure

from chggen_kit.cli import cli
from chggen_kit.cli._judging import parse_judge
from chggen_kit.errors import InputError
from chggen_kit.io.files import write_structure

sys.path.insert(0, str(Path(__file__).parents[1] / "judging"))
from judging_toys import judging_registry

Chggen = Callable[..., Result]
INPAINT = [
    *["inpaint", "host.json", "--guest", "Na=2", "-n", "3", "--potential", "pairs", "--sampler", "random"],
    *["--max-steps", "20", "--out", "o"],
]


@pytest.fixture
def chggen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Chggen:
    registry = judging_registry()
    monkeypatch.setattr("chggen_kit.plugins.get_registry", lambda **_: registry)
    monkeypatch.chdir(tmp_path)
    host = Structure(
        Lattice([[5, 0.1, 0], [0, 5.5, 0.2], [0.3, 0, 6]]), ["Cl", "Cl"], [[0.1, 0.2, 0.3], [0.5, 0.6, 0.8]]
    )
    write_structure(host, tmp_path / "host.json", "json")

    def run(*args: str) -> Result:
        return CliRunner().invoke(cli, list(args))

    return run


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("chgnet", "chgnet", {}),
        ("chgnet:weights=r2scan", "chgnet", {"weights": "r2scan"}),
        ("sevennet@/envs/s/bin/python", "sevennet@/envs/s/bin/python", {}),
        (
            r"mace@C:\envs\mace:model=a.model,trust_pickle=true",
            r"mace@C:\envs\mace",
            {"model": "a.model", "trust_pickle": True},
        ),
        (
            'ase:calculator=a.b:C,keywords={"x": 1, "y": 2},frame=raw-pbe',
            "ase",
            {"calculator": "a.b:C", "keywords": {"x": 1, "y": 2}, "frame": "raw-pbe"},
        ),
    ],
)
def test_a_judge_is_a_name_with_options(text: str, name: str, options: dict[str, Any]) -> None:
    assert parse_judge(text) == {"name": name, "options": options}


@pytest.mark.parametrize("text", ["", ":weights=a", "chgnet:"])
def test_a_judge_without_name_or_options_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="chgnet:weights=r2scan"):
        parse_judge(text)


def test_inpaint_is_judged_when_it_is_done_and_again_by_the_verb(chggen: Chggen) -> None:
    result = chggen(*INPAINT, "--judge", "other:scale=2", "--judge-top", "2")
    assert result.exit_code == 0, result.output
    assert result.stdout.index("Candidates by") < result.stdout.index("Second opinions")
    assert "other-a (other): no E_d" in result.stdout
    summary = json.loads(Path("o/summary.json").read_text())["second_opinions"]
    assert len(summary["candidates"]) == 2
    again = chggen("judge", "o", "--judge", "other:scale=2", "--judge-top", "2", "--references", "none")
    assert again.exit_code == 0, again.output
    assert "started" not in again.stderr
    assert json.loads(Path("o/summary.json").read_text())["second_opinions"]["candidates"] == summary["candidates"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--judge", "other:elements=[17]"], "other-a does not cover Na"),
        (["--judge", "othr"], "other"),
        (["--judge", "pairs"], "the run's own potential"),
        (["--judge", "other:scael=1"], "scale"),
        (["--judge", "other", "--judge-top", "0"], "top = 0"),
        (["--judge-top", "3"], "--judge"),
        (["--judge", "other", "--no-relax"], "--no-relax"),
    ],
)
def test_what_no_judge_can_do_is_said_before_the_run(chggen: Chggen, options: list[str], message: str) -> None:
    result = chggen(*INPAINT, *options)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert not Path("o").exists()


def test_generate_takes_judges_too(chggen: Chggen) -> None:
    toys = ["--potential", "pairs", "--backend", "sites", "--out", "o"]
    refused = chggen("generate", "ZnP2S", "--judge", "other:elements=[30,15]", *toys)
    assert refused.exit_code == 2
    assert "does not cover S" in refused.stderr
    system = chggen("generate", "--chemical-system", "Zn-P", "--judge", "other:elements=[30]", *toys)
    assert "does not cover P" in system.stderr
