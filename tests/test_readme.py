"""What the README and the docs show works as shown."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
from pymatgen.core import Lattice, Structure

from chggen_kit.cli import cli

ROOT = Path(__file__).parent.parent
PAGES = (
    "README.md",
    "docs/runs.md",
    "docs/relaxation.md",
    "docs/annealing.md",
    "docs/training.md",
    "docs/metrics.md",
    "docs/samplers.md",
    "docs/evaluation.md",
    "docs/thermodynamics.md",
    "docs/dft-inputs.md",
    "docs/second-opinion.md",
    "docs/refiners.md",
    "docs/report.md",
    "docs/benchmark.md",
)


def _commands() -> list[str]:
    lines = [line.strip() for page in PAGES for line in (ROOT / page).read_text(encoding="utf-8").splitlines()]
    return [line.split("#")[0].strip() for line in lines if line.startswith("chggen ")]


def test_the_pages_show_commands() -> None:
    assert len(_commands()) >= 8


@pytest.mark.parametrize("line", _commands())
def test_shown_commands_have_the_options_that_they_use(line: str) -> None:
    words = shlex.split(line)[1:]
    command: click.Command = cli
    context = click.Context(cli, info_name="chggen")
    while isinstance(command, click.Group) and words:
        found = command.get_command(context, words.pop(0))
        assert found is not None, line
        command = found
        context = click.Context(command, parent=context)
    known = {name for parameter in command.params for name in parameter.opts + parameter.secondary_opts}
    used = {word.split("=")[0] for word in words if re.match(r"--?[a-zA-Z]", word)}
    assert used <= known, f"{line}: {sorted(used - known)}"


def test_links_lead_to_files() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / "README.md").read_text(encoding="utf-8")):
        assert (ROOT / target).is_file(), target


@pytest.mark.slow
def test_the_python_code_of_the_readme_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    # Antifluorite Li2O without its lithium: a host with room for the four Li that the README puts in.
    host = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.61), ["O"], [[0, 0, 0]])
    host.to(filename="host.cif")
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    namespace: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), namespace)  # noqa: S102 - our own page
    assert capsys.readouterr().out.startswith("1 ")
    assert (tmp_path / "runs/ZnP2S6/results.db").is_file()
    filled = namespace["filled"]
    assert len(filled.candidates) > 0  # type: ignore[attr-defined]
    assert filled.candidates[0].structure.composition.formula == "Li4 O4"  # type: ignore[attr-defined]
