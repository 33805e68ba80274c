"""`chggen benchmark`: a grid of systems, methods and seeds in one file, run and counted."""

from __future__ import annotations

from pathlib import Path

import click

from chggen_kit.cli._pipeline import parse_whole_numbers
from chggen_kit.cli._shared import cli_state, parse_assignments


@click.command("benchmark")
@click.argument("spec", required=False)
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Folder of the benchmark [benchmarks/NAME]."
)
@click.option("--quick", is_flag=True, help="The small size of the specification.")
@click.option("--seeds", metavar="N,N", help="In place of the specification's.")
@click.option("--systems", metavar="NAME,NAME|all", help="Systems that are taken [those that it takes by default].")
@click.option("--workers", type=click.IntRange(min=0), help="Processes; 0: none but this one [one a core or device].")
@click.option(
    "--cache",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of runs that several benchmarks share [OUT/cells].",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Known structures to compare with (JSON lines, CSV, CIF, a folder); may be repeated.",
)
@click.option(
    "--checkpoint",
    "checkpoints",
    metavar="BACKEND=PATH",
    multiple=True,
    help="Weights for the methods of a backend that name none; may be repeated.",
)
@click.option(
    "--backend",
    "backends",
    metavar="NAME",
    multiple=True,
    help="Make the methods of the specification's first backend for this one instead; may be repeated.",
)
@click.option("--report/--no-report", default=True, show_default=True, help="Write report.html at the end.")
@click.option("--dry-run", is_flag=True, help="Print the plan and an estimate of its cost, and run nothing.")
@click.option("--schema", is_flag=True, help="Print the JSON schema of specifications.")
@click.option("--presets", is_flag=True, help="List the presets.")
def command(
    spec: str | None,
    out: Path | None,
    quick: bool,
    seeds: str | None,
    systems: str | None,
    workers: int | None,
    cache: Path | None,
    data: tuple[Path, ...],
    checkpoints: tuple[str, ...],
    backends: tuple[str, ...],
    report: bool,
    dry_run: bool,
    schema: bool,
    presets: bool,
) -> None:
    """Compare methods as SPEC says: a YAML file, or the name of a preset.

    Every system is run with every method and seed; each is an ordinary run directory, named by all that determines its
    result, so runs are shared and never done twice. An interrupted benchmark goes on when the same command is given
    again. The tables (structures, cells, rates, quantities, differences) are CSV files in the folder of the benchmark.
    """
    import json
    import os

    from rich.console import Console

    from chggen_kit.benchmark.reading import json_schema, preset_names, read_spec
    from chggen_kit.cli._pipeline import result_console
    from chggen_kit.errors import ChggenError, InputError

    if schema:
        click.echo(json.dumps(json_schema(), indent=2))
        return
    if presets:
        for name in preset_names():
            click.echo(f"{name}: {read_spec(name).about}")
        return
    if spec is None:
        raise InputError(f"Name a specification or a preset ({', '.join(preset_names())}).")
    from chggen_kit.benchmark.benchmark import Benchmark
    from chggen_kit.benchmark.estimate import estimate
    from chggen_kit.benchmark.showing import print_plan, print_result
    from chggen_kit.report.write import write_report

    weights = {name: str(path) for name, path in parse_assignments(checkpoints, "--checkpoint").items()}
    state = cli_state()
    state.registry()  # for --strict-plugins
    benchmark = Benchmark(
        spec,
        quick=quick,
        seeds=parse_whole_numbers(seeds, "--seeds"),
        systems=None if systems is None else ("all" if systems == "all" else systems.split(",")),
        data=data,
        checkpoints=weights,
        backends=backends,
    )
    folder = out or Path("benchmarks") / benchmark.spec.name
    processes = workers if workers is not None else _places(os.cpu_count() or 1)
    console = result_console(Console)
    if dry_run:
        print_plan(
            benchmark.plan, estimate(benchmark.plan, benchmark.driver(folder, cache)), max(processes, 1), console
        )
        return
    with state.make_progress(f"benchmark {benchmark.spec.name}") as progress:
        result = benchmark.run(folder, workers=processes, cache=cache, progress=progress)
        written = write_report(folder, registry=state.registry(), progress=progress) if report else None
    print_result(result, console)
    if written is not None:
        click.echo(f"Report: {written.page}")
    if len(result.failures):
        raise ChggenError(
            f"{len(result.failures)} of {len(result.cells)} runs failed; the same command tries them again."
        )


def _places(cores: int) -> int:
    """One worker a device, where there are any, else one a core."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else cores
