"""`chggen train nequip`: its data, its output directory, and what it refuses."""

from __future__ import annotations

import gzip
import json
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from chggen_kit.errors import ChggenError, InputError, RunDirectoryError
from chggen_kit.state import CrystalBatch
from chggen_kit.testing.crystals import caesium_chloride, rocksalt
from chggen_kit.training.dataset import CrystalSet
from chggen_nequip.checkpoint import load_checkpoint
from chggen_nequip.train_command import command

QUICK = ("--hidden", "4,2", "--layers", "1", "--steps", "1", "--batch-atoms", "8")


def row(name: str, batch: CrystalBatch, **metadata: object) -> dict[str, object]:
    """One line of a JSON-lines data set."""
    return {
        "id": name,
        "lattice": batch.lattice[0].tolist(),
        "species": batch.species.tolist(),
        "frac_coords": batch.frac_coords.tolist(),
        **metadata,
    }


def write_rows(path: Path, *rows: dict[str, object]) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two rows without splits."""
    salt, caesium = rocksalt(11, 17, 5.64), caesium_chloride(55, 17, 4.12)
    return write_rows(tmp_path / "rows.jsonl", row("salt", salt), row("caesium", caesium))


def run(data: Path, out: Path, *more: str) -> Result:
    arguments = ["--data", str(data), "--out", str(out), *QUICK, *more]
    return CliRunner().invoke(command, arguments, catch_exceptions=False)


def test_the_command_trains_and_leaves_held_out_formulas_out(tmp_path: Path) -> None:
    rows = [
        row("salt", rocksalt(11, 17, 5.64), suggested_split="train"),
        row("kept-apart", rocksalt(3, 9, 4.03), suggested_split="train"),
        row("caesium", caesium_chloride(55, 17, 4.12)),
        row("judge", rocksalt(19, 35, 6.6), suggested_split="val"),
    ]
    data, held_out = tmp_path / "rows.jsonl.gz", tmp_path / "held_out.txt"
    data.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    held_out.write_text("LiF\n")
    arguments = [
        "--data", str(data), "--out", str(tmp_path / "run"), "--held-out", str(held_out), "--hidden", "8,4",
        "--layers", "1", "--save-every", "2",
    ]  # fmt: skip
    first = CliRunner().invoke(command, [*arguments, "--steps", "2"], catch_exceptions=False)
    assert first.exit_code == 0, first.output
    assert "Training on 2 structures" in first.output
    assert "'held-out formula': 1" in first.output
    assert "relative errors" in first.output
    checkpoint = load_checkpoint(tmp_path / "run" / "checkpoint.safetensors")
    assert checkpoint.elements == {11, 17, 55}
    second = CliRunner().invoke(command, [*arguments, "--steps", "4"], catch_exceptions=False)
    assert "Going on from step 2" in second.output
    assert load_checkpoint(tmp_path / "run" / "checkpoint.safetensors").facts["step"] == 4
    steps = [json.loads(line)["step"] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert all(a <= b for a, b in pairwise(steps))
    for wrong in (["--hidden", "8,x"], ["--sigma-min", "3"], ["--validation-split", "train"]):
        refused = CliRunner().invoke(command, [*arguments, "--out", str(tmp_path / "wrong"), *wrong])
        assert refused.exit_code == 2, refused.output
    with pytest.raises(RunDirectoryError, match="other data"):
        CliRunner().invoke(command, [*arguments, "--max-atoms", "9"], catch_exceptions=False)


def test_a_directory_of_something_else_is_left_alone(tmp_path: Path, data: Path) -> None:
    out = tmp_path / "thesis"
    out.mkdir()
    (out / "chapter.tex").write_text("words")
    with pytest.raises(RunDirectoryError, match=r"chapter\.tex"):
        run(data, out)
    assert [path.name for path in out.iterdir()] == ["chapter.tex"]
    (out / "data.json").write_text("[1]")
    with pytest.raises(RunDirectoryError, match=r"data\.json"):
        run(data, out)
    assert run(data, data).exit_code == 2


def test_what_a_stopped_preparation_leaves_is_replaced(tmp_path: Path, data: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    for name in (".crystals.pt.partial", "crystals.pt", ".data.json.partial", "validation.pt"):
        (out / name).write_bytes(b"half")
    assert run(data, out).exit_code == 0


def test_damaged_prepared_structures_are_explained(tmp_path: Path, data: Path) -> None:
    out = tmp_path / "run"
    assert run(data, out).exit_code == 0
    assert not [path.name for path in out.iterdir() if path.name.endswith(".partial")]
    content = (out / "crystals.pt").read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"words"):
        (out / "crystals.pt").write_bytes(damaged)
        with pytest.raises(RunDirectoryError, match=r"crystals\.pt cannot be read"):
            run(data, out)


def test_a_finished_run_is_finished(tmp_path: Path, data: Path) -> None:
    assert run(data, tmp_path / "run", "--steps", "2").exit_code == 0
    assert run(data, tmp_path / "run", "--steps", "2").exit_code == 0
    with pytest.raises(InputError, match="step 2"):
        run(data, tmp_path / "run", "--steps", "1")


@pytest.mark.parametrize(
    "wrong",
    [
        ("--hidden", "8,x"),
        ("--hidden", "8,0"),
        ("--hidden", "8"),
        ("--hidden", "8,1000000000"),
        ("--learning-rate", "nan"),
        ("--learning-rate", "-1"),
        ("--precision", "8"),
        ("--cutoff", "nan"),
    ],
    ids=str,
)
def test_wrong_options_are_refused_before_anything_is_written(
    tmp_path: Path, data: Path, wrong: tuple[str, str]
) -> None:
    try:
        assert run(data, tmp_path / "run", *wrong).exit_code == 2
    except ChggenError as error:
        assert isinstance(error, InputError)  # noqa: PT017 (click's errors are results, ours are raised)
    assert not (tmp_path / "run").exists()


def test_another_list_of_held_out_formulas_is_another_run(tmp_path: Path, data: Path) -> None:
    """Also a list of the same length, in the same file."""
    held_out = tmp_path / "held_out.txt"
    held_out.write_text("LiF\n")
    assert run(data, tmp_path / "run", "--held-out", str(held_out)).exit_code == 0
    held_out.rename(tmp_path / "moved.txt")
    assert run(data, tmp_path / "run", "--held-out", str(tmp_path / "moved.txt")).exit_code == 0
    held_out.write_text("KF\n")
    with pytest.raises(RunDirectoryError, match="held_out_sha256"):
        run(data, tmp_path / "run", "--held-out", str(held_out))


def nothing(folder: Path) -> Path:
    """A list of held-out formulas that none of our crystals has."""
    path = folder / "nothing.txt"
    path.write_text("H2O\n")
    return path


def note_of(out: Path) -> dict[str, object]:
    note: dict[str, object] = json.loads((out / "data.json").read_text())
    return note


def test_formulas_of_validation_rows_are_left_out(tmp_path: Path) -> None:
    rows = write_rows(
        tmp_path / "rows.jsonl",
        row("salt", rocksalt(11, 17, 5.64), suggested_split="train"),
        row("same formula", caesium_chloride(55, 17, 4.12), suggested_split="train"),
        row("judge", rocksalt(55, 17, 6.9), suggested_split="val"),
    )
    assert run(rows, tmp_path / "run", "--held-out", str(nothing(tmp_path))).exit_code == 0
    note = note_of(tmp_path / "run")
    assert (note["used"], note["validation"]) == (1, 1)
    assert note["left_out"] == {"formula of a validation row": 1, "other split": 1}


def test_validation_data_of_their_own(tmp_path: Path, data: Path) -> None:
    judge = write_rows(tmp_path / "judge.jsonl", row("judge", rocksalt(55, 17, 6.9)), row("k", rocksalt(19, 35, 6.6)))
    held_out = ("--held-out", str(nothing(tmp_path)))
    result = run(data, tmp_path / "run", *held_out, "--validation-data", str(judge))
    assert "relative errors" in result.output
    note = note_of(tmp_path / "run")
    assert (note["used"], note["validation"]) == (1, 2)
    assert note["left_out"] == {"formula of a validation row": 1}
    with pytest.raises(RunDirectoryError, match="validation_data"):
        run(data, tmp_path / "run", *held_out)


def test_formulas_are_held_out_where_no_row_names_a_split(tmp_path: Path) -> None:
    pairs = [(m, x) for m in (3, 11, 19, 37, 55) for x in (9, 17, 35, 53, 47, 79)]
    crystals = [row(f"{m}-{x}-{a}", rocksalt(m, x, a)) for m, x in pairs for a in (5.6, 5.7)]
    held_out = nothing(tmp_path)
    data = write_rows(tmp_path / "rows.jsonl", *crystals)
    outs = [tmp_path / "run", tmp_path / "again"]
    for out, seed in zip(outs, "12", strict=True):
        result = run(data, out, "--held-out", str(held_out), "--seed", seed)
        assert "relative errors" in result.output
        note = note_of(out)
        # 5 % of 30 formulas is one, and each has two rows.
        assert (note["used"], note["validation"]) == (58, 2)
        assert note["left_out"] == {"formula of a validation row": 2}
    trained, judged = (CrystalSet.load(outs[0] / f"{name}.pt").batch for name in ("crystals", "validation"))
    formulas = [
        {tuple(sorted(set(b.select([i]).species.tolist()))) for i in range(b.n_crystals)} for b in (trained, judged)
    ]
    assert len(formulas[1]) == 1
    assert not formulas[0] & formulas[1]
    assert torch.equal(judged.species, CrystalSet.load(outs[1] / "validation.pt").batch.species)


def test_an_empty_validation_set_is_a_warning(tmp_path: Path, data: Path) -> None:
    result = run(data, tmp_path / "run")
    assert "no validation row" in result.stderr
    assert "--validation-data" in result.stderr
