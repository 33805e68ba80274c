"""Structure prediction from end to end: with samplers whose score is known, and with the shipped model."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from pymatgen.core import Lattice, Structure

from chggen_kit.cli import cli
from chggen_kit.errors import InputError, RunDirectoryError
from chggen_kit.evaluation.csp import csp_methods, evaluate_csp
from chggen_kit.evaluation.csp_references import (
    CspReference,
    choose_references,
    every_reference,
    prediction_task,
    templates,
)
from chggen_kit.evaluation.csp_report import CspReport
from chggen_kit.evaluation.csp_work import CspMethod
from chggen_kit.evaluation.recovery import Judging
from chggen_kit.interfaces import Progress, Sampler, SampleResult, SamplingTask, ScoreModel
from chggen_kit.interfaces.processes import NoiseProcess
from chggen_kit.io.readers import StructureRecord
from chggen_kit.plugins import get_registry
from chggen_kit.processes import TorusVE
from chggen_kit.state import CrystalBatch
from chggen_kit.workflow.config import PluginChoice
from chggen_kit.workflow.volume import volume_per_atom

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow"))
from workflow_toys import PairPotential, SiteModel, SiteOptions

NACL = Structure(Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
ROCKSALT = Structure.from_spacegroup("Fm-3m", NACL.lattice, ["Na", "Cl"], NACL.frac_coords).get_primitive_structure()
NACL_CSCL_TYPE = Structure(Lattice.cubic(3.5), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
CSCL = Structure(Lattice.cubic(4.12), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
PEROVSKITE = Structure(
    Lattice.cubic(3.905),
    ["Sr", "Ti", "O", "O", "O"],
    [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]],
)
REFERENCES = (
    CspReference("rocksalt", ROCKSALT, "polymorphs"),
    CspReference("cscl-type", NACL_CSCL_TYPE, "polymorphs"),
    CspReference("cscl", CSCL, "single"),
    CspReference("perovskite", PEROVSKITE, "single"),
)


def _row(name: str, structure: Structure, **metadata: Any) -> StructureRecord:
    return StructureRecord(
        name,
        structure.lattice.matrix,
        np.array([site.specie.Z for site in structure]),
        structure.frac_coords,
        {"suggested_split": "test", **metadata},
    )


def _salt(cation: str, edge: float = 5.64) -> Structure:
    return Structure(Lattice.cubic(edge), [cation, "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


ROWS = [
    *(_row(f"salt-{cation}", _salt(cation)) for cation in ("Li", "Na", "K", "Rb", "Cs", "Ag", "Tl")),
    *(_row(f"{cation}-{i}", _salt(cation, 5 + i)) for cation in ("Cu", "Mg", "Ca") for i in range(3)),
    _row("large", PEROVSKITE * (1, 1, 3)),
    _row("tagged", PEROVSKITE * (1, 1, 4), tags=["mp_20", "diffcsp15:Sr4Ti4O12"]),
]


class Remembering(Sampler):
    """Puts the atoms where `answers` has them, by reference id; fails where it is told to."""

    needs_model = False

    def __init__(self, answers: Mapping[str, np.ndarray], *, calls_until_kill: int | None = None) -> None:
        self.answers = answers
        self.calls = 0
        self.left = calls_until_kill

    def sample(
        self, model: ScoreModel | None, task: SamplingTask, *, seed: int, progress: Progress | None = None
    ) -> SampleResult:
        if self.left is not None and self.calls == self.left:
            raise KeyboardInterrupt
        self.calls += 1
        batch = task.templates
        coords = torch.cat([torch.tensor(self.answers[one.template]) for one in task.ids])
        reasons = tuple("non-finite" if one.template == "cscl" and one.copy == 1 else None for one in task.ids)
        crystals = CrystalBatch(coords, batch.lattice, batch.species, batch.num_atoms)
        return SampleResult(crystals, reasons, network_calls=7)


RIGHT = {one.id: one.structure.frac_coords for one in REFERENCES}


def _methods(sampler: Sampler) -> dict[str, CspMethod]:
    return {
        "given": CspMethod(sampler, None, {"cells": "given"}, "given"),
        "given-random": CspMethod(get_registry().create_sampler("random"), None, {"cells": "given"}, "given"),
    }


def test_references_are_chosen_by_seed_and_formulas_kept_apart() -> None:
    chosen = choose_references(ROWS, count=4, polymorphs=2, max_atoms=12, seed=1)
    groups = {name: [one.id for one in chosen if one.group == name] for name in ("diffcsp15", "single", "polymorphs")}
    assert groups["diffcsp15"] == ["tagged"]
    assert len(groups["single"]) == 4
    assert all(name.startswith("salt-") for name in groups["single"])
    formulas = [name.split("-")[0] for name in groups["polymorphs"]]
    assert len(formulas) == 6
    assert len(set(formulas)) == 2
    assert chosen == choose_references(ROWS, count=4, polymorphs=2, max_atoms=12, seed=1)
    assert chosen != choose_references(ROWS, count=4, polymorphs=2, max_atoms=12, seed=2)
    more = choose_references(ROWS, count=7, polymorphs=2, max_atoms=12, seed=1)
    assert [one.id for one in more if one.group == "single"][:4] == groups["single"]
    assert [one.id for one in every_reference(ROWS)] == [row.id for row in ROWS]
    with pytest.raises(InputError, match="--references 0"):
        choose_references([_row("large", PEROVSKITE * (1, 1, 3))], count=4, polymorphs=2, max_atoms=12, seed=1)


def test_templates_hold_composition_and_cell_and_nothing_else() -> None:
    reference = REFERENCES[3]
    given, searched, generated = (templates(reference, cells, 3, 0) for cells in ("given", "searched", "generated"))
    for made in (*given, *searched, *generated):
        assert made.composition == PEROVSKITE.composition
        assert not made.frac_coords.any()
    assert all(np.array_equal(made.lattice.matrix, PEROVSKITE.lattice.matrix) for made in given)
    volume = volume_per_atom(PEROVSKITE.composition).value_A3 * 5
    assert [made.volume for made in searched] == pytest.approx([volume] * 3)
    assert not any(abs(made.lattice.a - PEROVSKITE.lattice.a) < 1e-6 for made in generated)
    others = templates(CspReference("another", PEROVSKITE), "searched", 3, 0)
    assert not np.allclose(others[2].lattice.matrix, searched[2].lattice.matrix)


def test_two_references_of_one_composition_get_draws_of_their_own() -> None:
    members = [(name, copy, templates(CspReference(name, CSCL), "given", 1, 0)[0]) for name in "ab" for copy in (0, 1)]
    task = prediction_task(members, "given")
    drawn = get_registry().create_sampler("random").sample(None, task, seed=0).crystals.frac_coords.reshape(4, 6)
    assert len({tuple(row.tolist()) for row in drawn}) == 4
    assert not prediction_task(members, "generated").known.lattice.any()


def test_scores_of_known_answers(tmp_path: Path) -> None:
    """All right but the second prediction for CsCl; the second polymorph's atoms sit in the first one's places."""
    report = evaluate_csp(REFERENCES, _methods(Remembering(RIGHT)), out=tmp_path / "csp", samples=2, batch_atoms=8)
    right, _ = report.results
    assert [one.rmsds for one in right.outcomes][2] == (pytest.approx(0, abs=1e-6), None)
    scores = report.scores(right, "together")
    assert scores.match_rate.value == scores.metre.value == 1
    assert scores.rmse.value == pytest.approx(0, abs=1e-6)
    assert scores.sample_match_rate.value == pytest.approx(7 / 8)
    assert right.reasons.count("non-finite") == 1
    assert right.network_calls == (7,) * 4
    assert report.group_names == ["polymorphs", "single", "together"]
    plain = report.as_json()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["references"] == {"polymorphs": 2, "single": 2}
    assert plain["scores"]["single"]["given, drawn"]["references"] == 2
    assert plain["facts"]["matcher"] == "StructureMatcher(stol=0.5, ltol=0.3, angle_tol=10)"
    assert list(plain["differences"]["together"]) == ["cell given minus cell given, random"]
    assert [len(table.rows) for table in report.tables()] == [2, 2, 2, 1]


def test_wrong_atoms_and_unusable_coordinates_are_misses_with_a_reason(tmp_path: Path) -> None:
    heap = {name: np.full_like(coords, 0.25) for name, coords in RIGHT.items()}
    broken = {name: np.full_like(coords, np.nan) for name, coords in RIGHT.items()}
    for name, answers, reason in (("heap", heap, "different"), ("broken", broken, "non-finite")):
        report = evaluate_csp(REFERENCES, _methods(Remembering(answers)), out=tmp_path / name, samples=2)
        assert report.scores(report.results[0], "together").match_rate.value == 0
        assert report.scores(report.results[0], "together").crmse.value == 0.5
        assert set(report.results[0].reasons) <= {reason, "non-finite"}
        assert not any(allowed for one in report.results[0].outcomes for allowed in one.allowed)


def test_metre_finds_a_polymorph_that_was_predicted_for_another(tmp_path: Path) -> None:
    """Rocksalt is predicted for both structures of NaCl, in cells that were searched and found right."""

    class Rocksalts(Remembering):
        def sample(self, *args: Any, **options: Any) -> SampleResult:
            result = super().sample(*args, **options)
            matrix = torch.tensor(ROCKSALT.lattice.matrix).expand_as(result.crystals.lattice)
            batch = result.crystals
            return SampleResult(
                CrystalBatch(batch.frac_coords, matrix, batch.species, batch.num_atoms), result.reasons, 1
            )

    polymorphs = (REFERENCES[1], REFERENCES[0])
    method = {"given": CspMethod(Rocksalts({one.id: ROCKSALT.frac_coords for one in polymorphs}), None, {}, "given")}
    only_the_first = {"cscl-type": ROCKSALT.frac_coords, "rocksalt": np.zeros((2, 3))}
    report = evaluate_csp(polymorphs, method, out=tmp_path / "both", samples=1)
    assert [one.best for one in report.results[0].outcomes] == [None, pytest.approx(0, abs=1e-5)]
    swapped = {"given": CspMethod(Rocksalts(only_the_first), None, {}, "given")}
    report = evaluate_csp(polymorphs, swapped, out=tmp_path / "swapped", samples=1)
    assert report.scores(report.results[0], "polymorphs").match_rate.value == 0
    assert report.scores(report.results[0], "polymorphs").metre.value == 0.5


def test_an_interrupted_evaluation_goes_on_and_ends_the_same(tmp_path: Path) -> None:
    def run(name: str, sampler: Sampler, **settings: Any) -> CspReport:
        return evaluate_csp(REFERENCES, _methods(sampler), out=tmp_path / name, samples=2, batch_atoms=4, **settings)

    whole = run("whole", Remembering(RIGHT))
    with pytest.raises(KeyboardInterrupt):
        run("killed", Remembering(RIGHT, calls_until_kill=2))
    assert len(list((tmp_path / "killed" / "shards").glob("given-draw-*.json"))) == 2
    again = Remembering(RIGHT)
    resumed = run("killed", again)
    assert again.calls == 3  # of five: not the two that were done
    assert [one.outcomes for one in resumed.results] == [one.outcomes for one in whole.results]
    with pytest.raises(RunDirectoryError, match="seed"):
        run("killed", Remembering(RIGHT), seed=1)


def test_what_cannot_be_evaluated_is_refused(tmp_path: Path) -> None:
    methods = _methods(Remembering(RIGHT))
    with pytest.raises(InputError, match="at least one reference"):
        evaluate_csp([], methods, out=tmp_path / "a")
    with pytest.raises(InputError, match="cscl appear more than once"):
        evaluate_csp([REFERENCES[2]] * 2, methods, out=tmp_path / "b")
    needle = Structure(Lattice.orthorhombic(0.3, 0.3, 3000), ["Cs", "Cl"], CSCL.frac_coords)
    with pytest.raises(InputError, match="elongated-cell"):
        evaluate_csp([CspReference("cscl", needle)], methods, out=tmp_path / "c")


@pytest.mark.filterwarnings("ignore:No Pauling electronegativity")
def test_an_element_without_a_volume_fails_its_predictions_alone(tmp_path: Path) -> None:
    odd = CspReference("odd", Structure(Lattice.cubic(5), ["Og", "Og"], [[0, 0, 0], [0.5, 0.5, 0.5]]))
    method = {"searched": CspMethod(get_registry().create_sampler("random"), None, {}, "searched")}
    report = evaluate_csp([odd, REFERENCES[2]], method, out=tmp_path / "csp", samples=2)
    assert report.results[0].reasons[:2] == ("no-volume-estimate",) * 2
    assert "no-volume-estimate" not in report.results[0].reasons[2:]


class CellModel(SiteModel):
    """Declares that it draws cells too."""

    @property
    def processes(self) -> Mapping[str, NoiseProcess]:
        return {**super().processes, "lattice": TorusVE(0.01, 1.0)}


def test_methods_follow_what_the_model_draws() -> None:
    def described(model: ScoreModel, **settings: Any) -> dict[str, str]:
        found = csp_methods(model, get_registry(), **settings)
        assert all((method.model is None) == name.endswith("random") for name, method in found.items())
        return {name: method.description["sampler"] for name, method in found.items()}

    fixed, moving = SiteModel(SiteOptions()), CellModel(SiteOptions())
    assert described(fixed) == {
        "given": "predictor-corrector",
        "searched": "predictor-corrector",
        "given-random": "random",
        "searched-random": "random",
    }
    # What is given of a field that moves has to be imposed at every level.
    assert described(moving, baselines=()) == {
        "given": "replace",
        "searched": "replace",
        "generated": "predictor-corrector",
    }
    assert described(moving, cells=["generated"]) == {"generated": "predictor-corrector"}
    with pytest.raises(InputError, match="does not draw cells"):
        csp_methods(fixed, get_registry(), cells=["generated"])


def test_relaxed_predictions_are_compared_with_relaxed_references(tmp_path: Path) -> None:
    potential = PairPotential()
    relaxer = get_registry().create_relaxer("fire", potential=potential)
    judging = Judging(relaxer, {"potential": potential.info.name}, max_steps=30)
    references: Sequence[CspReference] = REFERENCES[2:]
    report = evaluate_csp(
        references, _methods(Remembering(RIGHT)), out=tmp_path / "csp", samples=2, judging=judging, batch_atoms=8
    )
    assert [(one.method, one.state) for one in report.results] == [
        ("given", "drawn"),
        ("given-random", "drawn"),
        ("given", "relaxed"),
        ("given-random", "relaxed"),
    ]
    relaxed = report.results[2]
    # The same start ends in the same place as the reference; the prediction that failed stays a failure.
    assert relaxed.outcomes[0].rmsds == (pytest.approx(0, abs=1e-5), None)
    assert relaxed.outcomes[1].rmsds == (pytest.approx(0, abs=1e-5),) * 2
    shard = json.loads((tmp_path / "csp" / "shards" / "given-relax-0001.json").read_text())
    record = shard["records"][0]
    assert record["known"]["lattice"] != REFERENCES[3].structure.lattice.matrix.tolist()
    assert record["predictions"][0]["energy"] is not None


def test_the_shipped_model_on_textbook_crystals(tmp_path: Path) -> None:
    registry = get_registry()
    model = registry.create_score_model("nequip", {})
    methods = csp_methods(model, registry, sampler=PluginChoice(name="predictor-corrector", options={"steps": 8}))
    report = evaluate_csp(REFERENCES[1:], methods, out=tmp_path / "csp", samples=2, threads=1)
    scores = {one.method: report.scores(one, "together") for one in report.results}
    assert set(scores) == {"given", "searched", "given-random", "searched-random"}
    # Two ions in their own cubic cell have hardly a choice, and neither has SrTiO3: any trained model finds them.
    assert scores["given"].match_rate.value == 1
    assert scores["given"].crmse.value < scores["given-random"].crmse.value
    assert {one.method: set(one.network_calls) for one in report.results}["searched"] == {8}


def test_the_command_line(tmp_path: Path) -> None:
    data = tmp_path / "rows.jsonl"
    rows = [
        {
            "id": one.id,
            "lattice": one.structure.lattice.matrix.tolist(),
            "species": [site.specie.symbol for site in one.structure],
            "frac_coords": one.structure.frac_coords.tolist(),
            "split": "test",
        }
        for one in REFERENCES
    ]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ["evaluate", "nequip", "--data", str(data), "--out", str(tmp_path / "out"), "--only", "csp"]
    command += ["--references", "0", "--per-reference", "1", "--cells", "given", "--threads", "1"]
    command += ["--unconditional-sampler-option", "steps=5", "--progress", "none"]
    result = CliRunner().invoke(cli, command)
    assert result.exit_code == 0, result.output
    assert "4 references, 1 samples each" in result.output
    found = json.loads((tmp_path / "out" / "csp.json").read_text())
    assert found["references"] == {"all": 4}
    assert set(found["scores"]["all"]) == {"given, drawn", "given-random, drawn"}
    assert found["facts"]["split"] == "test"
    bad = CliRunner().invoke(cli, [*command, "--cells", "guessed"])
    assert bad.exit_code == 2
    assert "guessed" in bad.output
