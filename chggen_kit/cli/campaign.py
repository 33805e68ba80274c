"""`chggen campaign`: many compositions and hosts, in shards, here or on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chggen_kit.cli._shared import cli_state, parse_assignments

if TYPE_CHECKING:
    from chggen_kit.campaign.campaign import Campaign
    from chggen_kit.interfaces import Progress
    from chggen_kit.workflow.config import PluginChoice

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _spec(*, required: bool = True) -> Decorator:
    return click.argument("spec", type=click.Path(dir_okay=False, path_type=Path), required=required)


def _out() -> Decorator:
    return click.option(
        "--out", type=click.Path(file_okay=False, path_type=Path), help="Folder of the campaign [campaigns/NAME]."
    )


def _targets() -> Decorator:
    return click.option("--target", "targets", multiple=True, metavar="NAME", help="Of this one only; may be repeated.")


def _executors() -> Decorator:
    def both(function: Callable[..., Any]) -> Callable[..., Any]:
        options = click.option(
            "--executor-option", "executor_options", metavar="NAME=VALUE", multiple=True, help="Option of the executor."
        )
        return click.option("--executor", metavar="NAME", help="Where shards run [the specification's].")(
            click.option("--workers", type=click.IntRange(min=1), help="Processes of the executor `local`.")(
                options(function)
            )
        )

    return both


@click.group("campaign")
def command() -> None:
    """Screen many compositions or hosts as SPEC says, a YAML file: in shards, each an ordinary run.

    `run` goes on where it was, whatever ended it. `status` can be asked meanwhile.
    """


@command.command("plan")
@_spec(required=False)
@_out()
@_executors()
@click.option("--calibrate", is_flag=True, help="Run the smallest shard of each method, for an estimate of the cost.")
@click.option("--schema", is_flag=True, help="Print the JSON schema of specifications.")
def plan_command(
    spec: Path | None,
    out: Path | None,
    executor: str | None,
    workers: int | None,
    executor_options: Sequence[str],
    calibrate: bool,
    schema: bool,
) -> None:
    """Count what would be run, and estimate its cost from shards that have been run."""
    import json

    from chggen_kit.errors import InputError

    if schema:
        from chggen_kit.campaign.spec import json_schema

        click.echo(json.dumps(json_schema(), indent=2))
        return
    if spec is None:
        raise InputError("Name the file of a specification.")
    from chggen_kit.campaign.showing import print_plan
    from chggen_kit.execution.local import default_workers

    campaign = _campaign(spec, out)
    counted = campaign.counted()
    if calibrate:
        with _progress(campaign, "shards") as stage:
            costs = campaign.calibrate(executor=_choice(campaign, executor, workers, executor_options), progress=stage)
    else:
        costs = campaign.costs()
    print_plan(counted, costs, workers or default_workers(), _console())


@command.command("run")
@_spec()
@_out()
@_executors()
@click.option("--accept-versions", is_flag=True, help="Go on although versions of the software have changed.")
@click.option("--retry", is_flag=True, help="Try shards again that failed, were set aside or were cancelled.")
def run_command(
    spec: Path,
    out: Path | None,
    executor: str | None,
    workers: int | None,
    executor_options: Sequence[str],
    accept_versions: bool,
    retry: bool,
) -> None:
    """Run what is missing; the same command goes on after any interruption."""
    from chggen_kit.campaign.showing import print_status
    from chggen_kit.errors import ChggenError

    campaign = _campaign(spec, out)
    choice = _choice(campaign, executor, workers, executor_options)
    if retry:
        campaign.retry()
    with _progress(campaign, "shards") as stage:
        status = campaign.run(executor=choice, accept_versions=accept_versions, progress=stage)
    print_status(status, _console())
    bad = status.shards.get("failed", 0) + status.shards.get("set-aside", 0)
    if bad:
        raise ChggenError(f"{bad} of {status.n_shards} shards failed or were set aside; --retry tries them again.")


@command.command("status")
@_spec(required=False)
@_out()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--watch", type=click.FloatRange(min=0.5), metavar="SECONDS", help="Show it anew, until Ctrl-C.")
def status_command(spec: Path | None, out: Path | None, as_json: bool, watch: float | None) -> None:
    """How far a campaign is, whether it is being run or not."""
    import json
    import time
    from dataclasses import asdict

    from chggen_kit.campaign.showing import print_status
    from chggen_kit.campaign.status import read_status

    folder = _folder(spec, out)
    console = _console()
    while True:
        status = read_status(folder)
        if as_json:
            click.echo(json.dumps(asdict(status)))
        else:
            print_status(status, console)
        if watch is None:
            return
        time.sleep(watch)
        if not as_json:
            console.clear()


@command.command("retry")
@_spec()
@_out()
@_targets()
def retry_command(spec: Path, out: Path | None, targets: Sequence[str]) -> None:
    """Let shards that failed, were set aside or cancelled wait again; `run` does them."""
    click.echo(f"{_campaign(spec, out).retry(targets=targets)} shards wait again.")


@command.command("cancel")
@_spec()
@_out()
@_targets()
def cancel_command(spec: Path, out: Path | None, targets: Sequence[str]) -> None:
    """End a campaign, or targets of one that is not being run: what is done stays."""
    done = _campaign(spec, out).cancel(targets=targets)
    click.echo("Cancelled." if done else "The driver of the campaign was told; it ends within seconds.")


@command.command("collect")
@_spec()
@_out()
@click.option("--database", metavar="URL", help="A PostgreSQL database in place of OUT/results.db.")
def collect_command(spec: Path, out: Path | None, database: str | None) -> None:
    """Bring the results of the shards that are done together: one database, duplicates, hulls, candidates."""
    campaign = _campaign(spec, out)
    with _progress(campaign, "collect") as stage:
        collected = campaign.collect(database=database, progress=stage)
    click.echo(
        f"{collected.structures} structures of {collected.shards} shards in {collected.database}; "
        f"{collected.candidates} distinct candidates in {collected.table}."
    )


def _campaign(spec: Path, out: Path | None) -> Campaign:
    from chggen_kit.campaign.campaign import Campaign

    cli_state().registry()  # for --strict-plugins
    return Campaign(spec, out)


def _folder(spec: Path | None, out: Path | None) -> Path:
    """Folder of a campaign, without what reading all of its specification takes."""
    from chggen_kit.errors import InputError

    if out is not None:
        return out
    if spec is None:
        raise InputError("Name the specification of the campaign, or its folder with --out.")
    import yaml

    try:
        plain = yaml.safe_load(spec.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"Cannot read the specification {spec}: {error}.") from error
    if not isinstance(plain, dict) or not isinstance(plain.get("name"), str):
        raise InputError(f"{spec} holds no specification: a mapping with `name` and `targets`.")
    return Path("campaigns") / str(plain["name"])


def _choice(campaign: Campaign, executor: str | None, workers: int | None, options: Sequence[str]) -> PluginChoice:
    from chggen_kit.workflow.config import PluginChoice

    own = campaign.spec.executor
    name = executor or own.name
    given = {**(own.options if name == own.name else {}), **parse_assignments(options, "--executor-option")}
    if workers is not None:
        given["workers"] = workers
    return PluginChoice(name=name, options=given)


@contextmanager
def _progress(campaign: Campaign, stage: str) -> Iterator[Progress]:
    with cli_state().make_progress(f"campaign {campaign.spec.name}") as reporter, reporter.stage(stage) as progress:
        yield progress


def _console() -> Any:  # noqa: ANN401  rich's console
    from rich.console import Console

    from chggen_kit.cli._pipeline import result_console

    return result_console(Console)
