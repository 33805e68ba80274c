"""The executor `parsl`: workers on this machine, or on nodes that Slurm, PBS, LSF or Kubernetes gives.

Parsl (Babuji et al., HPDC 2019) has the pilot jobs, the transport and the heartbeats; nothing of that is done here.
"""

from __future__ import annotations

import runpy
import shlex
import sys
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import Any

from chggen_kit.errors import ChggenError, InputError, PluginError
from chggen_kit.execution.local import default_workers
from chggen_kit.execution.parsl_options import ParslOptions
from chggen_kit.interfaces.executor import Ended, Executor

_PROVIDERS = {
    "local": "LocalProvider",
    "slurm": "SlurmProvider",
    "pbs": "PBSProProvider",
    "lsf": "LSFProvider",
    "kubernetes": "KubernetesProvider",
}
_LAUNCHERS = {"slurm": "SrunLauncher", "pbs": "MpiExecLauncher", "lsf": "JsrunLauncher"}
"""Of allocations of several nodes: what begins a pool of workers on each."""


class ParslExecutor(Executor):
    """Gives tasks to Parsl's HighThroughputExecutor.

    Args:
        config: Parsl's configuration.
        places: tasks at a time.
    """

    def __init__(self, config: Any, places: int) -> None:  # noqa: ANN401  Parsl has no type information
        self._config, self._places = config, places
        self._parsl: Any = None
        self._running: dict[Future[Any], str] = {}

    @property
    def places(self) -> int:
        return self._places

    @property
    def running(self) -> int:
        return len(self._running)

    def submit(self, key: str, task: Callable[..., Any], *arguments: object) -> None:
        if self._parsl is None:
            from parsl.concurrent import ParslPoolExecutor

            self._parsl = ParslPoolExecutor(self._config)
        self._running[self._parsl.submit(task, *arguments)] = key

    def next_ended(self, timeout_s: float | None = None) -> list[Ended]:
        done, _ = wait(self._running, timeout=timeout_s, return_when=FIRST_COMPLETED)
        return [_told(self._running.pop(future), future) for future in done]

    def close(self) -> None:
        if self._parsl is not None:
            running, self._parsl = self._parsl, None
            running.shutdown(wait=False, cancel_futures=False)
        self._running.clear()


def _told(key: str, future: Future[Any]) -> Ended:
    from parsl.errors import ParslError
    from parsl.executors.errors import ExecutorError
    from parsl.executors.high_throughput.errors import ManagerLost, WorkerLost

    error = future.exception()
    if error is None:
        return Ended(key, future.result(), None)
    if isinstance(error, WorkerLost):
        return Ended(key, None, "its worker process died (killed, out of memory, or a crash of a library)", "died")
    if isinstance(error, ManagerLost):
        return Ended(key, None, "its node or allocation went away", "lost")
    if isinstance(error, ChggenError):
        return Ended(key, None, str(error) or type(error).__name__, "failed")
    if isinstance(error, (ExecutorError, ParslError)):
        # No shard is at fault, and every one would end like this.
        raise PluginError(
            f"Parsl cannot get or keep workers: {type(error).__name__}: {error}. Its logs are in the folder `run_dir`; "
            "look at worker_init (is the environment activated on the nodes?), address, and the provider's options."
        ) from error
    return Ended(key, None, f"unforeseen: {type(error).__name__}: {error}", "failed")


def build(options: ParslOptions) -> ParslExecutor:
    """The executor; allocations are asked for with the first task.

    Raises:
        InputError: when a configuration cannot be read, or the provider refuses an option.
    """
    if options.config is not None:
        config = _read(options.config)
        return ParslExecutor(config, options.places or _places(config))
    workers = options.workers or default_workers()
    places = options.places or workers * options.nodes_per_block * options.blocks
    return ParslExecutor(_config(options, workers), places)


def _config(options: ParslOptions, workers: int) -> Any:  # noqa: ANN401  Parsl's configuration
    import parsl.launchers
    import parsl.providers
    from parsl.config import Config
    from parsl.executors import HighThroughputExecutor

    scripts = Path(sys.executable).parent
    values: dict[str, Any] = {
        "init_blocks": 1,
        "max_blocks": options.blocks,
        "nodes_per_block": options.nodes_per_block,
        # Workers and this process share an environment, which need not be activated.
        "worker_init": f"export PATH={shlex.quote(str(scripts))}:$PATH\n{options.worker_init}",
    }
    if options.provider == "kubernetes":
        del values["nodes_per_block"]
    if options.walltime_s is not None and options.provider not in {"local", "kubernetes"}:
        hours, rest = divmod(options.walltime_s, 3600)
        values["walltime"] = f"{hours:02d}:{rest // 60:02d}:{rest % 60:02d}"
    if options.nodes_per_block > 1 and options.provider in _LAUNCHERS:
        values["launcher"] = getattr(parsl.launchers, _LAUNCHERS[options.provider])()
    here = options.provider == "local"
    drain = None if options.walltime_s is None or here else options.walltime_s - options.drain_s
    try:
        provider = getattr(parsl.providers, _PROVIDERS[options.provider])(**{**values, **options.provider_options})
        executor = HighThroughputExecutor(
            label="chggen",
            provider=provider,
            address=options.address or ("127.0.0.1" if here else None),
            max_workers_per_node=workers,
            cores_per_worker=options.cores_per_worker if not here else 1e-3,
            available_accelerators=options.accelerators or (),
            drain_period=drain,
            interchange_launch_cmd=[str(scripts / "interchange.py")],
        )
    except TypeError as error:
        raise InputError(f"The provider {options.provider} of Parsl does not take these options: {error}.") from error
    return Config(executors=[executor], retries=0, strategy="simple", run_dir=str(options.run_dir))


def _read(path: Path) -> Any:  # noqa: ANN401  Parsl's configuration
    from parsl.config import Config

    if not path.is_file():
        raise InputError(f"There is no file {path} with a configuration of Parsl.")
    found = runpy.run_path(str(path)).get("config")
    if not isinstance(found, Config):
        raise InputError(f"{path} defines no variable `config` that is a parsl.config.Config.")
    return found


def _places(config: Any) -> int:  # noqa: ANN401  Parsl's configuration
    total = 0
    for executor in config.executors:
        provider = getattr(executor, "provider", None)
        workers = getattr(executor, "max_workers_per_node", 1)
        nodes = getattr(provider, "nodes_per_block", 1) * getattr(provider, "max_blocks", 1)
        total += nodes * (int(workers) if workers not in {None, float("inf")} else 1)
    return max(total, 1)
