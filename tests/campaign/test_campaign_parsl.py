"""The executor parsl: its options, and (slow) a campaign with its local provider."""

from __future__ import annotations

from pathlib import Path

import pytest
from campaign_toys import chggen, completions, digest_of, install_toys, write_spec
from pydantic import ValidationError

from chggen_kit.errors import InputError
from chggen_kit.execution.parsl_options import ParslOptions


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"provider": "slurm"}, "walltime_s"),
        ({"provider": "slurm", "walltime_s": 3600}, "workers_per_node or accelerators"),
        ({"provider": "slurm", "walltime_s": 3600, "accelerators": 4, "drain_s": 3600}, "shorter than walltime_s"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ParslOptions.model_validate(options)


def test_an_allocation_of_slurm_is_described() -> None:
    pytest.importorskip("parsl")
    from chggen_kit.execution.parsl_executor import build

    values = {"provider": "slurm", "walltime_s": 5400, "drain_s": 600, "accelerators": 4, "blocks": 3}
    executor = build(ParslOptions(**values, address="login", provider_options={"partition": "gpu"}))  # type: ignore[arg-type]  # pydantic's
    inner = executor._config.executors[0]
    assert executor.places == 12
    assert (inner.provider.walltime, inner.provider.partition, inner.drain_period) == ("01:30:00", "gpu", 4800)
    assert len(inner.available_accelerators) == inner.max_workers_per_node == 4
    with pytest.raises(InputError, match="does not take these options"):
        build(ParslOptions(provider_options={"partitions": "gpu"}))


def test_a_configuration_of_parsl_itself_is_read(tmp_path: Path) -> None:
    pytest.importorskip("parsl")
    from chggen_kit.execution.parsl_executor import build

    path = tmp_path / "site.py"
    path.write_text(
        "from parsl.config import Config\nfrom parsl.executors import HighThroughputExecutor\n"
        "from parsl.providers import LocalProvider\n"
        "config = Config(executors=[HighThroughputExecutor(max_workers_per_node=3, provider=LocalProvider())])\n"
    )
    assert build(ParslOptions(config=path)).places == 3
    path.write_text("config = 3\n")
    with pytest.raises(InputError, match="no variable `config`"):
        build(ParslOptions(config=path))


@pytest.mark.slow
def test_parsl_gives_what_local_workers_give(tmp_path: Path) -> None:
    pytest.importorskip("parsl")
    environment = install_toys(tmp_path / "site")
    spec = write_spec(tmp_path / "spec.yaml")
    options = [f"--executor-option={one}" for one in ("workers_per_node=2", f"run_dir={tmp_path / 'logs'}")]
    for name, executor in (("parsl", ["--executor", "parsl", *options]), ("local", ["--workers", "1"])):
        ended = chggen(environment, "campaign", "run", spec, "--out", tmp_path / name, *executor)
        assert ended.returncode == 0, ended.stderr
    assert completions(tmp_path / "parsl") == [1] * 5
    assert digest_of(tmp_path / "parsl") == digest_of(tmp_path / "local")
