"""Counts and rates, on records made by hand: every denominator is what its name says."""

import io
from pathlib import Path

from pymatgen.core import Lattice, Structure
from rich.console import Console
from workflow_toys import TOY_SETTINGS, toy_registry

from chggen_kit.workflow.config import GenerateConfig, build_config
from chggen_kit.workflow.records import HostRecord, Record, StructureData
from chggen_kit.workflow.result import RunResult
from chggen_kit.workflow.summary import rank, rate, summarise
from chggen_kit.workflow.table import print_result

DATA = StructureData.of(Structure(Lattice.cubic(4), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]))
CONFIG = build_config(GenerateConfig, {"formula": "NaCl", **TOY_SETTINGS}, toy_registry())


def record(name: str, group: int | None, *, energy: float | None = -4.0, host: str | None = None) -> Record:
    relaxed = group is not None
    return Record(
        id=name,
        stage="inpainted" if host else "unconditional",
        start=int(name[1]),
        host_id=host,
        outcome="ok" if relaxed else "overlap",
        generated=DATA,
        relaxed=DATA if relaxed else None,
        energy=energy if relaxed else None,
        converged=relaxed,
        spacegroup_number=group,
        spacegroup_symbol=None if group is None else "X",
    )


# Four starts: one overlaps, one of three relaxed is symmetric. Three hosts looked at, two symmetrised: one of them
# gave two symmetric structures, the other none.
RECORDS = [
    record("u0", 1),
    record("u1", 5),
    record("u2", 2),
    record("u3", None),
    record("i0", 12, host="h0"),
    record("i0b", 225, host="h0", energy=-6.0),
    record("i0c", 1, host="h0"),
    record("i1", 2, host="h1"),
    record("i1b", None, host="h1"),
    record("i1c", 1, host="h1"),
]
HOSTS = [
    HostRecord(id="h0", start=0, host=DATA),
    HostRecord(id="h1", start=1, host=DATA),
    HostRecord(id="h2", start=2, outcome="no-symmetry"),
    HostRecord(id="h3", start=3, outcome="not-relaxed"),
]


def test_each_rate_has_its_own_denominator() -> None:
    summary = summarise(CONFIG, RECORDS, HOSTS, ["Na"], {})

    def counts(stage: str, name: str) -> tuple[int, int]:
        one = summary[stage]["symmetric_rates"][name]
        assert one["rate"] == one["count"] / one["of"]
        assert one["denominator"]
        return one["count"], one["of"]

    assert counts("unconditional", "among_started") == (1, 4)
    assert counts("unconditional", "among_relaxed") == (1, 3)
    assert counts("inpainted", "among_started") == (2, 6)
    assert counts("inpainted", "among_relaxed") == (2, 5)
    assert counts("inpainted", "among_symmetrised_hosts") == (1, 2)
    assert counts("inpainted", "among_all_starts") == (1, 4)
    assert summary["hosts"] == {
        "looked_at": 3,
        "symmetrised": 2,
        "outcomes": {"no-symmetry": 1, "not-relaxed": 1, "ok": 2},
    }
    assert summary["unconditional"]["outcomes"] == {"ok": 3, "overlap": 1}
    assert "note" not in summary


def test_excluded_groups_are_the_users() -> None:
    strict = CONFIG.model_copy(update={"excluded_groups": (1, 2, 5, 12)})
    summary = summarise(strict, RECORDS, HOSTS, ["Na"], {})
    assert summary["unconditional"]["symmetric"] == 0
    assert summary["inpainted"]["symmetric"] == 1


def test_a_rate_of_nothing_is_no_number() -> None:
    assert rate(0, 0, "structures started")["rate"] is None


def test_the_lowest_energy_comes_first_and_failures_are_left_out() -> None:
    ranked = rank(RECORDS)
    assert ranked[0].id == "i0b"
    assert "u3" not in [one.id for one in ranked]
    # Equal energies stay in the order drawn.
    assert [one.id for one in ranked[1:4]] == ["u0", "u1", "u2"]


def test_structures_without_energies_come_last_in_the_order_drawn() -> None:
    bare = [record("u0", 1, energy=None), record("u1", 1, energy=None), record("u2", 1)]
    assert [one.id for one in rank(bare)] == ["u2", "u0", "u1"]


def test_the_table_fits_a_terminal_of_80_columns(tmp_path: Path) -> None:
    records = [*RECORDS, record("i0002-2", 136, host="h0").updated(spacegroup_symbol="P4_2/mnm", host_drift_A=0.5)]
    summary = summarise(CONFIG, records, HOSTS, ["Na"], {})
    stream = io.StringIO()
    print_result(RunResult(tmp_path, CONFIG, records, HOSTS, summary), Console(file=stream, width=80))
    text = stream.getvalue()
    assert "…" not in text
    assert "-3.0000" in text
    assert "P4_2/mnm (136) *" in text
    assert "1 of 4 structures started (25.0 %)" in text
