"""The whole kit at work: the in-house score model, the ladder and CHGNet, from Python and from the command line."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure
from test_kill_resume import check_kills
from workflow_rows import read_rows

from chggen_kit.errors import CheckpointError, InputError, RunDirectoryError
from chggen_kit.workflow import generate, inpaint

# Ten steps with room for three jumps back.
FEW = {"name": "repaint", "options": {"steps": 10, "jump_length": 3, "passes": 2}}
FEW_UNCONDITIONAL = {"name": "predictor-corrector", "options": {"steps": 10}}
# Fluorite is a face-centred lattice of Ca with F in its holes: the textbook host with guests.
CAF2 = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.46), ["Ca", "F"], [[0, 0, 0], [0.25, 0.25, 0.25]])


@pytest.fixture(scope="module")
def chlorine_framework(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Na2Cl2 without Na is two Cl atoms, which always have a symmetry: both stages run."""
    out = tmp_path_factory.mktemp("real") / "Na2Cl2"
    generate(
        "Na2Cl2",
        n=2,
        guests="Na",
        inpaintings=1,
        sampler=FEW,
        unconditional_sampler=FEW_UNCONDITIONAL,
        max_steps=25,
        out=out,
    )
    return out


def test_generate_from_a_composition(chlorine_framework: Path) -> None:
    rows = read_rows(chlorine_framework / "results.db")
    stages = [row["stage"] for row in rows]
    assert stages.count("unconditional") == 2
    summary = json.loads((chlorine_framework / "summary.json").read_text())
    assert stages.count("inpainted") == summary["hosts"]["symmetrised"]
    for row in rows:
        assert row["backend"] == "nequip"
        assert row["checkpoint_sha256"].startswith("sha256:")
        assert row["potential"].startswith("chgnet")
    for row in (row for row in rows if row["stage"] == "inpainted"):
        assert row["host_spacegroup_number"] > 2
        assert row["host_symprec"] <= 2.0


def test_another_potential_is_another_run(chlorine_framework: Path) -> None:
    with pytest.raises(RunDirectoryError, match="fmax"):
        generate(
            "Na2Cl2",
            n=2,
            guests="Na",
            inpaintings=1,
            sampler=FEW,
            unconditional_sampler=FEW_UNCONDITIONAL,
            max_steps=25,
            fmax=0.05,
            out=chlorine_framework,
        )


def test_inpaint_a_host_of_a_textbook_crystal(tmp_path: Path) -> None:
    host = CAF2.copy()
    host.remove_species(["F"])
    host.translate_sites([1], [1, -1, 0], to_unit_cell=False)
    result = inpaint(host, {"F": 8}, n=2, sampler=FEW, max_steps=10, out=tmp_path / "o")
    assert len(result.records) == 2
    for record in result.records:
        assert record.generated is not None
        structure = record.generated.structure()
        assert structure.composition.reduced_formula == "CaF2"
        assert structure.frac_coords[:4].tobytes() == host.frac_coords.tobytes()
        assert structure.lattice.matrix.tobytes() == host.lattice.matrix.tobytes()
        assert np.isfinite(structure.frac_coords).all()


def test_lithium_goes_back_into_antifluorite(tmp_path: Path) -> None:
    """Li2O: O on a face-centred lattice, Li in its tetrahedral holes; the host is O alone, its cell as published."""
    known = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.61), ["O", "Li"], [[0, 0, 0], [0.25, 0.25, 0.25]])
    host = known.copy()
    host.remove_species(["Li"])
    result = inpaint(host, {"Li": 8}, n=2, fmax=0.02, out=tmp_path / "o")
    for record in result.records:
        assert record.generated is not None
        drawn = record.generated.structure()
        assert drawn.frac_coords[:4].tobytes() == host.frac_coords.tobytes()
        assert drawn.lattice.matrix.tobytes() == host.lattice.matrix.tobytes()
    relaxed = [record for record in result.records if record.relaxed is not None]
    rows = {row["structure_id"]: row for row in read_rows(tmp_path / "o" / "results.db")}
    for record in relaxed:
        assert record.host_drift_A is not None
        assert record.host_drift_A > 0
        assert rows[record.id]["host_drift"] == record.host_drift_A
    matcher = StructureMatcher()
    assert any(matcher.fit(record.relaxed.structure(), known) for record in relaxed if record.relaxed is not None)


def test_checkpoints_that_cannot_be_used(tmp_path: Path) -> None:
    import chggen_nequip

    weights = next(Path(chggen_nequip.__file__).parent.glob("weights/*.safetensors"))
    truncated = tmp_path / "truncated.safetensors"
    truncated.write_bytes(weights.read_bytes()[:100_000])
    for path in (tmp_path / "absent.safetensors", truncated):
        with pytest.raises(CheckpointError, match=path.name):
            generate("NaCl", n=1, checkpoint=path, out=tmp_path / "o")
    from safetensors.torch import load_file, save_file

    tensors = load_file(weights)
    tensors.pop(next(iter(tensors)))
    tensors["stranger"] = next(iter(tensors.values())).clone()
    save_file(tensors, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError):
        generate("NaCl", n=1, checkpoint=tmp_path / "other.safetensors", out=tmp_path / "o")
    assert not (tmp_path / "o").exists()


def test_an_element_outside_the_training_set(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not cover"):
        generate("OgF2", n=1, volume_per_atom=20.0, guests="Og", out=tmp_path / "o")


FIRST = [sys.executable, "-c", "from chggen_kit.cli import main; main()", "generate", "ZnP2S6", "--progress", "none"]
SMALL = [
    *["-n", "2", "--micro-batch-atoms", "18", "--max-steps", "60"],
    *["--sampler-option", "steps=20", "--unconditional-sampler-option", "steps=20"],
]


def start(*options: str, out: Path) -> subprocess.Popen[bytes]:
    command = [*FIRST, *options, "--out", str(out)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603 - our own command


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_killed_three_times_and_started_again(tmp_path: Path, seed: int) -> None:
    check_kills(lambda out: start(*SMALL, out=out), tmp_path, seed)


@pytest.mark.slow
def test_the_default_job_from_the_command_line(tmp_path: Path) -> None:
    assert start(out=tmp_path / "o").wait() == 0
    summary = json.loads((tmp_path / "o" / "summary.json").read_text())
    assert summary["unconditional"]["started"] == 8
    assert len(read_rows(tmp_path / "o" / "results.db")) == 8 + 3 * summary["hosts"]["symmetrised"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["generate_composition", "inpaint_host"])
def test_the_examples_run(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    script = Path(__file__).parents[2] / "examples" / f"{name}.py"
    main = runpy.run_path(str(script))["main"]
    main(str(tmp_path / "o"), n=1)
    assert "eV/atom" in capsys.readouterr().out
    assert (tmp_path / "o" / "results.db").exists()
