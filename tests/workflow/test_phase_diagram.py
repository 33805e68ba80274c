"""`chggen hull`: its table, its pictures, and candidates of a run."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from pymatgen.core import Composition
from rich.console import Console

from chggen_kit.errors import InputError
from chggen_kit.thermo import Phase, ReferencePhase, References, amounts_of
from chggen_kit.workflow.phase_diagram import Diagram, diagram_table, make_diagram
from chggen_kit.workflow.phase_plot import check_target, plot_diagram


def reference(formula: str, per_atom: float) -> ReferencePhase:
    composition = Composition(formula)
    energy = per_atom * composition.num_atoms
    return ReferencePhase(f"r-{formula}", amounts_of(composition), energy, "f", "p", "by hand")


def candidate(formula: str, per_atom: float) -> Phase:
    composition = Composition(formula)
    return Phase(f"c-{formula}", amounts_of(composition), per_atom * composition.num_atoms, "f", "p")


# The elements do not lie at zero: formation energies must.
REFERENCES = References(
    [
        reference("Li", -2.0),
        reference("Li2", -1.9),
        reference("Si", -5.0),
        reference("LiSi", -4.0),
        reference("Li3Si", -3.0),
        reference("LiSi3", -4.3),
        reference("S", -4.0),
        reference("Li2S", -4.0),
    ],
    "by hand",
)


@pytest.fixture
def binary() -> Diagram:
    return make_diagram(REFERENCES, {"Li", "Si"}, [candidate("Li2Si", -3.6), candidate("Li5Si", -2.5)])


def test_the_numbers_of_a_binary(binary: Diagram) -> None:
    found = {one.phase.id: one for one in binary.phases}
    assert set(found) == {"r-Li", "r-Li2", "r-Si", "r-LiSi", "r-Li3Si", "r-LiSi3", "c-Li2Si", "c-Li5Si"}
    assert [one.kind for one in binary.phases] == ["reference"] * 6 + ["candidate"] * 2
    assert found["r-Li"].formation_energy == 0
    assert found["r-Li2"].formation_energy == pytest.approx(0.1)
    assert found["r-Li2"].decomposition_energy == pytest.approx(0.1)
    assert found["r-Li"].decomposition_energy is None
    # LiSi forms with -0.5 eV/atom; Li3Si, at 3/4 Li, with -0.25, exactly on the line from LiSi to Li.
    assert found["r-LiSi"].formation_energy == pytest.approx(-0.5)
    assert found["r-LiSi"].decomposition_energy == pytest.approx(-0.5 + 2 / 3 * 0.25)
    assert found["r-Li3Si"].above_hull == pytest.approx(0.0)
    assert found["r-LiSi3"].formation_energy == pytest.approx(-0.05)
    assert found["r-LiSi3"].above_hull == pytest.approx(0.2)
    assert not found["r-LiSi3"].is_stable
    # Li2Si: the line is at -2/3 * 0.5; it forms with -0.6.
    assert found["c-Li2Si"].decomposition_energy == pytest.approx(-0.6 + 1 / 3)
    assert found["c-Li2Si"].is_stable
    assert found["c-Li5Si"].above_hull == pytest.approx(0.3)


def test_the_table(binary: Diagram) -> None:
    console = Console(width=120, record=True)
    console.print(diagram_table(binary, 1))
    text = console.export_text()
    assert "Li-Si (by hand: p, f; * = on the hull)" in text
    line = next(one for one in text.splitlines() if "c-Li2Si" in one)
    assert line.split()[:6] == ["candidate", "Li2Si", "*", "c-Li2Si", "-0.600", "0.000"]
    assert "c-Li5Si" not in text


@pytest.mark.parametrize("symbols", [{"Li", "Si"}, {"Li", "Si", "S"}])
def test_pictures(tmp_path: Path, symbols: set[str]) -> None:
    candidates = [candidate("Li2Si", -3.6), candidate("Li5Si", -2.62)]
    if "S" in symbols:
        candidates.append(candidate("Li2SiS", -4.2))
    diagram = make_diagram(REFERENCES, symbols, candidates)
    plot_diagram(diagram, tmp_path / "new" / "hull.svg")
    text = (tmp_path / "new" / "hull.svg").read_text()
    root = ET.fromstring(text)  # noqa: S314  our own file
    assert root.tag.endswith("svg")
    comments = text  # matplotlib writes the text of each label as a comment
    for label in ("reference on the hull", "reference above the hull", "candidate on the hull"):
        assert label in comments
    assert f"{'-'.join(sorted(symbols))} (p, f)" in comments
    with pytest.raises(InputError, match="is there already"):
        plot_diagram(diagram, tmp_path / "new" / "hull.svg")
    plot_diagram(diagram, tmp_path / "hull.png")
    assert (tmp_path / "hull.png").read_bytes().startswith(b"\x89PNG")
    plot_diagram(diagram, tmp_path / "again.png")
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "hull.png").read_bytes()


def test_what_cannot_be_drawn(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"must end in \.png"):
        check_target(tmp_path / "hull.txt")
    with pytest.raises(InputError, match="two or three elements"):
        plot_diagram(make_diagram(REFERENCES, {"Li"}), tmp_path / "hull.png")
