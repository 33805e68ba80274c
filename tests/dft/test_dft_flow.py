"""The atomate2 flow: read back by jobflow, with the settings of both relaxations; a clear refusal without it."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from dft_runs import caesium_chloride, record, rocksalt, write_run

from chggen_kit.dft import flow, write_dft_inputs
from chggen_kit.errors import InputError

HAS_ATOMATE2 = all(importlib.util.find_spec(name) is not None for name in flow.PACKAGES)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(
        tmp_path / "run", [record("i0000-0", caesium_chloride(), -3.0), record("i0000-2", rocksalt(), -3.02)]
    )


@pytest.mark.skipif(not HAS_ATOMATE2, reason="needs the extra atomate2 (atomate2 and jobflow)")
def test_the_flow_reads_back_with_the_papers_settings(run: Path) -> None:
    from jobflow import Flow

    done = write_dft_inputs(run, with_flow=True, kspacing="insulating")
    assert done.flow is not None
    whole = Flow.from_dict(json.loads(done.flow.read_text()))
    assert [part.name for part in whole.jobs] == [one["folder"] for one in done.entries]
    for part, one, kind in zip(whole.jobs, done.entries, (rocksalt(), caesium_chloride()), strict=True):
        first, second = part.jobs
        assert first.function_args[0] == kind
        settings: list[dict[str, Any]] = [job.maker.input_set_generator.user_incar_settings for job in (first, second)]
        for incar in settings:
            assert {key: incar[key] for key in ("ENCUT", "EDIFF", "KSPACING", "ISMEAR")} == {
                key: one["incar"][key] for key in ("ENCUT", "EDIFF", "KSPACING", "ISMEAR")
            }
        assert (settings[0]["GGA"], settings[0]["EDIFFG"], settings[1]["EDIFFG"]) == ("PS", -0.05, -0.02)
        incar = second.maker.input_set_generator.get_input_set(kind, potcar_spec=True).incar
        assert (incar["KSPACING"], incar["ENCUT"], incar["METAGGA"].lower()) == (0.44, 680, "r2scan")
        assert second.metadata["chggen"]["structure_id"] == one["structure_id"]


@pytest.mark.skipif(HAS_ATOMATE2, reason="atomate2 is installed")
def test_without_atomate2_nothing_is_written_and_the_extra_is_named(run: Path) -> None:
    with pytest.raises(InputError, match=r"chggen-kit\[atomate2\]"):
        write_dft_inputs(run, with_flow=True)
    assert not (run / "dft-inputs").exists()
