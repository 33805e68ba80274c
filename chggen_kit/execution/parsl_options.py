"""Options of the executor `parsl`: a short table for the usual cases, or a configuration of Parsl's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class ParslOptions(BaseModel):
    """Options of the executor `parsl`.

    Attributes:
        config: Python file of Parsl's own configuration, with a variable `config`; it is executed. With it `places` and
            nothing else of this table is heeded.
        provider: where workers come from.
        provider_options: further arguments of Parsl's provider (`partition`, `account`, `scheduler_options`, ...).
        workers_per_node: worker processes on a node; by default one an accelerator, or (on this machine) one a core.
        accelerators: their number on a node, or their names; each worker sees one of them.
        cores_per_worker: cores that a worker is counted with.
        nodes_per_block: nodes of an allocation.
        blocks: allocations at a time, at most.
        walltime_s: length of an allocation in s.
        drain_s: no shard is begun so many seconds before an allocation ends. Give it the length of the longest shard
            (`chggen campaign plan --calibrate`); one that is cut goes on from its last finished micro-batch.
        worker_init: shell lines before workers begin, to load modules or activate an environment.
        address: of this machine, as nodes see it; None to let Parsl find it.
        run_dir: folder of Parsl's logs and scripts; nodes must see it.
        places: shards that are given out at a time; by default as many as there can be workers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    config: Path | None = None
    provider: Literal["local", "slurm", "pbs", "lsf", "kubernetes"] = "local"
    provider_options: dict[str, Any] = {}
    workers_per_node: int | None = Field(default=None, ge=1)
    accelerators: Annotated[int, Field(ge=1)] | tuple[str, ...] | None = None
    cores_per_worker: float = Field(default=1.0, gt=0)
    nodes_per_block: int = Field(default=1, ge=1)
    blocks: int = Field(default=1, ge=1)
    walltime_s: int | None = Field(default=None, ge=60)
    drain_s: int = Field(default=0, ge=0)
    worker_init: str = ""
    address: str | None = None
    run_dir: Path = Path("runinfo")
    places: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _enough(self) -> ParslOptions:
        if self.provider == "local" or self.config is not None:
            return self
        if self.walltime_s is None and self.provider != "kubernetes":
            raise ValueError(f"the provider {self.provider} needs walltime_s, the length of an allocation")
        if self.workers_per_node is None and self.accelerators is None:
            raise ValueError(f"the provider {self.provider} needs workers_per_node or accelerators")
        if self.walltime_s is not None and self.drain_s >= self.walltime_s:
            raise ValueError("drain_s must be shorter than walltime_s, or no shard is ever begun")
        return self

    @property
    def workers(self) -> int | None:
        """Workers on a node, where the options tell."""
        if self.workers_per_node is not None or self.accelerators is None:
            return self.workers_per_node
        return self.accelerators if isinstance(self.accelerators, int) else len(self.accelerators)
